//! The policy: the compiled form of a project's plan that the edge enforces.
//!
//! A policy travels as a signed document and its version only rises. It carries the parts of the
//! allowance instead of their sum, so that a home can compute the next month by itself (design §3).

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, KeyId, ProjectId, SigningKeyId};
use crate::plan::Plan;
use crate::sign::{Purpose, SigningKeys};
use crate::source::Funds;
use crate::time::Period;
use crate::units::Units;

/// Whether a project's requests are served at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Requests are decided by the limits.
    Active,
    /// Every request is denied with `project_suspended`.
    Suspended,
}

/// What happens beyond included units and lots, as it is in force now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "rule")]
pub enum Overage {
    /// A hard stop.
    Stop,
    /// At most that many further units a month (the customer's spending cap).
    Capped {
        /// The cap in units: floor(cap × 1,000 / rate).
        units: Units,
    },
    /// No limit but the requests per minute.
    Open,
}

/// What may be spent: parts stated for one period, and what the following period begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowanceParts {
    /// The period that these parts are stated for.
    pub period: Period,
    /// Units of the plan in that period.
    pub included: Units,
    /// Units of top-up lots that were left when the period began.
    pub lots: Units,
    /// Units of lots bought and credits given since.
    pub credits: Units,
    /// How many of those credits came once the period had ended: it cannot have used them.
    #[serde(default)]
    pub credits_after: Units,
    /// Units of the plan that is in force from the following period on.
    pub next_included: Units,
    /// What happens beyond them.
    pub overage: Overage,
}

impl AllowanceParts {
    /// The allowance of `period`, or `None` where nothing but the requests per minute limits it.
    ///
    /// `beyond` is what a home issued beyond the included quota in the months from the stated one up
    /// to, but not including, `period`: the lots have shrunk by that much, overage or not, but only
    /// those that were there before the stated month ended.
    #[must_use]
    pub fn allowance(&self, period: Period, beyond: Units) -> Option<Units> {
        let base = self.included_in(period).saturating_add(self.lots_in(period, beyond));
        match self.overage {
            Overage::Stop => Some(base),
            Overage::Capped { units } => Some(base.saturating_add(units)),
            Overage::Open => None,
        }
    }

    /// What pays for a period's units before overage does, under the same `beyond`.
    pub(crate) fn funds(&self, period: Period, beyond: Units) -> Funds {
        Funds { included: self.included_in(period).get(), lots: self.lots_in(period, beyond).get() }
    }

    /// Units of lots that a period has.
    fn lots_in(&self, period: Period, beyond: Units) -> Units {
        let after = self.credits_after.min(self.credits);
        let before = self.lots.saturating_add(self.credits.saturating_sub(after));
        if period <= self.period {
            // A home whose clock is behind must not spend for the old month what only the new one has.
            before.saturating_sub(beyond)
        } else if period == self.period.next() {
            before.saturating_sub(beyond).saturating_add(after)
        } else {
            // Which of several open months went beyond its quota is not known here, so that all lots pay.
            before.saturating_add(after).saturating_sub(beyond)
        }
    }

    /// What test keys may spend of it: the plan's units and nothing that was paid for, because their
    /// units are never billed.
    #[must_use]
    pub fn for_tests(self) -> Self {
        let none = Units::ZERO;
        Self { lots: none, credits: none, credits_after: none, overage: Overage::Stop, ..self }
    }

    /// The plan's units in `period`, which percentages of the quota refer to.
    #[must_use]
    pub fn included_in(&self, period: Period) -> Units {
        if period <= self.period { self.included } else { self.next_included }
    }
}

/// What the edge enforces for one project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Whose policy this is.
    pub project: ProjectId,
    /// Rises by one with every change; an older version never replaces a newer one.
    pub version: u64,
    /// The plan, for answers that show it.
    pub plan: Plan,
    /// Whether requests are served at all.
    pub status: Status,
    /// What may be spent.
    pub allowance: AllowanceParts,
    /// Requests per minute.
    pub rpm: u32,
    /// How many distinct agents may be used in a period; `None` is unlimited.
    pub agents_max: Option<u32>,
    /// The keys that are not revoked.
    pub keys: Vec<KeyId>,
    /// Where a customer who ran out can upgrade.
    pub upgrade_url: String,
    /// How leases are issued.
    #[serde(default)]
    pub leases: LeaseRules,
}

