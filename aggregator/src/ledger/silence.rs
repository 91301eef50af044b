//! The 72-hour rule: which periods of a contract bill at least its minimum.
//!
//! "A reporter silent > 72:00:00.000 → the period containing that instant, and every later one that
//! begins in silence, bills max(reported, contracted minimum)" (design §5, seed: "tolerates up to 72
//! hours offline before billing falls back to the contracted minimum"). Exact to the millisecond by
//! the aggregator's clock (I10). Catching up later does not undo it; a waiver does, and is a correction
//! in the ledger.

use std::collections::BTreeSet;

use shared::time::{Period, Timestamp};

/// How long a reporter may be silent; one millisecond more is too long.
pub const SILENCE_MAX_MS: u64 = 72 * 60 * 60 * 1_000;

/// A stretch of time `[from, until)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first instant.
    pub from: Timestamp,
    /// The first instant after it.
    pub until: Timestamp,
}

/// One reporter, as the aggregator has heard it.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// When it had to begin reporting: the start of the contract's term or of the reporter's key.
    pub since: Timestamp,
    /// When it was heard, rising.
    pub at: &'a [Timestamp],
    /// When the aggregator itself was down, rising and without overlap: that time does not count.
    pub downtime: &'a [Span],
}

/// A stretch of time in which a reporter was not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// When it was heard last, or had to begin reporting.
    pub from: Timestamp,
    /// When it was heard again, or was no longer expected to report; `None` while it is silent.
    pub until: Option<Timestamp>,
}

/// The periods up to `now` that fall back to the minimum because of this reporter. One silent reporter
/// of a contract suffices, so a contract takes the union over its reporters.
#[must_use]
pub fn fallen_periods(heard: Heard<'_>, now: Timestamp) -> BTreeSet<Period> {
    let starts = std::iter::once(heard.since).chain(heard.at.iter().copied().filter(|at| *at > heard.since));
    let ends = heard.at.iter().copied().filter(|at| *at > heard.since).map(Some).chain([None]);
    let silences = starts.zip(ends).map(|(from, until)| Silence { from, until });
    silences.flat_map(|silence| fallen_in(silence, heard.downtime, now)).collect()
}

/// The periods up to `now` that fall back to the minimum because of one silence.
#[must_use]
pub fn fallen_in(silence: Silence, downtime: &[Span], now: Timestamp) -> BTreeSet<Period> {
    let mut fallen = BTreeSet::new();
    // A silence that goes on includes the present instant.
    let until = silence.until.unwrap_or_else(|| now.plus_ms(1));
    let too_long = too_long_at(silence.from, downtime);
    if too_long > until || too_long > now {
        return fallen;
    }
    let mut period = too_long.period();
    while period.start() <= too_long || period.start() < until {
        fallen.insert(period);
        if period.next() == period {
            break;
        }
        period = period.next();
    }
    fallen
}

/// The first instant of too long a silence that began at `from`: 72 hours and one millisecond later,
/// the aggregator's own downtime not counted.
#[must_use]
pub fn too_long_at(from: Timestamp, downtime: &[Span]) -> Timestamp {
    lasts_until(from, SILENCE_MAX_MS.saturating_add(1), downtime)
}

/// When a silence that began at `from` has lasted so long, the aggregator's own downtime not counted.
#[must_use]
pub fn lasts_until(from: Timestamp, ms: u64, downtime: &[Span]) -> Timestamp {
    let (mut left, mut at) = (ms, from);
    for span in downtime {
        let counted = span.from.ms_since(at);
        if counted >= left {
            break;
        }
        left = left.saturating_sub(counted);
        at = at.max(span.until);
    }
    at.plus_ms(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn at(day: &str, hours: u64) -> Timestamp {
        shared::time::Day::parse(day).unwrap().start().plus_ms(hours * HOUR)
    }

    fn check(heard: &[Timestamp], downtime: &[Span], now: Timestamp, expected: &str) {
        let since = at("2026-11-01", 0);
        let fallen = fallen_periods(Heard { since, at: heard, downtime }, now);
        let fallen: Vec<String> = fallen.iter().map(ToString::to_string).collect();
        assert_eq!(fallen.join(" "), expected, "heard {heard:?} down {downtime:?} now {now}");
    }

    #[test]
    fn silence_is_too_long_one_millisecond_after_72_hours() {
        let last = at("2026-11-10", 0);
        let heard = [at("2026-11-03", 0), at("2026-11-06", 0), at("2026-11-08", 0), last];
        let bound = last.plus_ms(SILENCE_MAX_MS);
        check(&heard, &[], bound, "");
        check(&heard, &[], bound.plus_ms(1), "2026-11");
        let again = |ms: u64| {
            let mut heard = heard.to_vec();
            heard.push(bound.plus_ms(ms));
            heard
        };
        let now = bound.plus_ms(HOUR);
        check(&again(0), &[], now, "");
        check(&again(1), &[], now, "2026-11");
        check(&again(2), &[], now, "2026-11");
    }

    #[test]
    fn later_periods_fall_when_they_begin_in_silence() {
        // Silent from the 28th of November: too long on the 1st of December, which is December's alone.
        let to_december = [at("2026-11-02", 0), at("2026-11-04", 0), at("2026-11-28", 0)];
        let heard = |more: &[Timestamp]| {
            let mut all: Vec<Timestamp> = (1..=27).map(|day| at("2026-11-01", day * 24)).collect();
            all.extend_from_slice(more);
            all
        };
        check(&heard(&[]), &[], at("2026-12-02", 0), "2026-12");
        // Heard again in February: December and January and February began in silence.
        check(&heard(&[at("2027-02-01", 1)]), &[], at("2027-02-02", 0), "2026-12 2027-01 2027-02");
        // A month that begins at this very instant begins in silence.
        check(&heard(&[]), &[], at("2027-01-01", 0), "2026-12 2027-01");
        // Heard again at the very start of February: it did not begin in silence, then fell quiet again.
        check(&heard(&[at("2027-02-01", 0)]), &[], at("2027-02-03", 0), "2026-12 2027-01");
        // Between the 4th and the 28th: November; nothing of October or December.
        check(&to_december, &[], at("2026-11-30", 0), "2026-11");
    }

    #[test]
    fn the_aggregators_own_downtime_does_not_count() {
        let down = [Span { from: at("2026-11-02", 0), until: at("2026-11-03", 0) }];
        // Due since the 1st at 00:00: 72 h and a day of downtime end on the 5th at 00:00.
        let bound = at("2026-11-05", 0);
        check(&[], &down, bound, "");
        check(&[], &down, bound.plus_ms(1), "2026-11");
        // Downtime that began before the silence counts from its beginning on only.
        let before = [Span { from: at("2026-10-30", 0), until: at("2026-11-01", 12) }];
        check(&[], &before, at("2026-11-04", 12), "");
        check(&[], &before, at("2026-11-04", 12).plus_ms(1), "2026-11");
        // Downtime that begins at the very instant of the bound is too late to help.
        let late = [Span { from: at("2026-11-04", 0).plus_ms(1), until: at("2026-11-09", 0) }];
        check(&[], &late, at("2026-11-04", 0).plus_ms(1), "2026-11");
        // Downtime after the bound changes nothing.
        let after = [Span { from: at("2026-11-05", 0), until: at("2026-11-09", 0) }];
        check(&[], &after, at("2026-11-04", 1), "2026-11");
    }
}
