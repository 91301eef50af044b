//! The question who has what of a project's units, as a signed document from the aggregator to the edge.
//!
//! It travels as policies do. It is good for as long as other signatures are, because whoever has a copy of an old one
//! must not hear what is so now.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::ids::ProjectId;
use crate::policy::{PolicyError, SignedPolicy};
use crate::sign::{SKEW_SECONDS_MAX, SigningKeys};
use crate::time::Timestamp;

/// Whose units are asked for, and when it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseQuestion {
    /// The project, of both modes.
    pub leases_of: ProjectId,
    /// By the clock of whoever asks.
    pub asked: Timestamp,
}

impl LeaseQuestion {
    /// Signs it with the current policy key.
    ///
    /// # Errors
    /// When there is no policy key.
    pub fn sign(&self, keys: &SigningKeys) -> Result<SignedPolicy, String> {
        SignedPolicy::sign_document(self, keys)
    }

    /// Checks the signature and the time, and reads it.
    ///
    /// # Errors
    /// When no known policy key signed it, it is no such document, or it was asked too long before or after `now`.
    pub fn open(signed: &SignedPolicy, keys: &SigningKeys, now: Timestamp) -> Result<Self, PolicyError> {
        let question: Self = signed.open_document(keys)?;
        let apart = now.ms_since(question.asked).max(question.asked.ms_since(now));
        if apart > SKEW_SECONDS_MAX.saturating_mul(1_000) {
            return Err(PolicyError::Document(format!(
                "asked: {} s from the clock here, accepted are {SKEW_SECONDS_MAX}",
                apart.div_euclid(1_000)
            )));
        }
        Ok(question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::community;
    use crate::time::Day;

    #[test]
    fn a_question_is_told_from_policies_forgeries_and_old_copies() {
        let keys = SigningKeys::parse(&format!("policy:p1:{}", "ab".repeat(32))).unwrap();
        let asked = Day::parse("2026-11-23").unwrap().start();
        let question = LeaseQuestion { leases_of: ProjectId::parse("demo").unwrap(), asked };
        let signed = question.sign(&keys).unwrap();
        assert_eq!(signed.document, r#"{"leases_of":"demo","asked":1795392000000}"#);
        assert_eq!(LeaseQuestion::open(&signed, &keys, asked.plus_ms(300_000)), Ok(question));
        assert!(signed.open(&keys).is_err(), "it is no policy");
        for now in [asked.plus_ms(300_001), Timestamp::from_ms(asked.as_ms() - 300_001)] {
            assert!(matches!(LeaseQuestion::open(&signed, &keys, now), Err(PolicyError::Document(_))));
        }
        let policy = SignedPolicy::sign(&community("demo"), &keys).unwrap();
        assert!(matches!(LeaseQuestion::open(&policy, &keys, asked), Err(PolicyError::Document(_))));
        let touched = SignedPolicy { document: signed.document.replace("demo", "deme"), ..signed };
        assert_eq!(LeaseQuestion::open(&touched, &keys, asked), Err(PolicyError::Signature));
    }
}
