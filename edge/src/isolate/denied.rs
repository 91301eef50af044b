//! What this isolate has refused, and what shadow mode let through: counted for the projects that it is of, and in numbers of
//! its own. It must never cost more than a look-up, nor grow with what strangers send.

use shared::denials::{DenialReason, Denials};
use shared::home::HomeName;
use shared::ids::AgentId;
use shared::kind::Kind;
use shared::problem::ErrorCode;
use shared::time::Timestamp;

use super::Isolate;
use crate::contract::Ticket;
use crate::step::{Answer, Denied, Step};

impl Isolate {
    /// Counts a step that refuses a request, or that serves what a limit would have refused.
    pub(crate) fn count_step(&mut self, step: &Step, now: Timestamp) {
        if let Step::Answer(answer) = step {
            self.count(answer, now);
        } else if let Step::Forward { ticket, would_deny, .. } = step
            && let Some(reason) = DenialReason::parse(would_deny)
        {
            let Ticket { home, kind, agent, .. } = ticket;
            self.count_let_through((home, *kind, agent), reason, now);
        }
    }

    /// Counts an answer that refuses a request, for its project where it is of one; or that allows what a limit would have
    /// refused.
    pub(crate) fn count(&mut self, answer: &Answer, now: Timestamp) {
        match answer.denied.as_deref() {
            Some(Denied { home, kind, agent, reason, is_let_through: true }) => {
                self.count_let_through((home, *kind, agent), *reason, now);
            }
            Some(Denied { home, kind, agent, reason, is_let_through: false }) => {
                self.denials.add(*reason, 1);
                if let Some(seat) = self.seat(home, now) {
                    seat.post.holder.deny(now, (*kind, agent), *reason);
                }
            }
            None if answer.status == ErrorCode::Unauthorized.status() => {
                self.unknown_keys = self.unknown_keys.saturating_add(1);
            }
            None => {}
        }
    }

    /// It is of nobody's numbers but the project's: nothing was refused here.
    fn count_let_through(
        &mut self,
        (home, kind, agent): (&HomeName, Kind, &AgentId),
        reason: DenialReason,
        now: Timestamp,
    ) {
        if let Some(seat) = self.seat(home, now) {
            seat.post.holder.let_through(now, (kind, agent), reason);
        }
    }

    /// What was refused here, requests whose key is of no project, and how this instance is called.
    pub(crate) fn refused(&self) -> (Denials, u64, String) {
        (self.denials, self.unknown_keys, format!("{:08x}", self.id >> 96))
    }
}