/// How many sub-homes a project needs for its requests per minute, wherever its isolates are.
///
/// A home without them hears every isolate by itself: 500 isolates in the tail of a quota, or 2,000 that only knock,
/// are more than the 450 contacts a second that it should take, and that takes no fast plan, only a fast client. So
/// every plan has eight; a sub-home serves some 650 requests a second, and beyond 32 of them their own contacts are
/// too many for the home. An edge of few isolates in one place does better without: its operator says so.
#[must_use]
pub fn sub_homes(rpm: u32) -> u32 {
    const SUB_HOMES: (u32, u32) = (8, 32);
    const RPM_EACH: u32 = 40_000;
    rpm.div_ceil(RPM_EACH).clamp(SUB_HOMES.0, SUB_HOMES.1)
}

/// Where a project's homes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In Durable Objects, on Cloudflare or in a process of workerd.
    DurableObject,
    /// In a Redis.
    Redis,
}

impl Place {
    /// Every place.
    pub const ALL: [Self; 2] = [Self::DurableObject, Self::Redis];

    /// Its name, as settings and commands have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DurableObject => "durable_object",
            Self::Redis => "redis",
        }
    }

    /// The place of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|place| place.as_str() == name)
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::DurableObject => Self::Redis,
            Self::Redis => Self::DurableObject,
        }
    }
}

impl core::fmt::Display for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a policy says of the place that it goes to, where a project's homes may move between places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// The place that this policy is for.
    pub place: Place,
    /// How many moves there were: it rises by one when homes are to leave a place, and by one when the other has them.
    pub term: u64,
    /// Whether the project's homes are there. Where they are not, a home grants nothing, takes in what holders have, and
    /// ends its life in order.
    pub open: bool,
}

/// How a project's home issues leases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRules {
    /// Whether every request is decided by the home, durably, before its answer.
    #[serde(default)]
    pub strict: bool,
    /// How many sub-homes stand between the isolates and the home; zero is none.
    #[serde(default)]
    pub sub_homes: u32,
    /// Units a period for single agents.
    #[serde(default)]
    pub agents: BTreeMap<AgentId, Units>,
    /// The most units that a home may have issued beyond its last acknowledged flush, where its
    /// storage can be rolled back; `None` where it cannot.
    #[serde(default)]
    pub escrow: Option<Units>,
    /// Whether the homes are at the place that the policy goes to; `None` where they never move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seat: Option<Seat>,
}

/// A policy as it travels: the exact document that was signed, and its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedPolicy {
    /// The policy's JSON text.
    pub document: String,
    /// Which policy key signed it.
    pub k: SigningKeyId,
    /// Hex HMAC-SHA256 of the document under that key.
    pub v1: String,
}

/// Why a signed policy was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No known policy key made this signature.
    #[error("the policy's signature is not by a known policy key")]
    Signature,
    /// The signature is right but the document is not a policy of this release.
    #[error("the policy document cannot be read: {0}")]
    Document(String),
}

impl SignedPolicy {
    /// Signs a policy with the current policy key.
    ///
    /// # Errors
    /// When there is no policy key, or the policy cannot be written as JSON.
    pub fn sign(policy: &Policy, keys: &SigningKeys) -> Result<Self, String> {
        Self::sign_document(policy, keys)
    }

    /// Signs another document that travels as policies do.
    pub(crate) fn sign_document<T: Serialize>(document: &T, keys: &SigningKeys) -> Result<Self, String> {
        let document = crate::json::write(document);
        let key = keys.current(Purpose::Policy).ok_or("no signing key of purpose policy")?;
        let v1 = key.mac_hex(&[document.as_bytes()]);
        Ok(Self { document, k: key.id().clone(), v1 })
    }

    /// Checks the signature and reads the policy.
    ///
    /// # Errors
    /// When no known policy key signed it, or it is not a policy.
    pub fn open(&self, keys: &SigningKeys) -> Result<Policy, PolicyError> {
        self.open_document(keys)
    }

