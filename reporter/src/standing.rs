//! How the reporter is, by cause: pure, from what was last heard and what last failed.

use std::fmt;

use serde::{Deserialize, Serialize};
use shared::report::ReportReceipt;
use shared::time::Timestamp;

/// Without a receipt for so long the aggregator begins to warn, in milliseconds; a failure that lasts is told at once.
const LATE_MS: u64 = 24 * 3_600_000;
/// An hour.
const HOUR_MS: u64 = 3_600_000;

/// The last receipt, and when it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// When, by the clock here.
    pub at: Timestamp,
    /// What it said.
    pub receipt: ReportReceipt,
}

/// Why the last attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Since when every attempt has.
    pub since: Timestamp,
    /// When the last one did.
    pub at: Timestamp,
    /// How many have, one after the other.
    pub attempts: u32,
    /// What kind of failure it is.
    pub cause: Cause,
    /// What was heard or not.
    pub detail: String,
}

/// What kind of failure the last attempt was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nobody answered, or not as the aggregator does.
    Unreachable,
    /// The key is unknown or revoked.
    RefusedKey,
    /// The clocks differ too much.
    RefusedClock,
    /// The contract has ended.
    ContractEnded,
    /// Another folder reports as this one.
    Forked,
    /// The aggregator refuses what the report says.
    RefusedReport,
}

/// How the reporter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The last report arrived.
    Ok,
    /// Reports do not arrive; the contract does not mind yet.
    Late,
    /// They have not for so long that the contracted minimum is billed at least.
    Silent,
    /// The aggregator refuses the key.
    RefusedKey,
    /// The clocks differ too much.
    RefusedClock,
    /// The contract has ended.
    ContractEnded,
    /// Another folder reports as this one.
    Forked,
    /// The aggregator refuses what the report says.
    RefusedReport,
    /// Reports leave as files.
    AirGap,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Late,
        Self::Silent,
        Self::RefusedKey,
        Self::RefusedClock,
        Self::ContractEnded,
        Self::Forked,
        Self::RefusedReport,
        Self::AirGap,
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Late => "late",
            Self::Silent => "silent",
            Self::RefusedKey => "refused_key",
            Self::RefusedClock => "refused_clock",
            Self::ContractEnded => "contract_ended",
            Self::Forked => "forked",
            Self::RefusedReport => "refused_report",
            Self::AirGap => "air_gap",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Ok => "Nothing is to be done.",
            Self::Late => {
                "Run `meter-reporter test`: it says which step towards the aggregator fails. Counting goes on, and nothing is lost."
            }
            Self::Silent => {
                "The contracted minimum is billed at least, until a report arrives; nothing that was counted is lost. `meter-reporter test` says which step fails, `meter-reporter export` writes a file instead."
            }
            Self::RefusedKey => {
                "Ask the owner of the contract for a new key and put it before the old one in TELEMETRY_HMAC_KEY, with a comma between; restart."
            }
            Self::RefusedClock => {
                "Set this machine's clock (by NTP, for example): it differs from the aggregator's by more than five minutes."
            }
            Self::ContractEnded => "The contract has ended. Counting goes on; ask its owner.",
            Self::Forked => {
                "Another data folder reports as this one, or this one was lost or restored. Nothing is lost here. If this one is to go on: where it was restored or copied run `meter-reporter renew --yes` first, then have the aggregator's operator run `meter reporter promote` with the life that `meter-reporter status` names."
            }
            Self::RefusedReport => {
                "The two releases do not fit together: update the older one. Nothing is lost."
            }
            Self::AirGap => {
                "Export a file with `meter-reporter export FILE` and have it taken with `meter ingest FILE`."
            }
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the reporter is, and for how long it may be so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// How it is.
    pub state: State,
    /// What to do about it.
    pub advice: String,
    /// Milliseconds since the last receipt; `None` where there never was one.
    pub offline_ms: Option<u64>,
    /// Milliseconds until the contracted minimum is billed at least; `None` where nothing has said so yet.
    pub left_ms: Option<u64>,
}

