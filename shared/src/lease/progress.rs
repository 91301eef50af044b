//! How far a holder and its issuer are with each other. Whoever finds its own rows behind the other's has had its
//! storage restored: what those rows hold may have been spent since.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// The last contact of each lane, and the last batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Nonces, by lane; a lane that is not there was never used.
    pub nonces: Vec<u64>,
    /// The number of the last batch.
    pub seq: u64,
}

impl Progress {
    /// Whether this knows of something that `other` has not sent yet.
    #[must_use]
    pub fn is_beyond(&self, other: &Self) -> bool {
        let nonce = |lane: usize| other.nonces.get(lane).copied().unwrap_or(0);
        self.seq > other.seq || self.nonces.iter().enumerate().any(|(lane, of)| *of > nonce(lane))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_knows_of_a_later_contact_or_batch_is_beyond() {
        let of = |nonces: &[u64], seq| Progress { nonces: nonces.to_vec(), seq };
        for (issuer, holder, beyond) in [
            (of(&[], 0), of(&[0, 0], 0), false),
            (of(&[7, 2], 3), of(&[7, 2], 3), false),
            // The last contact of a lane, and the batch in it, are still under way.
            (of(&[6, 2], 2), of(&[7, 2], 3), false),
            (of(&[8, 2], 3), of(&[7, 2], 3), true),
            (of(&[7, 0, 1], 3), of(&[7, 2], 3), true),
            (of(&[7, 2], 4), of(&[7, 2], 3), true),
        ] {
            assert_eq!(issuer.is_beyond(&holder), beyond, "{issuer:?} {holder:?}");
        }
    }
}
