//! What the rounds of one variant have shown, and the medians of it. It must never leave out a round.

use crate::options::CONNECTIONS;
use crate::stats::{median, percentile};
use crate::target::Tally;

/// One load of the closed loop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Level {
    /// Good answers per second.
    pub(crate) rps: u64,
    /// The middle latency.
    pub(crate) p50_us: u64,
    /// workerd's processor time per good answer.
    pub(crate) workerd_ns: u64,
    /// The same of the process behind it: the aggregator or Redis.
    pub(crate) beside_ns: u64,
}

/// All rounds of one variant.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    /// Each round's loads, by number of connections.
    pub(crate) levels: [Vec<Level>; CONNECTIONS.len()],
    /// The latencies of each round's open loop.
    pub(crate) low_us: Vec<Vec<u64>>,
    /// Everything that was asked, warming up included; its latencies are left empty.
    pub(crate) all: Tally,
}

impl Samples {
    /// Counts a load's answers and failures; its latencies are the caller's.
    pub(crate) fn count(&mut self, tally: &Tally) {
        self.all.add(Tally { latencies_us: Vec::new(), ..tally.clone() });
    }

    /// The median of one number over the rounds.
    pub(crate) fn median(&self, level: usize, number: fn(&Level) -> u64) -> Option<u64> {
        median(&self.numbers(level, number))
    }

    /// The smallest and the largest of one number.
    pub(crate) fn range(&self, level: usize, number: fn(&Level) -> u64) -> Option<(u64, u64)> {
        let numbers = self.numbers(level, number);
        Some((numbers.iter().min().copied()?, numbers.iter().max().copied()?))
    }

    /// The median over the rounds of a percentile of the open loop: a machine that stands still for a moment, as virtual
    /// ones do, spoils one round.
    pub(crate) fn low(&self, per_mille: u64) -> Option<u64> {
        median(&self.low_us.iter().filter_map(|round| percentile(round, per_mille)).collect::<Vec<_>>())
    }

    /// The open loop's longest latency of all rounds.
    pub(crate) fn low_max(&self) -> Option<u64> {
        self.low_us.iter().flatten().max().copied()
    }

    /// Whether anything went wrong, so that the numbers are not those of good answers alone.
    pub(crate) fn failed(&self) -> bool {
        self.all.failures > 0 || self.all.good == 0
    }

    fn numbers(&self, level: usize, number: fn(&Level) -> u64) -> Vec<u64> {
        self.levels.get(level).into_iter().flatten().map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_taken_over_the_rounds_and_failures_are_kept() {
        let mut samples = Samples::default();
        for rps in [30, 10, 20] {
            samples.levels[0].push(Level { rps, ..Level::default() });
            samples.count(&Tally { good: rps, latencies_us: vec![1], ..Tally::default() });
        }
        assert_eq!(samples.median(0, |level| level.rps), Some(20));
        assert_eq!(samples.range(0, |level| level.rps), Some((10, 30)));
        assert_eq!(samples.median(1, |level| level.rps), None);
        assert!(!samples.failed() && samples.all.latencies_us.is_empty());
        samples.count(&Tally { failures: 1, ..Tally::default() });
        assert!(samples.failed() && Samples::default().failed());
        assert_eq!(samples.all.good, 60);
        samples.low_us = vec![vec![1, 2, 3], vec![900], vec![5, 4]];
        assert_eq!((samples.low(990), samples.low_max()), (Some(5), Some(900)));
    }
}
