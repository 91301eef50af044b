//! What is asked of a home's object and of its sub-homes', and what they reply: JSON that their shells hand on unread.

use alloc::boxed::Box;
use alloc::string::String;

use super::HomeName;
use crate::cell::Observed;
use crate::decision::{Denial, Verdict};
use crate::ids::{AgentId, KeyId};
use crate::json::{Read, Write};
use crate::kind::Kind;
use crate::lease::message::Reply;

/// What a client observed, for the home to note.
#[derive(Debug, PartialEq, Eq, Read, Write)]
pub struct Observing {
    /// Which home.
    pub home: HomeName,
    /// The key that the client has shown.
    pub key: KeyId,
    /// The kind of request that it was observed at.
    pub kind: Kind,
    /// The agent that it was observed of.
    pub agent: AgentId,
    /// What was observed.
    pub observed: Observed,
}

/// What the home's object replies to one question or observation.
#[derive(Debug, PartialEq, Eq, Read, Write)]
#[serde(rename_all = "snake_case")]
pub enum HomeReply {
    /// The home decided.
    Verdict(Verdict),
    /// The home has noted what was observed, or why not.
    Observed(Option<Denial>),
    /// The home cannot decide; the code of why.
    Failed(String),
}

/// What a home or sub-home replies to a contact.
#[derive(Debug, Read, Write)]
#[serde(rename_all = "snake_case")]
pub enum ContactReply {
    /// The contact was taken, or must be sent again.
    Reply(Box<Reply>),
    /// Nobody waits for an answer to it.
    Nobody,
    /// The home cannot be asked; the code of why.
    Failed(String),
}
