//! Whether an endpoint is worth trying: one that is gone or has failed for days is disabled, and its project told.

use std::fmt;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use shared::time::Timestamp;

use super::schedule::Outcome;

/// How long every attempt may fail before the endpoint is disabled: five days, so that an outage over a long
/// weekend loses nothing.
pub const FAILING_MS_MAX: u64 = 5 * 24 * 60 * 60 * 1_000;

/// Why an endpoint gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum DisabledBecause {
    /// It answered 410.
    Gone,
    /// It failed for longer than [`FAILING_MS_MAX`].
    Failing,
    /// Somebody turned it off.
    ByHand,
}

impl DisabledBecause {
    const ALL: [Self; 3] = [Self::Gone, Self::Failing, Self::ByHand];

    /// The reason in one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
            Self::ByHand => "by_hand",
        }
    }

    /// The reason of that word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|because| because.as_str() == text)
    }
}

impl fmt::Display for DisabledBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for DisabledBecause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The last attempt arrived, or there was none yet.
    Well,
    /// Nothing has arrived since then.
    Failing {
        /// The first failure after the last success.
        since: Timestamp,
    },
    /// It gets nothing until somebody turns it on.
    Disabled {
        /// Since when.
        at: Timestamp,
        /// Why.
        because: DisabledBecause,
    },
}

impl Health {
    /// How it is after an attempt that ended now.
    #[must_use]
    pub fn after(self, outcome: &Outcome, now: Timestamp) -> Self {
        match (self, outcome) {
            // Somebody disabled it while the attempt was under way.
            (Self::Disabled { .. }, _) => self,
            (Self::Well | Self::Failing { .. }, Outcome::Accepted(_)) => Self::Well,
            (Self::Well | Self::Failing { .. }, Outcome::Gone) => {
                Self::Disabled { at: now, because: DisabledBecause::Gone }
            }
            // Our own lack of keys is nothing that the receiver did.
            (Self::Well | Self::Failing { .. }, Outcome::Unsealable) => self,
            (Self::Well, _) => Self::Failing { since: now },
            (Self::Failing { since }, _) if now.ms_since(since) > FAILING_MS_MAX => {
                Self::Disabled { at: now, because: DisabledBecause::Failing }
            }
            (Self::Failing { .. }, _) => self,
        }
    }

    /// Since when nothing has arrived, as seen by an attempt that ended now.
    #[must_use]
    pub fn failing_since(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Failing { since } => since,
            Self::Well | Self::Disabled { .. } => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_disabled_when_gone_or_after_five_days_of_failures() {
        let at = |ms| Timestamp::from_ms(ms);
        let failing = Health::Failing { since: at(10) };
        let disabled = |ms, because| Health::Disabled { at: at(ms), because };
        let by_hand = disabled(3, DisabledBecause::ByHand);
        let last = 10 + FAILING_MS_MAX;
        let cases = [
            (Health::Well, Outcome::Accepted(204), 10, Health::Well),
            (Health::Well, Outcome::Refused(500), 10, failing),
            (failing, Outcome::TimedOut, last, failing),
            (failing, Outcome::TimedOut, last + 1, disabled(last + 1, DisabledBecause::Failing)),
            (failing, Outcome::Unsealable, last + 1, failing),
            (failing, Outcome::Accepted(200), last + 1, Health::Well),
            (Health::Well, Outcome::Gone, 10, disabled(10, DisabledBecause::Gone)),
            (failing, Outcome::Gone, 11, disabled(11, DisabledBecause::Gone)),
            (by_hand, Outcome::Accepted(200), 11, by_hand),
            (by_hand, Outcome::Refused(500), 11, by_hand),
        ];
        for (before, outcome, ms, after) in cases {
            assert_eq!(before.after(&outcome, at(ms)), after, "{before:?} {outcome:?}");
        }
    }
}
