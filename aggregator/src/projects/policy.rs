//! Compiles a project and its ledger into the policy that the edge enforces.
//!
//! The document depends on nothing but the project's row, keys and entries, which never change without
//! raising the policy version, on the oldest open period, and on the [`Basis`], whose change raises
//! every version. Two documents of one (version, period) are therefore the same text, wherever and
//! whenever they were compiled; this file must never take in anything else.

use sha2::{Digest, Sha256};
use shared::ids::KeyId;
use shared::plan::Plan;
use shared::policy::{AllowanceParts, LeaseRules, Place, Policy, Status};
use shared::time::Timestamp;
use shared::units::Units;

use crate::ledger::crossing::Levels;
use crate::ledger::parts::parts;
use crate::ledger::state::Ledger;
use crate::projects::project::Project;
use crate::projects::stay::Stay;

/// Changes when a release compiles the same project to another text.
const FORM: &str = "credits after the stated month";

/// The least that a home may issue before it is acknowledged.
const ESCROW_MIN: u64 = 20;

/// What policies are compiled from beside the project itself, at one place of homes.
#[derive(Debug, Clone)]
pub struct Basis {
    /// Where customers get more quota.
    pub upgrade_url: String,
    /// Where requests are decided.
    pub leases: LeaseRules,
    /// Whether a project's requests per minute say how many sub-homes it has.
    pub sub_homes_by_rpm: bool,
    /// Whether a project's requests per minute say how much its homes may issue before it is acknowledged.
    pub escrow_by_rpm: bool,
    /// The place of homes that it is for.
    pub place: Place,
    /// The same for the other place, where homes may move there.
    pub other: Option<Box<Self>>,
}

impl Basis {
    /// Where customers upgrade, and where requests are decided.
    #[must_use]
    pub fn new(upgrade_url: String, leases: LeaseRules) -> Self {
        Self {
            upgrade_url,
            leases,
            sub_homes_by_rpm: false,
            escrow_by_rpm: false,
            place: Place::DurableObject,
            other: None,
        }
    }

    /// The same for homes whose rows are in a Redis: isolates ask them directly, and nothing is issued that a
    /// server which has lost it could issue again. `loss` is what an operator accepts to lose.
    #[must_use]
    pub fn in_redis(self, loss: Option<Units>) -> Self {
        let leases = LeaseRules { sub_homes: 0, escrow: loss, ..self.leases };
        let place = Place::Redis;
        Self { leases, sub_homes_by_rpm: false, escrow_by_rpm: loss.is_none(), place, ..self }
    }

    /// Where homes may move between this place, at which they begin, and another.
    #[must_use]
    pub fn beside(self, other: Self) -> Self {
        Self { other: Some(Box::new(other)), ..self }
    }

    /// What policies are compiled from for homes at a place.
    #[must_use]
    pub fn at(&self, place: Place) -> &Self {
        match &self.other {
            Some(other) if place != self.place => other,
            Some(_) | None => self,
        }
    }

    /// Whether homes must be told what is merged of their earlier lives before they issue anything.
    #[must_use]
    pub fn has_escrow(&self) -> bool {
        self.escrow_by_rpm || self.leases.escrow.is_some()
    }

