//! What is asked of a home's object and of its sub-homes', and what they reply: JSON that their shells hand on unread.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::HomeName;
use crate::cell::Observed;
use crate::decision::{Denial, Verdict};
use crate::ids::{AgentId, KeyId};
use crate::kind::Kind;
use crate::lease::message::{HolderId, Reply};
use crate::whole::whole;

/// One call by a holder that its home decides. Written `<holder>/<number>`, or as the holder alone where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId {
    /// Whose call it is.
    pub holder: HolderId,
    /// Rises by one with each call of the holder, from one. Zero is none: such a call is counted as it is decided.
    pub number: u64,
}

impl CallId {
    /// Reads it back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (holder, number) = text.split_once('/').unwrap_or((text, "0"));
        Some(Self { holder: HolderId::parse(holder)?, number: whole(number)? })
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => write!(f, "{}", self.holder),
            number => write!(f, "{}/{number}", self.holder),
        }
    }
}

impl Serialize for CallId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CallId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let accepts = "call: accepted are 32 hex digits, a slash and a number";
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(accepts))
    }
}

/// What a client observed, for the home to note.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactReply {
    /// The contact was taken, or must be sent again.
    Reply(Box<Reply>),
    /// Nobody waits for an answer to it.
    Nobody,
    /// The home cannot be asked; the code of why.
    Failed(String),
}
