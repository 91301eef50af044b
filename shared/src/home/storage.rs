//! The small shape of storage that a home needs, and how a process works over one that others write too.
//!
//! Storage has rows and a version of them all. A write names the version that it was decided from; storage refuses
//! it, whole, if the version has moved. SQLite in a Durable Object has one writer and never refuses; Redis compares
//! and swaps. No answer may leave before its write was accepted.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem::take;

use super::{CorruptRow, Flights, Home, Row};
use crate::time::Timestamp;

/// What storage has of a home.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// Rises by one with each accepted write that has rows; zero is nothing stored.
    pub version: u64,
    /// Every row, in any order.
    pub rows: Vec<(String, String)>,
}

/// One write: all of its rows or none.
///
/// Without rows it only asks whether the version is still that: an answer from an old copy, such as that a contact
/// is unknown, must not leave either. Where nobody else writes it can be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The version that storage must still have.
    pub expected: u64,
    /// The rows that change.
    pub rows: Vec<Row>,
}

/// A home in one process's memory, with the version of the rows that it was read from.
#[derive(Debug)]
pub struct Copy {
    home: Home,
    version: u64,
    /// The flushes under way before the last act, which may have ended some of them in vain.
    flights: Flights,
}

impl Copy {
    /// Reads what is stored; `fresh` is the home where nothing is.
    ///
    /// # Errors
    /// When a row is not one that a home has written.
    pub fn read(stored: Stored, fresh: impl FnOnce() -> Home, now: Timestamp) -> Result<Self, CorruptRow> {
        let Stored { version, rows } = stored;
        let mut home = Home::load(rows, now)?.unwrap_or_else(fresh);
        home.presume_callers(now);
        Ok(Self { home, version, flights: Flights::new() })
    }

    /// The home as this process knows it.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Acts on the home. What it answers may leave once the write was accepted. Without acceptance this copy is not
    /// what storage has: it must be read again, and the act repeated.
    pub fn act<T>(&mut self, act: impl FnOnce(&mut Home) -> T) -> (T, Commit) {
        self.flights.clone_from(&self.home.flights);
        let answer = act(&mut self.home);
        (answer, Commit { expected: self.version, rows: self.home.take_writes() })
    }

    /// Storage accepted the write.
    pub fn accepted(&mut self, commit: &Commit) {
        self.version = commit.expected.saturating_add(u64::from(!commit.rows.is_empty()));
    }

    /// Storage refused the write, or it is not known whether it did: this is what it has now. Who was here lately, how
    /// busy it is, and what the flushes carry that this process has under way stay known.
    ///
    /// # Errors
    /// When a row is not one that a home has written.
    pub fn reread(
        &mut self,
        stored: Stored,
        fresh: impl FnOnce() -> Home,
        now: Timestamp,
    ) -> Result<(), CorruptRow> {
        let crowd = take(&mut self.home.crowd);
        let mut flights = take(&mut self.flights);
        flights.append(&mut self.home.flights);
        let life = self.home.incarnation().clone();
        *self = Self::read(stored, fresh, now)?;
        self.home.crowd = crowd;
        if life == *self.home.incarnation() {
            self.home.flights = flights;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Ask;
    use crate::home::HomeName;
    use crate::ids::Incarnation;
    use crate::policy::tests::community;
    use crate::time::Day;
    use crate::units::Units;
    use crate::wire::Merged;

    fn now() -> Timestamp {
        Day::parse("2026-11-23").map(Day::start).unwrap_or_default()
    }

    fn fresh() -> Home {
        let name = HomeName::parse("demo/live").unwrap();
        Home::new(name, Incarnation::parse("inc00001").unwrap())
    }

    #[test]
    fn a_flush_that_is_acknowledged_after_the_home_was_read_again_makes_room() {
        makes_room(0);
    }

    #[test]
    fn so_does_one_whose_acknowledgement_others_came_before() {
        makes_room(3);
    }

    fn makes_room(refused: u32) {
        let mut copy = Copy::read(Stored::default(), fresh, now()).unwrap();
        let mut stored = alloc::collections::BTreeMap::new();
        let mut keep = |copy: &mut Copy, commit: Commit| {
            for row in &commit.rows {
                match &row.value {
                    Some(value) => stored.insert(row.key.clone(), value.clone()),
                    None => stored.remove(&row.key),
                };
            }
            copy.accepted(&commit);
            Stored { version: commit.expected + 1, rows: stored.clone().into_iter().collect() }
        };
        let window = Units::new(10);
        let ((), commit) = copy.act(|home| {
            let mut policy = community("demo");
            policy.leases.escrow = Some(window);
            home.install(policy);
            let life = home.incarnation().clone();
            let merged = Merged::nothing(now().period());
            home.acknowledge(now(), &life, 0, &[merged]);
        });
        keep(&mut copy, commit);
        let ask = Ask { cost: 10, ..crate::home::tests::ask("bot") };
        let (verdict, commit) = copy.act(|home| home.decide(now(), &ask));
        assert_eq!(verdict.unwrap().denial, None);
        keep(&mut copy, commit);
        let (round, commit) = copy.act(|home| home.flush(now()).unwrap());
        let as_stored = keep(&mut copy, commit);
        // Another process may have written meanwhile.
        for turn in 0..=refused {
            copy.reread(as_stored.clone(), fresh, now()).unwrap();
            let (verdict, _) = copy.act(|home| {
                home.flushed(now(), round.seq);
                home.decide(now(), &ask)
            });
            assert_eq!(verdict.unwrap().denial, None, "{turn}");
        }
    }
}
