//! The messages between a source of cells and the aggregator.
//!
//! Unknown fields are tolerated in both directions, so that releases can differ.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::cell::Cell;
use crate::ids::{AgentId, Incarnation, Mode, ProjectId, SourceId};
use crate::policy::{Place, SignedPolicy};
use crate::time::Period;
use crate::units::Units;
use crate::window::Window;

/// The path that flushes are posted to.
pub const INGEST_PATH: &str = "/ingest";

/// The path at the edge that policies are pushed to.
pub const POLICY_PATH: &str = "/internal/policy";

/// The path at the edge that is asked who has what of a project's units.
pub const LEASES_PATH: &str = "/internal/leases";

/// The most cells in one flush message; a home with more sends several.
pub const FLUSH_CELLS_MAX: usize = 1_000;

/// Cumulative cells from one source. A flush without cells asks for the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flush {
    /// Whose cells.
    pub project: ProjectId,
    /// Whether they are billed.
    pub mode: Mode,
    /// Who counted.
    pub source: SourceId,
    /// Which life of the source's storage.
    pub incarnation: Incarnation,
    /// Rises with each flush of that incarnation; it names the flush in its ack.
    pub seq: u64,
    /// At most [`FLUSH_CELLS_MAX`] cells.
    pub cells: Vec<Cell>,
    /// Periods in which a request was denied for want of units; at most [`DENIED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<Denied>,
    /// Units that are out with holders of whom nothing was heard lately, of each period, from a home whose storage can
    /// be rolled back; with the last message of a flush only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stranded: Vec<Stranded>,
    /// That this life has ended in order: it grants nothing any more, and what is out with its holders is stranded. With
    /// the last message of a flush only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<Retired>,
    /// The permits that this life had issued of its last minutes, from a home whose storage can be rolled back; with the
    /// last message of a flush only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

impl Flush {
    /// A flush of a life of a source that tells nothing yet.
    #[must_use]
    pub fn new(
        (project, mode): (ProjectId, Mode),
        (source, incarnation): (SourceId, Incarnation),
        seq: u64,
    ) -> Self {
        Self {
            project,
            mode,
            source,
            incarnation,
            seq,
            cells: Vec::new(),
            denied: Vec::new(),
            stranded: Vec::new(),
            retired: None,
            window: None,
        }
    }
}

/// A life that has ended in order, because its homes are to be elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// Where it was.
    pub place: Place,
    /// The term that it has ended for.
    pub term: u64,
    /// The permits that it had issued of its last minutes.
    pub window: Window,
}

/// The most periods that a flush tells denials of: more than a home ever has open.
pub const DENIED_MAX: usize = 12;

/// A request was denied for want of units: it counts as the passing of 100 % (design §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// In which period.
    pub period: Period,
    /// The largest quota that was in force when one was denied: what a later rise gives was not denied.
    pub quota: Units,
}

/// Units that most likely nobody will ever settle: they are spent, and not billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stranded {
    /// Of which period.
    pub period: Period,
    /// How many.
    pub units: Units,
}

/// The receipt of a flush, sent after its cells are durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushAck {
    /// The highest `seq` of that incarnation whose cells are durable.
    pub watermark: u64,
    /// The project's current policy.
    pub policy: SignedPolicy,
    /// What is merged, for homes whose storage can be rolled back; for each period that is not final
    /// and has begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<Merged>,
}

/// What the aggregator has merged of all of a home's lives in one period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merged {
    /// The period.
    pub period: Period,
    /// Units of all lives.
    pub units: Units,
    /// How many lives other than the asking one there were.
    pub lives: u32,
    /// Units that those lives have told to be stranded.
    #[serde(default, skip_serializing_if = "Units::is_zero")]
    pub stranded: Units,
    /// Units of each named agent, where the policy limits agents.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub agents: BTreeMap<AgentId, Units>,
    /// The most permits of their last minutes that other lives have told, each with what it knew of those before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// How many of those that did not end in order may have issued permits lately and not told it; `None` from
    /// aggregators of releases before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent: Option<u32>,
}

impl Merged {
    /// What is known of a period in which nothing was merged, of a home that has no other life.
    #[must_use]
    pub const fn nothing(period: Period) -> Self {
        Self {
            period,
            units: Units::ZERO,
            lives: 0,
            stranded: Units::ZERO,
            agents: BTreeMap::new(),
            window: None,
            recent: None,
        }
    }
}
