//! Agents' places that are all taken: whoever has none is refused without asking, however many names come.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::message::Lease;
use crate::decision::Denial;
use crate::ids::AgentId;
use crate::time::Timestamp;

/// Who has the places, for as long as the refusal holds with which they were told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PlacesTaken {
    by: BTreeSet<AgentId>,
    until: Timestamp,
    /// The version of the terms that it rests on.
    version: u64,
}

impl PlacesTaken {
    /// Takes what a reply says of them; the refusals of it count from then.
    pub(crate) fn heard(&mut self, from: Timestamp, version: u64, lease: &Lease) {
        let refusals = lease.refusals.iter().filter(|refusal| refusal.denial == Denial::AgentLimit);
        let Some(for_ms) = refusals.map(|refusal| refusal.for_ms).min() else { return };
        if !lease.admitted.is_empty() {
            *self =
                Self { by: lease.admitted.iter().cloned().collect(), until: from.plus_ms(for_ms), version };
        }
    }

    /// For how long that agent is refused, under terms of that version; `None` if it is not.
    pub(crate) fn refused_ms(&self, now: Timestamp, version: u64, agent: &AgentId) -> Option<u64> {
        let holds = now < self.until && self.version >= version && agent.is_named();
        (holds && !self.by.contains(agent)).then(|| self.until.ms_since(now))
    }

    /// Who has them, to be passed on.
    pub(crate) fn told(&self) -> Vec<AgentId> {
        self.by.iter().cloned().collect()
    }

    /// Nothing is known of them any more.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}
