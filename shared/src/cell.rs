//! Cells: cumulative counts per (project, source, incarnation, day, agent, kind).
//!
//! Cells are merged by `max`, so duplicates, reordering and replays of any age change nothing
//! (design §4). A cell must never be decreased.

use serde::{Deserialize, Serialize};

use crate::denials::Denials;
use crate::ids::AgentId;
use crate::kind::Kind;
use crate::time::Day;
use crate::units::Units;

/// Which cell of its source this is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CellKey {
    /// The day of the permit, by the home's clock.
    pub day: Day,
    /// What was counted.
    pub kind: Kind,
    /// For which of the customer's agents.
    pub agent: AgentId,
}

/// What a cell has counted so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Units, which are billed.
    pub units: Units,
    /// LLM tokens read; observed, never billed.
    #[serde(default)]
    pub tokens_in: Units,
    /// LLM tokens written; observed, never billed.
    #[serde(default)]
    pub tokens_out: Units,
    /// Blockchain anchors; billed apart where the plan says so.
    #[serde(default)]
    pub anchors: Units,
}

impl Counts {
    /// The merge of two reports of the same cell: the larger of each count.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            units: self.units.max(other.units),
            tokens_in: self.tokens_in.max(other.tokens_in),
            tokens_out: self.tokens_out.max(other.tokens_out),
            anchors: self.anchors.max(other.anchors),
        }
    }
}

/// What is observed of requests beside their units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Observed {
    /// LLM tokens read; never billed.
    #[serde(default)]
    pub tokens_in: Units,
    /// LLM tokens written; never billed.
    #[serde(default)]
    pub tokens_out: Units,
    /// Blockchain anchors; billed apart where the plan says so.
    #[serde(default)]
    pub anchors: Units,
}

impl Observed {
    /// The most tokens that one report may name; no model has a context a thousandth of that.
    pub const TOKENS_MAX: u64 = 1_000_000_000;
    /// The most anchors that one report may name; they cost money, and one request makes few.
    pub const ANCHORS_MAX: u64 = 1_000;

    /// Whether nothing was observed.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens_in: self.tokens_in.saturating_add(other.tokens_in),
            tokens_out: self.tokens_out.saturating_add(other.tokens_out),
            anchors: self.anchors.saturating_add(other.anchors),
        }
    }
}

impl Counts {
    /// Adds what was observed.
    #[must_use]
    pub fn seen(self, observed: Observed) -> Self {
        Self {
            units: self.units,
            tokens_in: self.tokens_in.saturating_add(observed.tokens_in),
            tokens_out: self.tokens_out.saturating_add(observed.tokens_out),
            anchors: self.anchors.saturating_add(observed.anchors),
        }
    }
}

/// A cell as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Which cell.
    #[serde(flatten)]
    pub key: CellKey,
    /// What it has counted so far.
    #[serde(flatten)]
    pub counts: Counts,
    /// Requests that were refused so far; never billed.
    #[serde(default, skip_serializing_if = "Denials::is_empty")]
    pub denials: Denials,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_is_commutative_associative_and_idempotent() {
        let counts = |units, tokens_in| Counts {
            units: Units::new(units),
            tokens_in: Units::new(tokens_in),
            ..Counts::default()
        };
        let (a, b, c) = (counts(1, 9), counts(5, 2), counts(3, 3));
        assert_eq!(a.merge(b), b.merge(a));
        assert_eq!(a.merge(b).merge(c), a.merge(b.merge(c)));
        assert_eq!(a.merge(a), a);
        assert_eq!(a.merge(b), counts(5, 9));
    }

    #[test]
    fn a_cell_travels_flat() {
        let json = r#"{"day":"2026-11-23","kind":"verify","agent":"bot","units":3,"tokens_in":0,"tokens_out":0,"anchors":0}"#;
        let cell: Cell = serde_json::from_str(json).unwrap();
        assert_eq!(cell.counts.units, Units::new(3));
        assert_eq!(serde_json::to_string(&cell).unwrap(), json);
    }
}
