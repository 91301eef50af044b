//! Keys that the terms in hand do not have: they may be new, or revoked, and only the home can tell.
//!
//! Whoever comes with one waits for an answer to a question that was sent after it came. A key is refused only by such
//! an answer, and revoked ones cost no more than a question in a while, however many come.

use alloc::vec::Vec;

use crate::ids::KeyId;
use crate::time::Timestamp;

/// How long a holder remembers an answer that a key is revoked, in milliseconds. Newer terms end it at once.
pub(crate) const REFUSED_MS: u64 = 1_000;
/// The least time between two questions of an isolate, in milliseconds.
pub(crate) const ASK_GAP_MS: u64 = 1_000;
/// The same for a sub-home. Both together are shorter than a request waits, and as each of its isolates asks once a
/// second at most, the home hears no more than one question a second of each.
pub(crate) const SUB_ASK_GAP_MS: u64 = 300;
/// The most keys that one contact asks for, and the most whose refusal is remembered.
pub(crate) const KEYS_MAX: usize = 64;

/// Adds a key to those that one contact asks for, once; false where there are too many already.
pub(crate) fn add_key(keys: &mut Vec<KeyId>, key: &KeyId) -> bool {
    if keys.contains(key) {
        return true;
    }
    let room = keys.len() < KEYS_MAX;
    if room {
        keys.push(key.clone());
    }
    room
}

/// What was asked and heard of keys that are not in the terms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UnknownKeys {
    /// From when the next question may be sent.
    ask_from: Timestamp,
    refused: Vec<(KeyId, Timestamp)>,
}

impl UnknownKeys {
    /// From when the next question may be sent.
    pub(crate) fn ask_from(&self) -> Timestamp {
        self.ask_from
    }

    /// A question is sent now.
    pub(crate) fn asked(&mut self, now: Timestamp, gap_ms: u64) {
        self.ask_from = now.plus_ms(gap_ms);
    }

    /// An answer that counts from `from`, and holds for so long, does not know that key either.
    pub(crate) fn refuse(&mut self, from: Timestamp, for_ms: u64, key: &KeyId) {
        self.refused.retain(|(known, until)| known != key && from < *until);
        if self.refused.len() >= KEYS_MAX {
            self.refused.remove(0);
        }
        self.refused.push((key.clone(), from.plus_ms(for_ms)));
    }

    /// Whether such an answer still holds.
    pub(crate) fn is_refused(&self, now: Timestamp, key: &KeyId) -> bool {
        self.refused.iter().any(|(known, until)| known == key && now < *until)
    }

    /// Newer terms have come, or another life of the home: what older ones said no longer holds.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}