impl Standing {
    /// Judges.
    #[must_use]
    pub fn of(air_gap: bool, heard: Option<&Heard>, failure: Option<&Failure>, now: Timestamp) -> Self {
        let offline_ms = heard.map(|heard| now.ms_since(heard.at));
        // The aggregator's clock judges: what counts is how long its receipt gave, not when it said so.
        let left_ms = heard.map(|heard| {
            let given = heard.receipt.silent_at.ms_since(heard.receipt.received_at);
            given.saturating_sub(now.ms_since(heard.at))
        });
        let refused = failure.and_then(|failure| match failure.cause {
            Cause::Unreachable => None,
            Cause::RefusedKey => Some(State::RefusedKey),
            Cause::RefusedClock => Some(State::RefusedClock),
            Cause::ContractEnded => Some(State::ContractEnded),
            Cause::Forked => Some(State::Forked),
            Cause::RefusedReport => Some(State::RefusedReport),
        });
        let state = if air_gap {
            // Only receipts that are carried back tell how long is left.
            if left_ms == Some(0) { State::Silent } else { State::AirGap }
        } else if let Some(refused) = refused {
            refused
        } else if left_ms == Some(0) {
            State::Silent
        } else if failure.is_some() || offline_ms.is_some_and(|ms| ms >= LATE_MS) {
            State::Late
        } else {
            State::Ok
        };
        Self { state, advice: state.advice().to_owned(), offline_ms, left_ms }
    }
}

/// So many hours, with a tenth, as people read them.
#[must_use]
pub fn hours(ms: u64) -> String {
    let tenths = ms.div_euclid(HOUR_MS.div_euclid(10));
    format!("{}.{} h", tenths.div_euclid(10), tenths.rem_euclid(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_795_435_200_000);

    fn heard(ms_ago: u64) -> Heard {
        let text = format!(
            r#"{{"source":"plant-7","incarnation":"abcdefgh","watermark":1,"received_at":{},"silent_at":{},"project":"acme",
            "policy":{{"project":"acme","version":1,"plan":"enterprise","status":"active","rpm":60,"agents_max":null,
            "keys":[],"upgrade_url":"","allowance":{{"period":"2026-11","included":1,"lots":0,"credits":0,
            "next_included":1,"overage":{{"rule":"open"}}}}}}}}"#,
            // The clock of the aggregator is a year behind, and that does not matter.
            NOW.as_ms() - 31_536_000_000,
            NOW.as_ms() - 31_536_000_000 + 72 * HOUR_MS,
        );
        Heard { at: Timestamp::from_ms(NOW.as_ms() - ms_ago), receipt: shared::json::read(&text).unwrap() }
    }

    fn failed(cause: Cause) -> Failure {
        Failure { since: NOW, at: NOW, attempts: 1, cause, detail: "it is so".to_owned() }
    }

    #[test]
    fn each_cause_has_its_state_and_something_to_do() {
        let state =
            |heard: Option<&Heard>, failure: Option<&Failure>| Standing::of(false, heard, failure, NOW).state;
        assert_eq!(state(None, None), State::Ok);
        assert_eq!(state(Some(&heard(HOUR_MS)), None), State::Ok);
        assert_eq!(state(Some(&heard(HOUR_MS)), Some(&failed(Cause::Unreachable))), State::Late);
        assert_eq!(state(Some(&heard(24 * HOUR_MS)), None), State::Late);
        assert_eq!(state(Some(&heard(72 * HOUR_MS - 1)), None), State::Late);
        assert_eq!(state(Some(&heard(72 * HOUR_MS)), None), State::Silent);
        for (cause, expected) in [
            (Cause::RefusedKey, State::RefusedKey),
            (Cause::RefusedClock, State::RefusedClock),
            (Cause::ContractEnded, State::ContractEnded),
            (Cause::Forked, State::Forked),
            (Cause::RefusedReport, State::RefusedReport),
        ] {
            assert_eq!(state(Some(&heard(80 * HOUR_MS)), Some(&failed(cause))), expected);
        }
        assert_eq!(Standing::of(true, None, Some(&failed(Cause::Forked)), NOW).state, State::AirGap);
        for state in State::ALL {
            assert!(!state.advice().is_empty() && json_name(state) == state.as_str());
        }
    }

    fn json_name(state: State) -> String {
        shared::json::write(&state).trim_matches('"').to_owned()
    }

    #[test]
    fn what_is_left_is_what_the_receipt_gave_less_what_has_passed_here() {
        let standing = Standing::of(false, Some(&heard(30 * HOUR_MS)), None, NOW);
        assert_eq!((standing.offline_ms, standing.left_ms), (Some(30 * HOUR_MS), Some(42 * HOUR_MS)));
        assert_eq!(
            (hours(42 * HOUR_MS), hours(HOUR_MS.div_euclid(2))),
            ("42.0 h".to_owned(), "0.5 h".to_owned())
        );
    }
}