    /// A text that differs whenever policies compiled from the basis may differ.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::new().chain_update(&self.upgrade_url);
        let leases = serde_json::to_string(&self.leases).unwrap_or_default();
        let leases = if self.sub_homes_by_rpm { format!("{leases} by rpm") } else { leases };
        let leases = if self.escrow_by_rpm { format!("{leases} escrow by rpm") } else { leases };
        let other = self.other.as_ref().map(|other| format!(" beside {}", other.fingerprint()));
        let leases = format!("{leases}{}", other.unwrap_or_default());
        let digest = digest.chain_update("\n").chain_update(leases).chain_update("\n").chain_update(FORM);
        base16ct::lower::encode_string(&digest.finalize())
    }

    /// What is in force for a project at an instant.
    #[must_use]
    pub fn in_force(&self, project: &Project, ledger: &Ledger, now: Timestamp) -> InForce {
        let timeline = ledger.timeline();
        let terms = timeline.terms_at(now);
        let quota = timeline.quota(now.period(), now).included();
        InForce {
            plan: terms.plan,
            status: timeline.status_at(now),
            rpm: project.rpm(&terms.limits),
            included: project.included_own.unwrap_or(quota),
            agents_max: terms.limits.agents_max,
            members_max: terms.limits.members_max,
            levels: project.levels(&terms.limits).clone(),
        }
    }

    /// How many sub-homes a project of that many requests per minute has.
    fn sub_homes(&self, rpm: u32) -> u32 {
        if self.sub_homes_by_rpm { shared::policy::sub_homes(rpm) } else { self.leases.sub_homes }
    }

    /// How much a home may issue before it is acknowledged, which is what each loss of its storage holds back: three
    /// seconds of the highest rate that the project ever had, and no more than a fiftieth of what it may spend. Neither
    /// falls while a home that had more may have lost it.
    fn escrow(&self, project: &Project, allowance: &AllowanceParts) -> Option<Units> {
        if !self.escrow_by_rpm {
            return self.leases.escrow;
        }
        let by_rate = u64::from(project.rpm_max).div_ceil(20);
        let share = allowance.allowance(allowance.period, Units::ZERO).map(|all| all.get().div_euclid(50));
        Some(Units::new(by_rate.min(share.unwrap_or(u64::MAX)).max(ESCROW_MIN)))
    }

    /// What homes of the project in a Redis may have issued of a month beyond what was acknowledged: what each of their
    /// lives that did not end in order holds back of it, wherever the next one is.
    #[must_use]
    pub fn lost_with_a_life(&self, project: &Project, ledger: &Ledger, now: Timestamp) -> Units {
        let redis = self.at(Place::Redis);
        let redis = if redis.has_escrow() { redis.clone() } else { redis.clone().in_redis(None) };
        redis.compile(project, ledger, Vec::new(), now).leases.escrow.unwrap_or_default()
    }

    /// The policy of `project` for homes at a place, as of `now`: where homes move, it says whether they are there.
    #[must_use]
    pub fn compile_for(
        &self,
        place: Place,
        (project, ledger): (&Project, &Ledger),
        keys: Vec<KeyId>,
        now: Timestamp,
    ) -> Policy {
        let moves = self.other.is_some();
        let stay = project.homes.or_else(|| moves.then_some(Stay::first(self.place)));
        let mut policy = self.at(place).compile(project, ledger, keys, now);
        policy.leases.seat = stay.map(|stay| stay.seat(place));
        policy
    }

    /// The policy of `project` as of `now`; `keys` are those that are not revoked.
    #[must_use]
    pub fn compile(
        &self,
        project: &Project,
        ledger: &Ledger,
        mut keys: Vec<KeyId>,
        now: Timestamp,
    ) -> Policy {
        let in_force = self.in_force(project, ledger, now);
        let parts = parts(ledger, now);
        keys.sort();
        // The month is billed by its largest quota, but an operator who lowers a project's own limit means it to hold
        // now.
        let allowance = AllowanceParts {
            included: project.included_own.unwrap_or(parts.included),
            next_included: project.included_own.unwrap_or(parts.next_included),
            ..parts
        };
        let escrow = self.escrow(project, &allowance);
        Policy {
            project: project.id.clone(),
            version: project.policy_version,
            plan: in_force.plan,
            status: in_force.status,
            allowance,
            rpm: in_force.rpm,
            agents_max: in_force.agents_max,
            keys,
            upgrade_url: self.upgrade_url.clone(),
            leases: LeaseRules { sub_homes: self.sub_homes(in_force.rpm), escrow, ..self.leases.clone() },
        }
    }
}

