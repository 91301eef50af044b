//! Prepares a flush for the books: one cell per key, and what cannot be true set aside.
//!
//! Merging by `max` cannot undo a lie, so an implausible cell must never reach the books.

use std::collections::BTreeMap;
use std::fmt;

use shared::cell::{Cell, CellKey, Counts};
use shared::denials::Denials;
use shared::time::Day;
use shared::units::Units;

const MINUTES_PER_DAY: u64 = 1_440;

/// More LLM tokens than any model reads in one call; a cell that says more is not believed.
const TOKENS_PER_UNIT_MAX: u64 = 16_000_000;

/// Ten million refused requests a second for a whole day: no edge has as many.
const DENIALS_MAX: u64 = 1_000_000_000_000;

/// Why a cell was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// More than the project's requests per minute permit in a day.
    AboveRate,
    /// Dated more than one day after today, which no clock error explains.
    InFuture,
}

impl Doubt {
    /// The reason's name in storage and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AboveRate => "above_rate",
            Self::InFuture => "in_future",
        }
    }

    /// The reason of that name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::AboveRate, Self::InFuture].into_iter().find(|doubt| doubt.as_str() == text)
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A flush's cells in the order of their keys, each key once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// What goes into the books.
    pub cells: Vec<Cell>,
    /// What is set aside.
    pub doubted: Vec<(Cell, Doubt)>,
}

impl Batch {
    /// Merges cells of the same key and sets implausible ones aside.
    ///
    /// `rpm_max` is the largest that the project ever had, `today` the day of the aggregator's clock.
    #[must_use]
    pub fn prepare(cells: &[Cell], rpm_max: u32, today: Day) -> Self {
        let mut merged: BTreeMap<&CellKey, (Counts, Denials)> = BTreeMap::new();
        let mut batch = Self::default();
        for cell in cells {
            // A cell is judged before it is merged, so that a lie does not take a true report with it.
            match doubt(cell, rpm_max, today) {
                Some(reason) => batch.doubted.push((cell.clone(), reason)),
                None => {
                    let (counts, denials) = merged.entry(&cell.key).or_default();
                    (*counts, *denials) = (counts.merge(cell.counts), denials.merge(cell.denials));
                }
            }
        }
        let cell = |(key, (counts, denials)): (&CellKey, _)| Cell { key: key.clone(), counts, denials };
        batch.cells = merged.into_iter().map(cell).collect();
        batch
    }
}

fn doubt(cell: &Cell, rpm_max: u32, today: Day) -> Option<Doubt> {
    let Counts { units, tokens_in, tokens_out, anchors } = cell.counts;
    let units_max = u64::from(rpm_max).saturating_mul(MINUTES_PER_DAY);
    let tokens_max = Units::new(units_max.saturating_mul(TOKENS_PER_UNIT_MAX));
    let units_max = Units::new(units_max);
    if cell.key.day > today.next() {
        Some(Doubt::InFuture)
    } else if units > units_max
        || anchors > units_max
        || tokens_in > tokens_max
        || tokens_out > tokens_max
        || cell.denials.total() > DENIALS_MAX
        || cell.denials.let_through().total() > DENIALS_MAX
    {
        Some(Doubt::AboveRate)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::denials::DenialReason;
    use shared::ids::AgentId;
    use shared::kind::Kind;

    fn cell(day: &str, agent: &str, units: u64) -> Cell {
        Cell {
            key: CellKey {
                day: Day::parse(day).unwrap(),
                kind: Kind::Verify,
                agent: AgentId::parse(agent).unwrap(),
            },
            counts: Counts { units: Units::new(units), ..Counts::default() },
            denials: Denials::NONE,
        }
    }

    fn prepare(cells: &[Cell]) -> Batch {
        Batch::prepare(cells, 60, Day::parse("2026-11-23").unwrap())
    }

    #[test]
    fn a_day_above_the_rate_or_beyond_tomorrow_is_set_aside() {
        let cases = [
            ("2026-11-23", 86_400, None),
            ("2026-11-23", 86_401, Some(Doubt::AboveRate)),
            ("2026-11-24", 1, None),
            ("2026-11-25", 1, Some(Doubt::InFuture)),
            ("1999-01-01", 1, None),
        ];
        for (day, units, expected) in cases {
            let batch = prepare(&[cell(day, "bot", units)]);
            assert_eq!(batch.doubted.first().map(|(_, doubt)| *doubt), expected, "{day} {units}");
            assert_eq!(batch.cells.is_empty(), expected.is_some());
        }
    }

    #[test]
    fn what_is_observed_is_bounded_too() {
        let with = |counts| Cell { counts, ..cell("2026-11-23", "bot", 1) };
        let units = Units::new(1);
        for lie in [
            Counts { units, anchors: Units::new(86_401), ..Counts::default() },
            Counts { units, tokens_in: Units::MAX, ..Counts::default() },
            Counts { units, tokens_out: Units::MAX, ..Counts::default() },
        ] {
            assert_eq!(prepare(&[with(lie)]).doubted.len(), 1, "{lie:?}");
        }
    }

    #[test]
    fn what_is_refused_is_bounded_and_merged_beside_what_is_counted() {
        let of = |count| Cell {
            denials: Denials::of(DenialReason::RateLimited, count),
            ..cell("2026-11-23", "a", 1)
        };
        let batch = prepare(&[of(1_000_000_000_001), of(7), of(5), cell("2026-11-23", "a", 1)]);
        assert_eq!((batch.cells, batch.doubted.len()), (vec![of(7)], 1));
    }

    #[test]
    fn cells_of_one_key_are_merged_without_the_lie_among_them() {
        let cells = [
            cell("2026-11-23", "b", 2),
            cell("2026-11-23", "a", 1),
            cell("2026-11-23", "b", 9_999_999),
            cell("2026-11-23", "b", 1),
        ];
        let batch = prepare(&cells);
        assert_eq!(batch.cells, [cell("2026-11-23", "a", 1), cell("2026-11-23", "b", 2)]);
        assert_eq!(batch.doubted, [(cell("2026-11-23", "b", 9_999_999), Doubt::AboveRate)]);
    }
}
