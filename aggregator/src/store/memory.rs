//! What this process knows of cells without reading them: those that it wrote itself, as long as nobody else has
//! written cells of the same life of the same source.
//!
//! Whoever writes cells puts a random stamp beside them, in the same transaction. What is known under a stamp that is
//! still there is what is stored; anything else is read. It must never be kept before its transaction is committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use shared::cell::{CellKey, Counts};
use shared::ids::{Incarnation, Mode, ProjectId, SourceId};
use shared::time::Day;
use shared::wire::{FLUSH_CELLS_MAX, Flush};

/// How many cells are known at once, of all sources: some 20 MB.
const CELLS_MAX: usize = 100_000;

/// Beyond as many cells of one source only those of its last two days are kept: older ones hardly ever change.
const CELLS_OF_SOURCE_MAX: usize = 4 * FLUSH_CELLS_MAX;

/// One life of one source, whose cells these are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Life(ProjectId, Mode, SourceId, Incarnation);

impl Life {
    pub(super) fn of(flush: &Flush) -> Self {
        Self(flush.project.clone(), flush.mode, flush.source.clone(), flush.incarnation.clone())
    }
}

/// The row of a source as it was left: if it is the same again, nobody has written meanwhile. Releases that know of
/// no stamp are told by the other two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) cells: i64,
    pub(super) watermark: u64,
    pub(super) last_seen_ms: u64,
}

/// The cells of a source, `None` for those that are known not to be stored.
pub(super) type Cells = BTreeMap<CellKey, Option<Counts>>;

#[derive(Debug)]
struct Known {
    stamp: Stamp,
    cells: Cells,
    /// When it was used last, by a count of uses.
    used: u64,
}

#[derive(Debug, Default)]
struct Lives {
    known: BTreeMap<Life, Known>,
    cells: usize,
    uses: u64,
}

/// What is known, shared by the clones of a store.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Lives>>);

impl Memory {
    /// What a transaction may use; it has to say what came of it.
    pub(super) fn session(&self) -> Session {
        Session { memory: self.clone(), own: BTreeMap::new() }
    }
}

/// What one transaction knows. Dropped without [`Session::keep`] it is forgotten.
#[derive(Debug)]
pub(super) struct Session {
    memory: Memory,
    own: BTreeMap<Life, (Stamp, Cells)>,
}

impl Session {
    /// What is known of a source, and the stamp under which it holds.
    pub(super) fn take(&mut self, life: &Life) -> Option<(Stamp, Cells)> {
        self.own.remove(life).or_else(|| {
            let mut lives = self.memory.0.lock().unwrap_or_else(PoisonError::into_inner);
            let known = lives.known.remove(life)?;
            lives.cells = lives.cells.saturating_sub(known.cells.len());
            Some((known.stamp, known.cells))
        })
    }

    /// Notes how this transaction left a source.
    pub(super) fn put(&mut self, life: Life, stamp: Stamp, cells: Cells) {
        self.own.insert(life, (stamp, cells));
    }

    /// The transaction is committed: what it wrote is what is stored.
    pub(super) fn keep(self) {
        let mut lives = self.memory.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (life, (stamp, cells)) in self.own {
            lives.keep(life, stamp, bounded(cells));
        }
    }
}

impl Lives {
    fn keep(&mut self, life: Life, stamp: Stamp, cells: Cells) {
        self.uses = self.uses.saturating_add(1);
        self.cells = self.cells.saturating_add(cells.len());
        let known = Known { stamp, cells, used: self.uses };
        if let Some(before) = self.known.insert(life, known) {
            self.cells = self.cells.saturating_sub(before.cells.len());
        }
        while self.cells > CELLS_MAX {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.used).map(|(life, _)| life.clone());
            let Some(known) = oldest.and_then(|life| self.known.remove(&life)) else { break };
            self.cells = self.cells.saturating_sub(known.cells.len());
        }
    }
}

fn bounded(mut cells: Cells) -> Cells {
    if cells.len() > CELLS_OF_SOURCE_MAX {
        let newest = cells.last_key_value().map(|(key, _)| key.day);
        cells.retain(|key, _| newest.is_none_or(|newest: Day| key.day.next() >= newest));
    }
    cells
}

#[cfg(test)]
mod tests {
    use shared::ids::AgentId;
    use shared::kind::Kind;
    use shared::units::Units;

    use super::*;

    fn life(number: usize) -> Life {
        let id = |text: &str| ProjectId::parse(text).unwrap();
        let source = SourceId::parse("home").unwrap();
        Life(id(&format!("p{number}")), Mode::Live, source, Incarnation::parse("aaaaaaaa").unwrap())
    }

    fn cells(day: &str, count: usize) -> Cells {
        let key = |number: usize| CellKey {
            day: Day::parse(day).unwrap(),
            kind: Kind::Verify,
            agent: AgentId::parse(&format!("a{number}")).unwrap(),
        };
        (0..count)
            .map(|number| (key(number), Some(Counts { units: Units::new(1), ..Counts::default() })))
            .collect()
    }

    fn stamp(cells: i64) -> Stamp {
        Stamp { cells, watermark: 1, last_seen_ms: 1 }
    }

    #[test]
    fn what_a_transaction_wrote_is_known_once_it_is_committed() {
        let memory = Memory::default();
        let mut taken_back = memory.session();
        taken_back.put(life(1), stamp(1), cells("2026-11-01", 2));
        assert!(taken_back.take(&life(1)).is_some(), "its own writes it knows");
        taken_back.put(life(1), stamp(1), cells("2026-11-01", 2));
        drop(taken_back);
        assert!(memory.session().take(&life(1)).is_none());
        let mut committed = memory.session();
        committed.put(life(1), stamp(2), cells("2026-11-01", 2));
        committed.keep();
        assert_eq!(memory.session().take(&life(1)), Some((stamp(2), cells("2026-11-01", 2))));
        assert!(memory.session().take(&life(1)).is_none(), "whoever takes it is alone");
    }

    #[test]
    fn it_is_bounded_and_forgets_what_was_used_longest_ago() {
        let memory = Memory::default();
        let lives = CELLS_MAX.div_euclid(1_000) + 5;
        for number in 0..lives {
            let mut session = memory.session();
            session.put(life(number), stamp(1), cells("2026-11-01", 1_000));
            session.keep();
        }
        let lives_known = memory.0.lock().unwrap();
        assert_eq!((lives_known.cells, lives_known.known.len()), (CELLS_MAX, lives - 5));
        assert!(!lives_known.known.contains_key(&life(4)) && lives_known.known.contains_key(&life(5)));
        let mut old = cells("2026-11-01", CELLS_OF_SOURCE_MAX);
        old.extend(cells("2026-11-02", 1));
        old.extend(cells("2026-11-03", 1));
        assert_eq!(bounded(old).len(), 2, "the last two days");
    }
}
