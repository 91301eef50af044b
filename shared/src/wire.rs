//! The messages between a source of cells and the aggregator.
//!
//! Unknown fields are tolerated in both directions, so that releases can differ.

use serde::{Deserialize, Serialize};

use crate::cell::Cell;
use crate::ids::{Incarnation, Mode, ProjectId, SourceId};
use crate::policy::SignedPolicy;

/// The path that flushes are posted to.
pub const INGEST_PATH: &str = "/ingest";

/// The path at the edge that policies are pushed to.
pub const POLICY_PATH: &str = "/internal/policy";

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
}

/// The receipt of a flush, sent after its cells are durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushAck {
    /// The highest `seq` of that incarnation whose cells are durable.
    pub watermark: u64,
    /// The project's current policy.
    pub policy: SignedPolicy,
}
