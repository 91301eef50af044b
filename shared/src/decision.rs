//! The question that a request asks and the answer it gets, with the headers that tell the client.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};

use serde::{Deserialize, Serialize};

use crate::denials::DenialReason;
use crate::ids::{AgentId, KeyId};
use crate::kind::Kind;
use crate::plan::Plan;
use crate::problem::{ErrorCode, Problem};
use crate::source::Paid;
use crate::time::{Period, Timestamp};
use crate::units::Units;

/// One governance request, as far as deciding it needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The project key that was used; its MAC has been verified.
    pub key: KeyId,
    /// What would be counted.
    pub kind: Kind,
    /// For which agent.
    pub agent: AgentId,
    /// How many units this stands for, 1 to [`Ask::COST_MAX`].
    pub cost: u32,
    /// Whether to decide without counting.
    #[serde(default)]
    pub dry_run: bool,
    /// Whether it is counted only once the upstream has answered it.
    #[serde(default)]
    pub held: bool,
}

impl Ask {
    /// The most units that one `/v1/check` may stand for (design §3).
    pub const COST_MAX: u32 = 1_000;
}

/// After how long a client tries again while others hold what is left, in milliseconds (design §3).
const CONTENDED_RETRY_MS: u64 = 2_000;

/// Why a request was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Denial {
    /// The key is not among the policy's keys.
    KeyRevoked,
    /// The project is suspended.
    Suspended,
    /// The plan permits no further agent in this period.
    AgentLimit,
    /// The minute's permits are used up.
    RateLimited,
    /// The period's allowance is spent.
    QuotaExhausted,
    /// What is left of the allowance is held by others for a moment.
    QuotaContended,
    /// The agent's own limit is reached.
    AgentQuota,
}

impl Denial {
    /// Whether no unit of the quota is left, or none that is not held elsewhere.
    #[must_use]
    pub fn is_spent(self) -> bool {
        matches!(self, Self::QuotaExhausted | Self::QuotaContended)
    }

    /// What it is counted as.
    #[must_use]
    pub fn reason(self) -> DenialReason {
        match self {
            Self::KeyRevoked => DenialReason::Unauthorized,
            Self::Suspended => DenialReason::ProjectSuspended,
            Self::AgentLimit | Self::AgentQuota => DenialReason::AgentLimit,
            Self::RateLimited => DenialReason::RateLimited,
            Self::QuotaExhausted => DenialReason::QuotaExhausted,
            Self::QuotaContended => DenialReason::QuotaContended,
        }
    }

    /// The error that the client sees.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        self.reason().code()
    }
}

/// Allowed or denied, with the project's numbers after the decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// `None` allows the request.
    pub denial: Option<Denial>,
    /// The project's numbers.
    pub numbers: Numbers,
    /// What pays for it, where it is allowed and counted by an issuer that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid: Option<Paid>,
}

/// A project's limits and what is left of them at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// When these numbers were true, by the home's clock.
    pub now: Timestamp,
    /// The month they are about.
    pub period: Period,
    /// The plan.
    pub plan: Plan,
    /// The plan's units a month.
    pub included: Units,
    /// All that may be spent this month; `None` where only the requests per minute limit it.
    pub allowance: Option<Units>,
    /// Units used this month, as far as is known.
    pub used: Units,
    /// Units that are neither used nor left: they are out with isolates that are not heard of any more.
    #[serde(default)]
    pub forfeited: Units,
    /// Requests per minute.
    pub rpm: u32,
    /// Permits of this minute that are left.
    pub rpm_remaining: u32,
    /// How many agents may be used, for denials that speak of it.
    pub agents_max: Option<u32>,
    /// Where to get more quota.
    pub upgrade_url: String,
}

