//! What Stripe answered to readings, kept so that code which reads it can run again without asking.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::client::CallError;

/// One reading.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reading {
    /// The path below the version.
    pub path: String,
    /// The query, encoded.
    pub query: Option<String>,
}

/// Readings and what was answered; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Readings(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    answers: BTreeMap<Reading, Result<Value, CallError>>,
    wanted: Option<Reading>,
}

impl Readings {
    /// The answer to a reading. One that is not there is noted as wanted, the first of them.
    ///
    /// # Errors
    /// As Stripe refused or failed, or where there is no answer yet.
    pub(super) fn of(&self, reading: Reading) -> Result<Value, CallError> {
        let mut kept = self.lock();
        if let Some(answer) = kept.answers.get(&reading) {
            return answer.clone();
        }
        kept.wanted.get_or_insert(reading);
        Err(CallError::Unknown("it is still to be read".to_owned()))
    }

    /// Takes the reading that was missed first, if one was.
    pub(super) fn wanted(&self) -> Option<Reading> {
        self.lock().wanted.take()
    }

    /// Keeps what was answered.
    pub(super) fn keep(&self, reading: Reading, answer: Result<Value, CallError>) {
        self.lock().answers.insert(reading, answer);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
