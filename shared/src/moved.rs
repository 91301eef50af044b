//! How far the clock of tests and demonstrations was moved, as a signed document.
//!
//! It travels as policies do and is only ever raised; a meter that is not told to expect it refuses it.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::policy::{PolicyError, SignedPolicy};
use crate::sign::SigningKeys;

/// How far the meter's clock is ahead of the machine's, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// In all; a lower one than before changes nothing.
    pub offset_ms: u64,
}

impl Moved {
    /// The most that a clock may be moved, in milliseconds: a hundred years, far below 2^53.
    pub const MS_MAX: u64 = 100 * 366 * 86_400_000;

    /// Signs it with the current policy key.
    ///
    /// # Errors
    /// When there is no policy key.
    pub fn sign(self, keys: &SigningKeys) -> Result<SignedPolicy, String> {
        SignedPolicy::sign_document(&self, keys)
    }

    /// Checks the signature and reads it.
    ///
    /// # Errors
    /// When no known policy key signed it, or it is no such document.
    pub fn open(signed: &SignedPolicy, keys: &SigningKeys) -> Result<Self, PolicyError> {
        let moved: Self = signed.open_document(keys)?;
        let accepted = moved.offset_ms <= Self::MS_MAX;
        accepted.then_some(moved).ok_or_else(|| {
            let ms = moved.offset_ms;
            PolicyError::Document(format!("offset_ms: got {ms}, accepted is up to {}", Self::MS_MAX))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::community;

    #[test]
    fn a_moved_clock_is_told_from_policies_and_forgeries() {
        let keys = SigningKeys::parse(&format!("policy:p1:{}", "ab".repeat(32))).unwrap();
        let moved = Moved { offset_ms: 259_200_000 };
        let signed = moved.sign(&keys).unwrap();
        assert_eq!(signed.document, r#"{"offset_ms":259200000}"#);
        assert_eq!(Moved::open(&signed, &keys), Ok(moved));
        assert!(signed.open(&keys).is_err(), "it is no policy");
        let policy = SignedPolicy::sign(&community("demo"), &keys).unwrap();
        assert!(matches!(Moved::open(&policy, &keys), Err(PolicyError::Document(_))));
        let touched = SignedPolicy { document: signed.document.replace("25", "35"), ..signed };
        assert_eq!(Moved::open(&touched, &keys), Err(PolicyError::Signature));
        let far = Moved { offset_ms: u64::MAX }.sign(&keys).unwrap();
        assert!(matches!(Moved::open(&far, &keys), Err(PolicyError::Document(_))));
    }
}
