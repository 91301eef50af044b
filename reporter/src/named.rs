//! Counts that their sender has named, by `Idempotency-Key`: one that comes again counts once. Pure; the store keeps it.

use std::collections::{BTreeMap, VecDeque};

use shared::time::Timestamp;

/// Names that are remembered: a few megabytes, and more than a minute of the busiest endpoints.
pub const NAMES_MAX: usize = 20_000;
/// For how long they are, at most, in milliseconds: who has not repeated a count within a day will not.
pub const NAMES_MS: u64 = 86_400_000;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: String,
    /// The hash of the body.
    pub hash: String,
    /// Units that it counted.
    pub units: u64,
    /// When.
    pub at: Timestamp,
}

/// A name came again with another body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reused;

/// The names of the last day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    known: BTreeMap<String, (String, u64)>,
    order: VecDeque<(Timestamp, String)>,
}

impl Names {
    /// Those names, the oldest first.
    #[must_use]
    pub fn of(all: Vec<Named>) -> Self {
        let mut names = Self::default();
        for named in all {
            names.insert(named);
        }
        names
    }

    /// Units that were counted under that name; `None` where it is new.
    ///
    /// # Errors
    /// When it was the name of another body.
    pub fn find(&self, name: &str, hash: &str) -> Result<Option<u64>, Reused> {
        match self.known.get(name) {
            Some((known, _)) if known != hash => Err(Reused),
            known => Ok(known.map(|(_, units)| *units)),
        }
    }

    /// Remembers a new name, and returns those that are forgotten for it.
    pub fn add(&mut self, named: Named) -> Vec<String> {
        let now = named.at;
        self.insert(named);
        let mut forgotten = Vec::new();
        while let Some((at, _)) = self.order.front()
            && (self.order.len() > NAMES_MAX || now.ms_since(*at) > NAMES_MS)
        {
            if let Some((_, name)) = self.order.pop_front() {
                self.known.remove(&name);
                forgotten.push(name);
            }
        }
        forgotten
    }

    fn insert(&mut self, Named { name, hash, units, at }: Named) {
        if self.known.insert(name.clone(), (hash, units)).is_none() {
            self.order.push_back((at, name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, ms: u64) -> Named {
        Named { name: name.to_owned(), hash: "h".to_owned(), units: 3, at: Timestamp::from_ms(ms) }
    }

    #[test]
    fn a_name_is_known_for_a_day_and_only_with_its_body() {
        let mut names = Names::of(vec![named("a", 1)]);
        assert_eq!(names.find("a", "h"), Ok(Some(3)));
        assert_eq!(names.find("a", "other"), Err(Reused));
        assert_eq!(names.find("b", "h"), Ok(None));
        assert!(names.add(named("b", 1 + NAMES_MS)).is_empty());
        assert_eq!(names.add(named("c", 2 + NAMES_MS)), ["a"]);
        assert_eq!(names.find("a", "h"), Ok(None));
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let mut names = Names::default();
        let forgotten: usize = (0..NAMES_MAX + 10).map(|n| names.add(named(&n.to_string(), 5)).len()).sum();
        assert_eq!((forgotten, names.known.len(), names.order.len()), (10, NAMES_MAX, NAMES_MAX));
        assert_eq!(names.find("10", "h"), Ok(Some(3)));
    }
}
