//! Who has what of a project's units, as operators see it: what the homes tell, beside what the books know of refusals.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use shared::denials::{DenialReason, Denials};
use shared::home::HomeName;
use shared::home::leases::{Holders, HomeLeases, HomeTold, SubHomeLeases};
use shared::ids::{Mode, ProjectId};
use shared::time::{Period, Timestamp};
use shared::units::Units;

use super::usage::Denied;

/// The map of a project's leases at one instant.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LeaseMap {
    project: ProjectId,
    as_of: String,
    /// The month that refusals are of.
    period: Period,
    /// Why the homes could not be asked; `null` where they were.
    unreachable: Option<String>,
    /// One for each kind of key.
    modes: Vec<ModeLeases>,
}

/// The leases of one kind of key.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct ModeLeases {
    mode: Mode,
    /// `null` where the home could not be asked, or was never asked for anything.
    home: Option<HomeView>,
    /// The sub-homes that answered.
    sub_homes: Vec<SubHomeView>,
    /// How many others did not.
    silent_sub_homes: u32,
    denied: Denied,
    wrong_denials: WrongDenials,
}

/// Where the units of a home's month are. What was issued and not returned is settled, answering, out, or void.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct HomeView {
    /// By the home's clock.
    as_of: String,
    period: Period,
    policy_version: Option<u64>,
    /// All that may be spent in the month; `null` where overage is open without a cap.
    limit: Option<Units>,
    /// Of the limit, what nobody was given yet.
    left: Option<Units>,
    /// Issued so far, with what came back since.
    issued: Units,
    /// Came back unused.
    returned: Units,
    /// Reported as served.
    settled: Units,
    /// Decided by the home itself, with answers on their way.
    answering: Units,
    /// With holders, living and dead.
    out: Units,
    /// What of it nobody spends: dead holders have it.
    stranded: Units,
    /// Held against the limit for earlier lives of the home's storage.
    void: Units,
    /// The most that may be issued beyond what the books have; `null` where the home's storage is never lost.
    escrow: Option<Units>,
    /// Issued beyond what the books have.
    unacknowledged: Units,
    /// What is served or may be, beyond the limit: 0 unless the limit was cut below it. `null` where there is no limit.
    overshoot: Option<Units>,
    holders: Holders,
}

/// Where the units of a sub-home are.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct SubHomeView {
    name: String,
    /// What it is among the home's holders.
    holder: String,
    /// By its clock.
    as_of: String,
    /// The month of its stock.
    period: Option<Period>,
    /// In hand, for isolates.
    stock: Units,
    /// Reported by isolates, and on the way to the home.
    reporting: Units,
    /// With its isolates, living and dead.
    out: Units,
    /// What of it dead ones have.
    stranded: Units,
    holders: Holders,
}

/// Refusals of the month that were not right, as far as that can be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
struct WrongDenials {
    /// Refused while units may have been left, and told to come again at once: others held them, or the home did not answer.
    known: u64,
    /// Refused for a limit. The books have no record of each moment, so that nobody can prove of any that it was right.
    unproven: u64,
}

impl WrongDenials {
    fn of(denied: &Denials) -> Self {
        let sum = |reasons: &[DenialReason]| {
            reasons.iter().map(|reason| denied.get(*reason)).fold(0, u64::saturating_add)
        };
        Self {
            known: sum(&[DenialReason::QuotaContended, DenialReason::HomeUnavailable]),
            unproven: sum(&[
                DenialReason::QuotaExhausted,
                DenialReason::RateLimited,
                DenialReason::AgentLimit,
            ]),
        }
    }
}

impl LeaseMap {
    /// What the homes told, or why they did not, beside what each kind of key was refused this month.
    #[must_use]
    pub fn new(
        (project, now): (&ProjectId, Timestamp),
        told: Result<BTreeMap<HomeName, HomeTold>, String>,
        denied: &BTreeMap<Mode, Denials>,
    ) -> Self {
        let (mut homes, unreachable) = match told {
            Ok(homes) => (homes, None),
            Err(why) => (BTreeMap::new(), Some(why)),
        };
        let modes = Mode::ALL.map(|mode| {
            let told = homes.remove(&HomeName { project: project.clone(), mode });
            let told = told.unwrap_or(HomeTold { home: None, sub_homes: BTreeMap::new(), silent: 0 });
            let denied = denied.get(&mode).copied().unwrap_or(Denials::NONE);
            ModeLeases {
                mode,
                home: told.home.map(HomeView::from),
                sub_homes: told.sub_homes.into_iter().map(SubHomeView::from).collect(),
                silent_sub_homes: told.silent,
                wrong_denials: WrongDenials::of(&denied),
                denied: denied.into(),
            }
        });
        Self {
            project: project.clone(),
            as_of: now.to_string(),
            period: now.period(),
            unreachable,
            modes: modes.into(),
        }
    }
}

impl From<HomeLeases> for HomeView {
    fn from(home: HomeLeases) -> Self {
        Self {
            as_of: home.at.to_string(),
            period: home.period,
            policy_version: home.policy_version,
            limit: home.limit,
            left: home.left(),
            issued: home.issued,
            returned: home.returned,
            settled: home.settled,
            answering: home.answering,
            out: home.out,
            stranded: home.stranded,
            void: home.void,
            escrow: home.escrow,
            unacknowledged: home.unacked,
            overshoot: home.overshoot(),
            holders: home.holders,
        }
    }
}

impl From<(String, SubHomeLeases)> for SubHomeView {
    fn from((name, sub): (String, SubHomeLeases)) -> Self {
        Self {
            name,
            holder: sub.holder,
            as_of: sub.at.to_string(),
            period: sub.period,
            stock: sub.stock,
            reporting: sub.reporting,
            out: sub.out,
            stranded: sub.stranded,
            holders: sub.holders,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::time::Day;

    #[test]
    fn refusals_that_cannot_be_judged_are_said_to_be_so() {
        let of = |reason, count| Denials::of(reason, count);
        let judged = |denied: Denials| WrongDenials::of(&denied);
        assert_eq!(judged(Denials::NONE), WrongDenials { known: 0, unproven: 0 });
        // A key that was revoked and a project that is suspended are refused by what people did.
        assert_eq!(judged(of(DenialReason::Unauthorized, 5)), WrongDenials { known: 0, unproven: 0 });
        let both = of(DenialReason::QuotaContended, 2).plus(of(DenialReason::QuotaExhausted, 7));
        assert_eq!(judged(both), WrongDenials { known: 2, unproven: 7 });
    }

    #[test]
    fn homes_that_cannot_be_asked_are_said_to_be_so_and_refusals_are_told_all_the_same() {
        let (project, now) = (ProjectId::parse("demo").unwrap(), Day::parse("2026-11-23").unwrap().start());
        let denied = BTreeMap::from([(Mode::Live, Denials::of(DenialReason::RateLimited, 3))]);
        let map = LeaseMap::new((&project, now), Err("it cannot be reached".to_owned()), &denied);
        let json = serde_json::to_value(&map).unwrap();
        assert_eq!(json["unreachable"], "it cannot be reached");
        assert_eq!(json["modes"][0]["home"], serde_json::Value::Null);
        assert_eq!(json["modes"][0]["wrong_denials"], serde_json::json!({"known": 0, "unproven": 3}));
        assert_eq!(json["modes"].as_array().unwrap().len(), 2);
    }
}
