//! A stream of pseudo-random numbers from a seed that the caller draws.
//!
//! Used for jitter only: nothing here may serve as a secret, and this file must never seed itself.

use serde::{Deserialize, Serialize};

/// The bits of some random words that the caller drew, the first word's highest; of more than four the last four.
#[must_use]
pub fn bits(words: &[u32]) -> u128 {
    words.iter().fold(0, |bits, word| (bits << 32) | u128::from(*word))
}

/// SplitMix64 (Steele, Lea, Flood 2014): one word of state, every seed is a good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream(u64);

impl Stream {
    /// The stream of that seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number from `low` up to and including `high`; `low` where the range is empty.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = u128::from(high.saturating_sub(low)).saturating_add(1);
        let scaled = u128::from(self.bits()).wrapping_mul(span) >> 64;
        low.saturating_add(u64::try_from(scaled).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_stream_and_numbers_stay_in_their_range() {
        let (mut a, mut b) = (Stream::new(7), Stream::new(7));
        let mut seen = [false; 5];
        for _ in 0..1_000 {
            let n = a.between(3, 7);
            assert_eq!(n, b.between(3, 7));
            seen[usize::try_from(n - 3).unwrap()] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(Stream::new(1).between(9, 2), 9);
    }
}
