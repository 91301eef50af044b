//! Units: billable governance requests, as a checked number.
//!
//! One verify call, MCP tool call or extension event is one unit (seed: "every verify call, MCP tool
//! call, and extension event counts as one"). Nothing here wraps or loses precision silently.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::lease::math::times;

/// A number of units, 0 to 2^53 − 1, so that it crosses JavaScript exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Units(u64);

impl Units {
    /// No units.
    pub const ZERO: Self = Self(0);
    /// The largest number that JavaScript still counts exactly.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// A number of units; more than [`Units::MAX`] is held at it.
    #[must_use]
    pub const fn new(n: u64) -> Self {
        if n > Self::MAX.0 { Self::MAX } else { Self(n) }
    }

    /// The plain number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether there are none; such a field is left out where it is written.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// The sum, or `None` beyond [`Units::MAX`].
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self).filter(|sum| *sum <= Self::MAX)
    }

    /// The sum, held at [`Units::MAX`]: for totals that are only shown.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self::new(self.0.saturating_add(other.0))
    }

    /// The difference, or zero where `other` is larger.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Whether this is at least `percent` of `whole`; exact, without division: both products fit.
    #[must_use]
    pub fn reaches(self, percent: u8, whole: Self) -> bool {
        times(self.0, 100) >= times(percent.into(), whole.0)
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u32> for Units {
    fn from(n: u32) -> Self {
        Self(u64::from(n))
    }
}

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = u64::deserialize(deserializer)?;
        if n > Self::MAX.0 {
            return Err(serde::de::Error::custom(format_args!("got {n}, accepted are 0 to {}", Self::MAX)));
        }
        Ok(Self(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_checked_at_the_largest_exact_number() {
        assert_eq!(Units::MAX.checked_add(Units::new(1)), None);
        assert_eq!(Units::new(2).checked_add(Units::new(3)), Some(Units::new(5)));
        assert_eq!(Units::new(2).saturating_sub(Units::new(3)), Units::ZERO);
    }

    #[test]
    fn numbers_beyond_the_limit_are_refused_when_read() {
        assert!(serde_json::from_str::<Units>("9007199254740991").is_ok());
        assert!(serde_json::from_str::<Units>("9007199254740992").is_err());
        assert!(serde_json::from_str::<Units>("-1").is_err());
        assert!(serde_json::from_str::<Units>("1.5").is_err());
    }

    #[test]
    fn percentages_are_exact_at_the_boundary() {
        assert!(Units::new(800).reaches(80, Units::new(1_000)));
        assert!(!Units::new(799).reaches(80, Units::new(1_000)));
        assert!(Units::new(3).reaches(100, Units::new(3)));
        assert!(Units::MAX.reaches(100, Units::MAX));
    }
}
