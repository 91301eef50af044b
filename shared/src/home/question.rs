//! One question to a home, and what it replies: the same wherever the home's rows are.

use alloc::boxed::Box;
use alloc::string::String;

use super::call::{CallId, ContactReply, HomeReply, Observing};
use super::{Home, KeysKnown};
use crate::decision::Ask;
use crate::ids::KeyId;
use crate::json;
use crate::lease::message::Contact;
use crate::problem::ErrorCode;
use crate::time::Timestamp;
use crate::units::Units;

/// What a process of the edge asks of a home.
#[derive(Debug, PartialEq, Eq)]
pub enum Question {
    /// A holder's contact.
    Contact(Box<Contact>),
    /// One decision, as that call of a holder.
    Decide(Ask, Option<CallId>),
    /// What a client observed.
    Observe(Observing),
}

impl Question {
    /// Whether it is a holder's contact.
    #[must_use]
    pub fn is_contact(&self) -> bool {
        matches!(self, Self::Contact(_))
    }

    /// Whether there is nothing to issue for it before the aggregator has acknowledged more, although units are left:
    /// whoever asks waits a moment rather than be refused. A contact is taken all the same, because its report is what
    /// the aggregator is to acknowledge.
    #[must_use]
    pub fn waits_for_room(&self, home: &Home, now: Timestamp) -> bool {
        match self {
            Self::Decide(ask, _) => !ask.dry_run && home.is_short_of_room(now, Units::from(ask.cost)),
            Self::Contact(_) | Self::Observe(_) => false,
        }
    }

    /// Whether a copy is answered as before and counted once, whatever became of the first.
    #[must_use]
    pub fn may_come_twice(&self) -> bool {
        match self {
            Self::Contact(_) => true,
            Self::Decide(ask, call) => ask.dry_run || call.is_some_and(|call| call.number > 0),
            Self::Observe(_) => false,
        }
    }

    fn keys(&self) -> &[KeyId] {
        match self {
            Self::Contact(contact) => &contact.keys,
            Self::Decide(ask, _) => core::slice::from_ref(&ask.key),
            Self::Observe(observing) => core::slice::from_ref(&observing.key),
        }
    }
}

impl Home {
    /// What the home replies, as JSON. `None` means that a policy must be pulled first, and nothing was done; whoever
    /// has `waited` for it is answered with what is known. `seed` feeds the home's jitter.
    pub fn reply(&mut self, now: Timestamp, seed: u64, question: &Question, waited: bool) -> Option<String> {
        if let Some(reply) = self.reply_between(question, waited) {
            return reply;
        }
        let sure = match self.keys_known(now, question.keys()) {
            KeysKnown::All => true,
            KeysKnown::AfterPull if !waited => return None,
            KeysKnown::AfterPull | KeysKnown::NotYet => false,
        };
        match question {
            Question::Contact(contact) => {
                let reply = self.contact(now, seed, contact).ok()?;
                let reply = reply.map_or(ContactReply::Nobody, |reply| ContactReply::Reply(Box::new(reply)));
                Some(json::write(&reply))
            }
            Question::Decide(ask, call) => {
                let verdict = match call {
                    Some(call) => self.decide_call(now, ask, *call),
                    None => self.decide(now, ask).map(Some),
                };
                // Whoever waits for a call that was taken back has been told to come again.
                let verdict = verdict.ok()?.filter(|_| sure);
                Some(json::write(&verdict.map_or_else(unavailable, HomeReply::Verdict)))
            }
            Question::Observe(Observing { key, kind, agent, observed, .. }) => {
                let denial = self.observe(now, key, (*kind, agent), *observed).ok()?;
                Some(json::write(&if sure { HomeReply::Observed(denial) } else { unavailable() }))
            }
        }
    }
}

fn unavailable() -> HomeReply {
    HomeReply::Failed(ErrorCode::HomeUnavailable.as_str().into())
}
