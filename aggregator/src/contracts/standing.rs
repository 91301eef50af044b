//! How a reporter stands, by cause, and how long it may still be silent.

use schemars::JsonSchema;
use serde::Serialize;
use shared::time::Timestamp;

use super::agreement::Agreement;
use super::reporter::Reporter;
use crate::ledger::silence::{Silence, Span, lasts_until, too_long_at};

const HOUR_MS: u64 = 60 * 60 * 1_000;

/// After how many hours of silence somebody is told; the last is when the minimum is billed.
pub const TOLD_AT_HOURS: [u32; 3] = [24, 48, 72];

/// From how long a silence on it is kept: no shorter one is told of or makes a month fall.
pub const KEPT_FROM_MS: u64 = 24 * HOUR_MS;

/// How a reporter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was heard within a day.
    Ok,
    /// It was not heard for a day or more.
    Late,
    /// It has been silent for more than 72 hours: the contracted minimum is billed.
    Silent,
    /// What it sends is signed with a revoked key.
    RefusedKey,
    /// What it sends is dated more than 300 seconds from our clock.
    RefusedClock,
    /// Its contract is over, or it was retired.
    ContractEnded,
    /// Its reports are carried here by people, and the last one is less than 72 hours old.
    AirGap,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::Late,
        Self::Silent,
        Self::RefusedKey,
        Self::RefusedClock,
        Self::ContractEnded,
        Self::AirGap,
    ];

    /// Its name, as answers and numbers have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Late => "late",
            Self::Silent => "silent",
            Self::RefusedKey => "refused_key",
            Self::RefusedClock => "refused_clock",
            Self::ContractEnded => "contract_ended",
            Self::AirGap => "air_gap",
        }
    }
}

/// When what was sent in a reporter's name was refused last, since it was heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Because its key was revoked.
    pub key: Option<Timestamp>,
    /// Because its clock is wrong.
    pub clock: Option<Timestamp>,
    /// Because another data folder reported, whenever that was.
    pub forked: Option<Timestamp>,
}

/// How a reporter stands at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// In one word.
    pub state: State,
    /// Since when it has not been heard; in the future where it has not begun.
    pub silence: Silence,
    /// When the contracted minimum is billed unless it is heard before.
    pub silent_at: Timestamp,
}

/// When a reporter is no longer expected to report.
#[must_use]
pub fn expected_until(reporter: &Reporter, agreement: &Agreement) -> Option<Timestamp> {
    [reporter.retired, agreement.ends()].into_iter().flatten().min()
}

/// Since when a reporter has not been heard, up to when it was expected to report.
#[must_use]
pub fn present_silence(reporter: &Reporter, agreement: &Agreement, now: Timestamp) -> Silence {
    let due = reporter.due_since(agreement);
    let from = reporter.heard.map_or(due, |heard| heard.max(due));
    Silence { from, until: expected_until(reporter, agreement).filter(|until| *until <= now) }
}

/// How a reporter stands.
#[must_use]
pub fn standing(
    reporter: &Reporter,
    agreement: &Agreement,
    (refused, downtime): (Refused, &[Span]),
    now: Timestamp,
) -> Standing {
    let silence = present_silence(reporter, agreement, now);
    let silent_at = too_long_at(silence.from, downtime);
    let state = if silence.until.is_some() {
        State::ContractEnded
    } else if refused.key.is_some() && refused.key >= refused.clock {
        State::RefusedKey
    } else if refused.clock.is_some() {
        State::RefusedClock
    } else if silent_at <= now {
        State::Silent
    } else if reporter.air_gap {
        State::AirGap
    } else if lasts_until(silence.from, KEPT_FROM_MS, downtime) <= now {
        State::Late
    } else {
        State::Ok
    };
    Standing { state, silence, silent_at }
}

