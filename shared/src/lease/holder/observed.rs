//! What is told beside units: LLM tokens and anchors, and what was refused. It never decides anything.

use super::{Holder, WAITERS_MAX, WaiterId};
use crate::cell::{CellKey, Observed};
use crate::decision::Ask;
use crate::denials::{DenialReason, Denials};
use crate::ids::{AgentId, KeyId};
use crate::kind::Kind;
use crate::time::Timestamp;

/// What becomes of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It travels with the next report.
    Here,
    /// The key is not among those that the home has sent: [`Holder::await_key`] waits until it is known.
    Strange,
    /// The home does not know the key either.
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
            return if self.unknown.is_refused(now, key) { Noted::KeyRevoked } else { Noted::Strange };
        }
        let Some(at) = self.pace.home_time(now) else { return Noted::AtHome };
        if !observed.is_empty() {
            self.book.observe(now, &CellKey { day: at.day(), kind, agent: agent.clone() }, observed);
        }
        Noted::Here
    }

    /// Waits until it is known what becomes of a key, as requests with it do; `None` where too many wait.
    ///
    /// The outcome denies it, or something else may be done with it.
    pub fn await_key(&mut self, now: Timestamp, key: &KeyId, kind: Kind) -> Option<WaiterId> {
        if self.waiting.len() >= WAITERS_MAX || self.closing {
            return None;
        }
        let (key, agent) = (key.clone(), AgentId::none());
        // Nothing is spent by it.
        let ask = Ask { key, kind, agent, cost: 0, dry_run: true, held: false };
        Some(self.waiting.join(now, &ask, false))
    }

    /// Counts a request of `kind` for `agent` that was refused; it travels with the next report.
    ///
    /// Whoever has no key that is known chooses no names: such requests are nobody's.
    pub fn deny(&mut self, now: Timestamp, (kind, agent): (Kind, &AgentId), reason: DenialReason) {
        let agent = if reason == DenialReason::Unauthorized { AgentId::none() } else { agent.clone() };
        self.note_denials(now, kind, agent, Denials::of(reason, 1));
    }

    /// Counts a request that shadow mode let through, though it would have been refused; it travels as a refusal does.
    pub fn let_through(&mut self, now: Timestamp, (kind, agent): (Kind, &AgentId), reason: DenialReason) {
        self.note_denials(now, kind, agent.clone(), Denials::shadowed(reason, 1));
    }

    fn note_denials(&mut self, now: Timestamp, kind: Kind, agent: AgentId, denials: Denials) {
        // Where the home's time was never heard ours must do: no bill depends on it.
        let day = self.pace.likely_time(now).day();
        self.book.deny(now, &CellKey { day, kind, agent }, denials);
    }
}
