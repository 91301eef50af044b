//! What a flush adds to what is stored, and to the sums of it. It must never say that anything shrank.

use std::collections::BTreeMap;

use shared::cell::{Cell, Counts};
use shared::ids::AgentId;
use shared::kind::Kind;
use shared::time::{Day, Period};
use shared::units::Units;

use crate::ledger::entry::Usage;
use crate::metering::usage::parts::Part;

/// What cells are beyond those that are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Growth {
    /// The cells that grew, as they are to be stored.
    pub cells: Vec<Cell>,
    /// What was added of each day and kind.
    pub days: BTreeMap<(Day, Kind), Counts>,
    /// The units that were added of each part of a month and agent.
    pub agents: BTreeMap<(Part, AgentId), Units>,
    /// What was added to each period, of what is billed.
    pub periods: BTreeMap<Period, Usage>,
}

impl Growth {
    /// Notes a cell and what is stored of it, nothing if it is new.
    pub fn add(&mut self, cell: Cell, stored: Option<Counts>) {
        let old = stored.unwrap_or_default();
        let counts = old.merge(cell.counts);
        if stored == Some(counts) {
            return;
        }
        let Cell { key, .. } = &cell;
        let added = Counts {
            units: counts.units.saturating_sub(old.units),
            tokens_in: counts.tokens_in.saturating_sub(old.tokens_in),
            tokens_out: counts.tokens_out.saturating_sub(old.tokens_out),
            anchors: counts.anchors.saturating_sub(old.anchors),
        };
        let day = self.days.entry((key.day, key.kind)).or_default();
        *day = Counts {
            units: day.units.saturating_add(added.units),
            tokens_in: day.tokens_in.saturating_add(added.tokens_in),
            tokens_out: day.tokens_out.saturating_add(added.tokens_out),
            anchors: day.anchors.saturating_add(added.anchors),
        };
        let period = key.day.period();
        if added.units > Units::ZERO {
            let agent = self.agents.entry((Part::of(key.day), key.agent.clone())).or_default();
            *agent = agent.saturating_add(added.units);
        }
        if added.units > Units::ZERO || added.anchors > Units::ZERO {
            let sum = self.periods.entry(period).or_default();
            sum.units = sum.units.saturating_add(added.units);
            sum.anchors = sum.anchors.saturating_add(added.anchors);
        }
        self.cells.push(Cell { counts, ..cell });
    }
}

#[cfg(test)]
mod tests {
    use shared::cell::CellKey;

    use super::*;

    fn cell(day: &str, agent: &str, units: u64, tokens_in: u64) -> Cell {
        let key = CellKey {
            day: Day::parse(day).unwrap(),
            kind: Kind::Verify,
            agent: AgentId::parse(agent).unwrap(),
        };
        let counts =
            Counts { units: Units::new(units), tokens_in: Units::new(tokens_in), ..Counts::default() };
        Cell { key, counts, denials: shared::denials::Denials::NONE }
    }

    #[test]
    fn growth_is_what_is_new_and_nothing_ever_shrinks() {
        let stored = |units, tokens_in| Some(cell("2026-11-01", "a", units, tokens_in).counts);
        let mut growth = Growth::default();
        growth.add(cell("2026-11-30", "a", 5, 1), None);
        growth.add(cell("2026-12-01", "a", 7, 0), stored(4, 9));
        growth.add(cell("2026-12-01", "b", 7, 0), stored(7, 9));
        growth.add(cell("2026-12-02", "b", 3, 2), stored(3, 1));
        let cells: Vec<_> = growth
            .cells
            .iter()
            .map(|cell| {
                format!("{} {} {} {}", cell.key.day, cell.key.agent, cell.counts.units, cell.counts.tokens_in)
            })
            .collect();
        assert_eq!(cells, ["2026-11-30 a 5 1", "2026-12-01 a 7 9", "2026-12-02 b 3 2"]);
        let periods: Vec<_> =
            growth.periods.iter().map(|(period, sum)| format!("{period} {}", sum.units)).collect();
        assert_eq!(periods, ["2026-11 5", "2026-12 3"]);
        let agents: Vec<_> = growth
            .agents
            .iter()
            .map(|((part, agent), units)| format!("{} {} {agent} {units}", part.period(), part.number()))
            .collect();
        assert_eq!(agents, ["2026-11 6 a 5", "2026-12 1 a 3"]);
        let days: Vec<_> = growth
            .days
            .iter()
            .map(|((day, _), counts)| format!("{day} {} {}", counts.units, counts.tokens_in))
            .collect();
        assert_eq!(days, ["2026-11-30 5 1", "2026-12-01 3 0", "2026-12-02 0 1"]);
    }

    #[test]
    fn a_new_cell_without_units_is_stored_all_the_same() {
        let mut growth = Growth::default();
        growth.add(cell("2026-11-30", "a", 0, 0), None);
        assert_eq!(growth.cells.len(), 1);
        assert!(growth.periods.is_empty() && growth.agents.is_empty());
    }
}