/// What is in force for a project at an instant, by its ledger and its own limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// The plan.
    pub plan: Plan,
    /// Whether it is served.
    pub status: Status,
    /// Requests per minute.
    pub rpm: u32,
    /// Units of this month.
    pub included: Units,
    /// How many agents may be used.
    pub agents_max: Option<u32>,
    /// How many members the project may have.
    pub members_max: Option<u32>,
    /// At which percentages of the quota it is told.
    pub levels: Levels,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projects::book::opening;
    use shared::ids::ProjectId;
    use shared::plan::Catalogue;
    use shared::policy::Overage;
    use shared::time::Period;

    fn project(plan: Plan) -> Project {
        Project {
            id: ProjectId::parse("demo").unwrap(),
            plan,
            rpm_own: None,
            included_own: None,
            status: Status::Active,
            catalogue: 1,
            levels_own: None,
            auto_overage: false,
            rpm_max: 60,
            policy_version: 7,
            homes: None,
            created: Period::parse("2026-11").unwrap().start(),
        }
    }

    fn catalogue() -> Catalogue {
        Catalogue::from_json(Catalogue::DEFAULT_JSON).unwrap()
    }

    fn basis() -> Basis {
        Basis::new("https://example.com/more".to_owned(), LeaseRules::default())
    }

    fn compile(project: &Project, keys: Vec<KeyId>, now: Timestamp) -> Policy {
        let ledger = opening(project, &catalogue()).unwrap();
        basis().compile(project, &ledger, keys, now)
    }

    #[test]
    fn every_plan_stops_hard_unless_it_has_a_rate_and_overage_is_on() {
        let november = Period::parse("2026-11").unwrap();
        for plan in Plan::ALL {
            for auto_overage in [false, true] {
                let policy = compile(&Project { auto_overage, ..project(plan) }, vec![], november.start());
                let open = auto_overage && matches!(plan, Plan::Pro | Plan::Business);
                let expected = if open { Overage::Open } else { Overage::Stop };
                assert_eq!(policy.allowance.overage, expected, "{plan} {auto_overage}");
            }
        }
    }

    #[test]
    fn a_document_is_the_same_for_one_version_and_period() {
        let november = Period::parse("2026-11").unwrap();
        let keys = |ids: [&str; 2]| ids.map(|id| KeyId::parse(id).unwrap()).to_vec();
        let policy = |ids, now| compile(&project(Plan::Pro), keys(ids), now);
        assert_eq!(
            policy(["bbbb", "aaaa"], november.start()),
            policy(["aaaa", "bbbb"], november.end()),
            "November is open until it is closed"
        );
    }

    #[test]
    fn own_limits_win_over_the_plans() {
        let own = Project { rpm_own: Some(7), included_own: Some(Units::new(8)), ..project(Plan::Community) };
        let policy = compile(&own, vec![], own.created);
        assert_eq!((policy.rpm, policy.allowance.included), (7, Units::new(8)));
        assert_eq!(policy.allowance.next_included, Units::new(8));
    }

    #[test]
    fn projects_have_sub_homes_by_their_rate_where_nothing_else_is_said() {
        let of = |basis: &Basis, rpm| {
            let project = Project { rpm_own: Some(rpm), ..project(Plan::Business) };
            let ledger = opening(&project, &catalogue()).unwrap();
            basis.compile(&project, &ledger, vec![], project.created).leases.sub_homes
        };
        let by_rpm = Basis { sub_homes_by_rpm: true, ..basis() };
        assert_eq!([60, 1_200_000].map(|rpm| of(&by_rpm, rpm)), [8, 30]);
        assert_eq!(of(&basis(), 60_000), 0);
        assert_ne!(by_rpm.fingerprint(), basis().fingerprint());
    }

    #[test]
    fn homes_in_redis_are_asked_directly_and_hold_back_little_of_the_allowance() {
        let now = project(Plan::Pro).created;
        let of = |rpm_max| {
            let project = Project { rpm_max, ..project(Plan::Pro) };
            let ledger = opening(&project, &catalogue()).unwrap();
            let basis = Basis { sub_homes_by_rpm: true, ..basis() }.in_redis(None);
            let leases = basis.compile(&project, &ledger, vec![], now).leases;
            (leases.sub_homes, leases.escrow.map(Units::get))
        };
        // A fiftieth of the plan's 10,000 units is the most.
        assert_eq!([60, 600, 60_001].map(of), [(0, Some(20)), (0, Some(30)), (0, Some(200))]);
        let accepted = basis().in_redis(Some(Units::new(500)));
        let ledger = opening(&project(Plan::Pro), &catalogue()).unwrap();
        let policy = accepted.compile(&project(Plan::Pro), &ledger, vec![], now);
        assert_eq!(policy.leases.escrow, Some(Units::new(500)), "what an operator accepts to lose");
        let fingerprints = [basis(), basis().in_redis(None), accepted].map(|basis| basis.fingerprint());
        assert!(fingerprints[0] != fingerprints[1] && fingerprints[1] != fingerprints[2]);
    }

    #[test]
    fn the_fingerprint_follows_what_policies_say() {
        let other = Basis { upgrade_url: "https://example.com/else".to_owned(), ..basis() };
        let strict = Basis { leases: LeaseRules { strict: true, ..LeaseRules::default() }, ..basis() };
        assert_ne!(basis().fingerprint(), strict.fingerprint());
        assert_eq!(basis().fingerprint(), basis().fingerprint());
        assert_ne!(basis().fingerprint(), other.fingerprint());
    }
}
