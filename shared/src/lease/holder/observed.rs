//! What is observed beside units: LLM tokens and anchors. It never decides anything.

use super::Holder;
use crate::cell::{CellKey, Observed};
use crate::ids::{AgentId, KeyId};
use crate::kind::Kind;
use crate::time::Timestamp;

/// What becomes of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It travels with the next report.
    Here,
    /// The key is not among those that the home has sent.
    KeyRevoked,
    /// The home itself must be told: neither keys nor the day are known here.
    AtHome,
}

impl Holder {
    /// Notes what was observed of requests of `kind` for `agent`.
    pub fn observe(
        &mut self,
        now: Timestamp,
        key: &KeyId,
        (kind, agent): (Kind, &AgentId),
        observed: Observed,
    ) -> Noted {
        let Some(terms) = self.terms.as_ref() else { return Noted::AtHome };
        if !terms.keys.contains(key) {
            return Noted::KeyRevoked;
        }
        let Some(at) = self.pace.home_time(now) else { return Noted::AtHome };
        if !observed.is_empty() {
            self.book.observe(now, &CellKey { day: at.day(), kind, agent: agent.clone() }, observed);
        }
        Noted::Here
    }
}
