//! What the meter tells by itself: the events of webhooks and of the live stream, with what they carry.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use shared::ids::ProjectId;
use shared::time::Period;
use shared::units::Units;

/// One type of event.
#[derive(Clone, Copy)]
pub struct Told {
    /// The type, such as `usage.threshold_reached`.
    pub name: &'static str,
    /// When it is told, in a sentence.
    pub says: &'static str,
    data: fn(&mut SchemaGenerator) -> Schema,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Told {
    const fn new<T: JsonSchema>(name: &'static str, says: &'static str) -> Self {
        Self { name, says, data: |schemas| schemas.subschema_for::<T>() }
    }

    /// What `data` is.
    pub(super) fn schema(&self, schemas: &mut SchemaGenerator) -> Schema {
        (self.data)(schemas)
    }
}

/// Every event that a webhook may be sent.
pub static TOLD: &[Told] = &[Told::new::<ThresholdReached>(
    "usage.threshold_reached",
    "Usage reached 80 or 100 percent of the month's quota",
)];

/// The data of `usage.threshold_reached`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ThresholdReached {
    project: ProjectId,
    period: Period,
    threshold: u8,
    quota: Units,
    used: Units,
}
