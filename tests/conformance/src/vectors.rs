//! Recorded vectors: what a home is asked, step by step, what it answers, and which rows it writes. A harness in another
//! language, or another storage, replays them and compares.
//!
//! A home in another language must also draw jitter as `shared::random::Stream` does from each contact's seed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::home::storage::Commit;
use shared::home::{FlushRound, Home};
use shared::lease::message::{Contact, Reply};
use shared::policy::Policy;
use shared::time::Timestamp;

use crate::run::Process;
use crate::{Backend, Written};

/// What a home is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A policy arrives.
    Install {
        /// Which.
        policy: Box<Policy>,
    },
    /// A holder's contact arrives.
    Contact {
        /// When, in milliseconds since 1970.
        now_ms: u64,
        /// What the answer's jitter is drawn from.
        seed: u64,
        /// What the holder says.
        contact: Box<Contact>,
    },
    /// It is time to flush.
    Flush {
        /// When.
        now_ms: u64,
    },
    /// A flush was acknowledged.
    Flushed {
        /// When.
        now_ms: u64,
        /// Which.
        seq: u64,
    },
    /// The process dies and comes back: only the rows are left.
    Restart,
}

/// A step and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// What was asked.
    pub step: Step,
    /// What was answered; null is no answer.
    pub answer: Value,
    /// The rows that were written: their values, or null where a row was removed.
    pub rows: BTreeMap<String, Value>,
}

/// A run of one home, from nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vector {
    /// Its name, a sentence.
    pub name: String,
    /// What happened, in order.
    pub steps: Vec<Recorded>,
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_else(|error| unreachable!("what is stored can be written: {error}"))
}

/// The home's part of a step.
fn act(home: &mut Home, step: &Step) -> Value {
    match step {
        Step::Install { policy } => {
            home.install((**policy).clone());
            Value::Null
        }
        Step::Contact { now_ms, seed, contact } => {
            let reply: Option<Reply> =
                home.contact(Timestamp::from_ms(*now_ms), *seed, contact).unwrap_or_default();
            value(&reply)
        }
        Step::Flush { now_ms } => {
            let messages =
                home.flush(Timestamp::from_ms(*now_ms)).map(|FlushRound { messages, .. }| messages);
            value(&messages)
        }
        Step::Flushed { now_ms, seq } => {
            home.flushed(Timestamp::from_ms(*now_ms), *seq);
            Value::Null
        }
        Step::Restart => Value::Null,
    }
}

/// A backend that notes what the last accepted write changed.
struct Noted<B> {
    backend: B,
    written: BTreeMap<String, Value>,
}

impl<B: Backend> Backend for Noted<B> {
    fn load(&mut self) -> shared::home::storage::Stored {
        self.backend.load()
    }

    fn commit(&mut self, commit: &Commit) -> Written {
        let written = self.backend.commit(commit);
        if written != Written::Moved {
            // A write whose answer was lost is found out by reading again: it counts if it is repeated, too.
            let rows = commit.rows.iter().map(|row| {
                let text = row.value.as_deref();
                (
                    row.key.clone(),
                    text.map_or(Value::Null, |text| serde_json::from_str(text).unwrap_or_default()),
                )
            });
            self.written.extend(rows);
        }
        written
    }
}

/// Runs steps through a backend, and says what came of each.
pub fn play<B: Backend>(backend: B, steps: impl IntoIterator<Item = Step>) -> Vec<Recorded> {
    let mut process = Process::new(Noted { backend, written: BTreeMap::new() });
    let record = |step: Step| {
        process.backend.written.clear();
        if step == Step::Restart {
            process.restart();
        }
        let answer = process.act(|home| act(home, &step));
        Recorded { answer, rows: process.backend.written.clone(), step }
    };
    steps.into_iter().map(record).collect()
}
