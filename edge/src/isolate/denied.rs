//! What this isolate has refused: counted for the projects that it is of, and in numbers of its own. It must never cost
//! more than a look-up, nor grow with what strangers send.

use shared::denials::Denials;
use shared::problem::ErrorCode;
use shared::time::Timestamp;

use super::Isolate;
use crate::step::{Answer, Denied};

impl Isolate {
    /// Counts an answer that refuses a request, for its project where it is of one.
    pub(crate) fn count(&mut self, answer: &Answer, now: Timestamp) {
        match answer.denied.as_deref() {
            Some(Denied { home, kind, agent, reason }) => {
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

    /// What was refused here, requests whose key is of no project, and how this instance is called.
    pub(crate) fn refused(&self) -> (Denials, u64, String) {
        (self.denials, self.unknown_keys, format!("{:08x}", self.id >> 96))
    }
}