/// The hours of the present silence that are to be told of, after those that were; the last one only when it is over.
#[must_use]
pub fn to_be_told(silence: Silence, told: u32, downtime: &[Span], now: Timestamp) -> Vec<u32> {
    if silence.until.is_some() {
        return vec![];
    }
    let is_due = |hours: u32| {
        let reached = match hours {
            72 => too_long_at(silence.from, downtime),
            hours => lasts_until(silence.from, u64::from(hours).saturating_mul(HOUR_MS), downtime),
        };
        reached <= now
    };
    TOLD_AT_HOURS.into_iter().filter(|hours| *hours > told && is_due(*hours)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contracts::agreement::tests::agreement;
    use crate::contracts::reporter::tests::reporter;
    use shared::time::Day;

    fn at(day: &str, ms: u64) -> Timestamp {
        Day::parse(day).unwrap().start().plus_ms(ms)
    }

    #[test]
    fn a_state_has_one_cause() {
        let of = agreement("2026-11-10", Some("2026-12-31"));
        let heard = |at| Reporter { heard: Some(at), ..reporter() };
        let last = at("2026-11-22", 0);
        let none = Refused::default();
        let key = Refused { key: Some(at("2026-11-22", 5)), ..none };
        let clock = Refused { clock: Some(at("2026-11-22", 6)), ..key };
        let gap = Reporter { air_gap: true, ..heard(last) };
        let retired = Reporter { retired: Some(last), ..heard(last) };
        for (reporter, refused, now, state) in [
            (heard(last), none, last.plus_ms(24 * HOUR_MS - 1), State::Ok),
            (heard(last), none, last.plus_ms(24 * HOUR_MS), State::Late),
            (heard(last), none, last.plus_ms(72 * HOUR_MS), State::Late),
            (heard(last), none, last.plus_ms(72 * HOUR_MS + 1), State::Silent),
            (heard(last), key, last.plus_ms(80 * HOUR_MS), State::RefusedKey),
            (heard(last), clock, last.plus_ms(80 * HOUR_MS), State::RefusedClock),
            (gap.clone(), none, last.plus_ms(72 * HOUR_MS), State::AirGap),
            (gap, none, last.plus_ms(72 * HOUR_MS + 1), State::Silent),
            (retired, none, last, State::ContractEnded),
            (heard(last), none, at("2027-01-01", 0), State::ContractEnded),
            // It was made on the 20th and never heard.
            (reporter(), none, at("2026-11-23", 0), State::Late),
            (reporter(), none, at("2026-11-23", 1), State::Silent),
        ] {
            let stands = standing(&reporter, &of, (refused, &[]), now);
            assert_eq!(stands.state, state, "{now} {refused:?}");
        }
        let down = [Span { from: at("2026-11-22", 0), until: at("2026-11-23", 0) }];
        let stands = standing(&heard(last), &of, (none, &down), at("2026-11-26", 0));
        assert_eq!((stands.state, stands.silent_at), (State::Late, at("2026-11-26", 1)));
    }

    #[test]
    fn a_state_is_called_alike_everywhere() {
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    #[test]
    fn each_rung_is_told_once_and_the_last_only_when_it_is_too_late() {
        let from = at("2026-11-22", 0);
        let silence = Silence { from, until: None };
        for (told, ms, expected) in [
            (0, 24 * HOUR_MS - 1, vec![]),
            (0, 24 * HOUR_MS, vec![24]),
            (24, 24 * HOUR_MS, vec![]),
            (0, 50 * HOUR_MS, vec![24, 48]),
            (48, 72 * HOUR_MS, vec![]),
            (48, 72 * HOUR_MS + 1, vec![72]),
            (72, 900 * HOUR_MS, vec![]),
        ] {
            assert_eq!(to_be_told(silence, told, &[], from.plus_ms(ms)), expected, "{told} {ms}");
        }
        let over = Silence { until: Some(from), ..silence };
        assert!(to_be_told(over, 0, &[], from.plus_ms(900 * HOUR_MS)).is_empty());
    }
}
