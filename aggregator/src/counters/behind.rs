//! How far behind an aggregator is with homes: for how long something is owed that was not done. Pure.

use std::collections::BTreeMap;

use shared::time::Timestamp;

/// What nobody has asked for again for so long was done by another aggregator, or is no more.
const FORGOTTEN_MS: u64 = 60_000;

/// What is owed: looks at homes that are due, and who is due on a server that does not say.
#[derive(Debug, Default)]
pub struct Behind {
    /// Since when, and when it was asked for last.
    owed: BTreeMap<String, (Timestamp, Timestamp)>,
}

impl Behind {
    /// Notes that it is to be done.
    pub fn owes(&mut self, what: &str, now: Timestamp) {
        if let Some((_, asked)) = self.owed.get_mut(what) {
            *asked = now;
        } else {
            self.owed.insert(what.to_owned(), (now, now));
        }
    }

    /// Notes that it was done.
    pub fn has_done(&mut self, what: &str) {
        self.owed.remove(what);
    }

    /// For how long the oldest of it is owed, in milliseconds; 0 where nothing is.
    pub fn longest_ms(&mut self, now: Timestamp) -> u64 {
        self.owed.retain(|_, (_, asked)| now.ms_since(*asked) < FORGOTTEN_MS);
        self.owed.values().map(|(since, _)| now.ms_since(*since)).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(1_000_000 + ms)
    }

    #[test]
    fn what_is_asked_for_again_and_again_is_owed_since_it_was_asked_for_first() {
        let mut behind = Behind::default();
        assert_eq!(behind.longest_ms(at(0)), 0);
        behind.owes("demo/live", at(0));
        behind.owes("other/live", at(20_000));
        behind.owes("demo/live", at(50_000));
        assert_eq!(behind.longest_ms(at(61_000)), 61_000);
        behind.has_done("demo/live");
        assert_eq!(behind.longest_ms(at(61_000)), 41_000);
        behind.owes("demo/live", at(61_000));
        assert_eq!(behind.longest_ms(at(90_000)), 29_000, "another has done what was not asked for again");
    }
}
