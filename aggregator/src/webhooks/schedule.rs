//! When a delivery is tried: at once, then after growing waits, then no more until somebody asks for it.

use shared::time::Timestamp;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// The waits before the second and every later attempt, as those of the field's services: seconds for a restart,
/// hours for an outage, a little more than a day in all.
pub const WAITS_MS: [u64; 7] =
    [5 * SECOND_MS, 5 * MINUTE_MS, 30 * MINUTE_MS, 2 * HOUR_MS, 5 * HOUR_MS, 10 * HOUR_MS, 10 * HOUR_MS];

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver answered 2xx.
    Accepted(u16),
    /// The receiver answered 410: it wants nothing more, ever.
    Gone,
    /// The receiver answered anything else; redirects are not followed.
    Refused(u16),
    /// There was no whole answer in time.
    TimedOut,
    /// There was no connection, or it broke; why.
    Unreachable(String),
    /// The address may not be connected to; why. No connection was made.
    Forbidden(String),
    /// The endpoint's secrets cannot be opened with the keys that this process has.
    Unsealable,
}

impl Outcome {
    /// The outcome of an answer.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Accepted(status),
            410 => Self::Gone,
            other => Self::Refused(other),
        }
    }

    /// The outcome in one word, for logs and lists.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Gone => "gone",
            Self::Refused(_) => "refused",
            Self::TimedOut => "timed_out",
            Self::Unreachable(_) => "unreachable",
            Self::Forbidden(_) => "forbidden_address",
            Self::Unsealable => "secret_unreadable",
        }
    }

    /// The status that was answered, if there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Accepted(status) | Self::Refused(status) => Some(*status),
            Self::Gone => Some(410),
            Self::TimedOut | Self::Unreachable(_) | Self::Forbidden(_) | Self::Unsealable => None,
        }
    }

    /// Why there was no answer.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Unreachable(why) | Self::Forbidden(why) => Some(why),
            Self::Accepted(_) | Self::Gone | Self::Refused(_) | Self::TimedOut | Self::Unsealable => None,
        }
    }
}

/// A delivery that is to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// How many attempts of this round have failed; a replay begins a new round.
    pub failed: u32,
    /// When it is tried next.
    pub due: Timestamp,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is to be tried.
    Waiting(Waiting),
    /// The receiver has it.
    Delivered {
        /// Since when.
        at: Timestamp,
    },
    /// It is not tried any more, unless somebody asks for it.
    GaveUp {
        /// Since when.
        at: Timestamp,
    },
}

impl State {
    /// The state in one word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting(_) => "waiting",
            Self::Delivered { .. } => "delivered",
            Self::GaveUp { .. } => "gave_up",
        }
    }

    /// Begins a new round now, wherever the delivery stood.
    #[must_use]
    pub fn replayed(self, now: Timestamp) -> Self {
        Self::Waiting(Waiting { failed: 0, due: now })
    }
}

impl Waiting {
    /// A new delivery.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { failed: 0, due: now }
    }

    /// Where it stands after an attempt that ended now.
    #[must_use]
    pub fn after(self, outcome: &Outcome, now: Timestamp) -> State {
        match outcome {
            Outcome::Accepted(_) => State::Delivered { at: now },
            Outcome::Gone => State::GaveUp { at: now },
            Outcome::Refused(_)
            | Outcome::TimedOut
            | Outcome::Unreachable(_)
            | Outcome::Forbidden(_)
            | Outcome::Unsealable => {
                let wait = usize::try_from(self.failed).ok().and_then(|failed| WAITS_MS.get(failed));
                match wait {
                    Some(wait_ms) => State::Waiting(Self {
                        failed: self.failed.saturating_add(1),
                        due: now.plus_ms(*wait_ms),
                    }),
                    None => State::GaveUp { at: now },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_receiver_is_tried_eight_times_at_these_times() {
        let start = Timestamp::from_ms(1_000_000);
        let (mut waiting, mut tried) = (Waiting::new(start), Vec::new());
        let end = loop {
            tried.push(waiting.due.ms_since(start).div_euclid(SECOND_MS));
            match waiting.after(&Outcome::TimedOut, waiting.due) {
                State::Waiting(next) => waiting = next,
                end @ (State::Delivered { .. } | State::GaveUp { .. }) => break end,
            }
        };
        assert_eq!(tried, [0, 5, 305, 2_105, 9_305, 27_305, 63_305, 99_305]);
        assert_eq!(end, State::GaveUp { at: waiting.due });
        let again = end.replayed(Timestamp::MAX);
        assert_eq!(again, State::Waiting(Waiting { failed: 0, due: Timestamp::MAX }));
    }

    #[test]
    fn each_outcome_leads_to_this_state() {
        let (at, waiting) = (Timestamp::from_ms(7), Waiting { failed: 1, due: Timestamp::from_ms(5) });
        let later = State::Waiting(Waiting { failed: 2, due: at.plus_ms(5 * MINUTE_MS) });
        let cases = [
            (Outcome::of_status(200), "accepted", State::Delivered { at }),
            (Outcome::of_status(299), "accepted", State::Delivered { at }),
            (Outcome::of_status(410), "gone", State::GaveUp { at }),
            (Outcome::of_status(199), "refused", later),
            (Outcome::of_status(302), "refused", later),
            (Outcome::of_status(404), "refused", later),
            (Outcome::of_status(500), "refused", later),
            (Outcome::TimedOut, "timed_out", later),
            (Outcome::Unreachable("refused".to_owned()), "unreachable", later),
            (Outcome::Forbidden("loopback".to_owned()), "forbidden_address", later),
            (Outcome::Unsealable, "secret_unreadable", later),
        ];
        for (outcome, word, state) in cases {
            assert_eq!((outcome.as_str(), waiting.after(&outcome, at)), (word, state), "{outcome:?}");
        }
    }
}