/// One response header.
pub type Header = (&'static str, String);

impl Numbers {
    /// Units that may still be served this month, by whoever has them: never less than truly can be, and more by what
    /// others have served and not reported yet.
    #[must_use]
    pub fn remaining(&self) -> Option<Units> {
        self.allowance.map(|allowance| allowance.saturating_sub(self.used).saturating_sub(self.forfeited))
    }

    /// Seconds until `end`, rounded up, so that a client which waits them is never early.
    fn seconds_until(&self, end: Timestamp) -> u64 {
        end.ms_since(self.now).div_ceil(1_000)
    }

    /// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers).
    #[must_use]
    pub fn headers(&self) -> [Header; 2] {
        let (mut policy, mut limit) = (String::new(), String::new());
        self.push_policy(&mut policy);
        self.push_limit(&mut limit);
        [("RateLimit-Policy", policy), ("RateLimit", limit)]
    }

    /// Appends the value of `RateLimit-Policy`.
    pub fn push_policy(&self, text: &mut String) {
        push_pair(text, "\"rpm\";q=", self.rpm.into());
        text.push_str(";w=60");
        if let Some(allowance) = self.allowance {
            push_pair(text, ", \"month\";q=", allowance.get());
            let length_ms = self.period.end().ms_since(self.period.start());
            push_pair(text, ";w=", length_ms.div_euclid(1_000));
        }
    }

    /// Appends the value of `RateLimit`.
    pub fn push_limit(&self, text: &mut String) {
        push_pair(text, "\"rpm\";r=", self.rpm_remaining.into());
        push_pair(text, ";t=", self.seconds_until(self.now.minute().end()));
        if let Some(remaining) = self.remaining() {
            push_pair(text, ", \"month\";r=", remaining.get());
            push_pair(text, ";t=", self.seconds_until(self.period.end()));
        }
    }

    /// The body of `GET /v1/quota`.
    #[must_use]
    pub fn quota(&self) -> Quota {
        Quota {
            period: self.period,
            plan: self.plan,
            included: self.included,
            used: self.used,
            forfeited: self.forfeited,
            remaining: self.remaining(),
            rpm: RpmQuota { limit: self.rpm, remaining: self.rpm_remaining },
            resets_at: self.period.end().to_string(),
        }
    }
}

fn push_pair(text: &mut String, label: &str, value: u64) {
    text.push_str(label);
    text.push_str(&value.to_string());
}

/// The body of `GET /v1/quota`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Quota {
    /// The month.
    pub period: Period,
    /// The plan.
    pub plan: Plan,
    /// The plan's units a month.
    pub included: Units,
    /// Units used this month, as far as is known.
    pub used: Units,
    /// Units that are neither used nor left: they are out with isolates that are not heard of any more.
    #[serde(default)]
    pub forfeited: Units,
    /// Units left; `null` where only the requests per minute limit it.
    pub remaining: Option<Units>,
    /// The minute's limit.
    pub rpm: RpmQuota,
    /// When the month's numbers begin anew.
    pub resets_at: String,
}

/// The minute's limit and what is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RpmQuota {
    /// Requests per minute.
    pub limit: u32,
    /// How many are left.
    pub remaining: u32,
}

impl Verdict {
    /// Milliseconds after which a denied client may try again, where waiting helps.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u64> {
        let numbers = &self.numbers;
        match self.denial? {
            Denial::RateLimited => Some(numbers.now.minute().end().ms_since(numbers.now)),
            Denial::QuotaContended => Some(CONTENDED_RETRY_MS),
            Denial::QuotaExhausted | Denial::AgentLimit | Denial::AgentQuota => {
                Some(numbers.period.end().ms_since(numbers.now))
            }
            Denial::KeyRevoked | Denial::Suspended => None,
        }
    }

    /// The `Retry-After` header, in whole seconds rounded up.
    #[must_use]
    pub fn retry_after(&self) -> Option<Header> {
        self.retry_after_ms().map(|ms| ("Retry-After", ms.div_ceil(1_000).max(1).to_string()))
    }

    /// The problem that a denied client reads, or `None` if the request is allowed.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        let Numbers { now, period, plan, rpm, used, allowance, upgrade_url, .. } = &self.numbers;
        let denial = self.denial?;
        let problem = |detail: String| Problem::new(denial.code(), detail);
        Some(match denial {
            Denial::KeyRevoked => unauthorized(),
            Denial::Suspended => problem("The project is suspended. Its owner can see why under Billing.".to_owned()),
            Denial::AgentLimit => problem(format!(
                "The {plan} plan permits {} agents a month and they are all in use. Send the id of one of them in Palveron-Agent, or upgrade.",
                self.numbers.agents_max.unwrap_or_default()
            ))
            .resets_at(period.end())
            .upgrade_url(upgrade_url),
            Denial::AgentQuota => problem(
                "This agent has reached its own limit of this period. Its owner can raise it.".to_owned(),
            )
            .resets_at(period.end()),
            Denial::QuotaContended => problem(
                "What is left of the quota is held elsewhere for a moment. Wait for the seconds in Retry-After, then send the request again.".to_owned(),
            ),
            Denial::RateLimited => problem(format!(
                "The limit is {rpm} requests per minute. Wait for the seconds in Retry-After, then send the request again."
            ))
            .resets_at(now.minute().end()),
            Denial::QuotaExhausted => problem(format!(
                "{used} of {} requests of {period} are used. The quota begins anew at resets_at; more can be had at upgrade_url.",
                allowance.unwrap_or_default()
            ))
            .resets_at(period.end())
            .upgrade_url(upgrade_url),
        })
    }
}

/// The one answer to every key that is missing, forged, unknown or revoked.
#[must_use]
pub fn unauthorized() -> Problem {
    Problem::new(
        ErrorCode::Unauthorized,
        "Send a project key that is not revoked as `Authorization: Bearer pk_live_…` (or pk_test_…).",
    )
}