    /// Checks the signature and reads another document than a policy.
    pub(crate) fn open_document<T: for<'de> Deserialize<'de>>(
        &self,
        keys: &SigningKeys,
    ) -> Result<T, PolicyError> {
        let key = keys.find(Purpose::Policy, &self.k).ok_or(PolicyError::Signature)?;
        if !key.verifies(&[self.document.as_bytes()], &self.v1) {
            return Err(PolicyError::Signature);
        }
        crate::json::read(&self.document).map_err(|error| PolicyError::Document(error.to_string()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn community(project: &str) -> Policy {
        Policy {
            project: ProjectId::parse(project).unwrap(),
            version: 1,
            plan: Plan::Community,
            status: Status::Active,
            allowance: AllowanceParts {
                period: Period::parse("2026-11").unwrap(),
                included: Units::new(1_000),
                lots: Units::ZERO,
                credits: Units::ZERO,
                credits_after: Units::ZERO,
                next_included: Units::new(1_000),
                overage: Overage::Stop,
            },
            rpm: 60,
            agents_max: Some(5),
            keys: vec![KeyId::parse("k001").unwrap()],
            upgrade_url: "https://palveron.com/pricing".to_owned(),
            leases: LeaseRules::default(),
        }
    }

    #[test]
    fn a_signed_policy_opens_unchanged_and_a_touched_one_does_not() {
        let keys = SigningKeys::parse(&format!("policy:p1:{}", "ab".repeat(32))).unwrap();
        let policy = community("demo");
        let signed = SignedPolicy::sign(&policy, &keys).unwrap();
        assert_eq!(signed.open(&keys), Ok(policy));
        let touched = SignedPolicy { document: signed.document.replace("1000", "9000"), ..signed.clone() };
        assert_eq!(touched.open(&keys), Err(PolicyError::Signature));
        let others = SigningKeys::parse(&format!("policy:p2:{}", "ab".repeat(32))).unwrap();
        assert_eq!(signed.open(&others), Err(PolicyError::Signature));
    }

    #[test]
    fn the_following_month_opens_with_the_lots_that_the_stated_month_left() {
        let mut parts = community("demo").allowance;
        let (november, december) = (parts.period, parts.period.next());
        parts.lots = Units::new(5_000);
        let cases = [(0, 6_000), (200, 5_800), (5_000, 1_000), (8_000, 1_000)];
        for (beyond, expected) in cases {
            assert_eq!(parts.allowance(december, Units::new(beyond)), Some(Units::new(expected)), "{beyond}");
        }
        assert_eq!(parts.allowance(november, Units::ZERO), Some(Units::new(6_000)));
        parts.overage = Overage::Capped { units: Units::new(10) };
        assert_eq!(parts.allowance(november, Units::ZERO), Some(Units::new(6_010)));
        parts.overage = Overage::Open;
        assert_eq!(parts.allowance(november, Units::ZERO), None);
    }

    #[test]
    fn what_came_after_the_stated_month_is_the_next_ones_alone() {
        let mut parts = community("demo").allowance;
        let (november, december) = (parts.period, parts.period.next());
        (parts.lots, parts.credits, parts.credits_after) =
            (Units::new(500), Units::new(5_200), Units::new(5_000));
        // 700 of November's own and 5,000 of December's.
        let cases = [(0, 6_700), (700, 6_000), (701, 6_000), (1_000_000, 6_000)];
        for (beyond, expected) in cases {
            assert_eq!(parts.allowance(december, Units::new(beyond)), Some(Units::new(expected)), "{beyond}");
        }
        assert_eq!(parts.allowance(november, Units::ZERO), Some(Units::new(1_700)), "a late clock");
        let january = december.next();
        assert_eq!(parts.allowance(january, Units::new(1_000)), Some(Units::new(5_700)), "whose, is unknown");
        assert_eq!(parts.for_tests().allowance(december, Units::ZERO), Some(Units::new(1_000)));
    }

    #[test]
    fn parts_that_do_not_say_when_credits_came_are_read_as_if_the_stated_month_had_them() {
        let mut parts = community("demo").allowance;
        parts.credits = Units::new(5_000);
        let old = crate::json::write(&parts).replace(",\"credits_after\":0", "");
        assert!(!old.contains("credits_after"), "{old}");
        let read: AllowanceParts = crate::json::read(&old).unwrap();
        assert_eq!(read, parts);
        assert_eq!(read.allowance(parts.period.next(), Units::new(4_000)), Some(Units::new(2_000)));
    }
}
