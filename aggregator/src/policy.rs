//! Compiles a project and the plan catalogue into the policy that the edge enforces.
//!
//! The document depends on nothing but the project's row and keys, which never change without
//! raising the policy version, on the period, and on the [`Basis`], whose change raises every
//! version. Two documents of one (version, period) are therefore the same text, wherever and
//! whenever they were compiled; this file must never take in anything else.

use sha2::{Digest, Sha256};
use shared::ids::KeyId;
use shared::plan::{Catalogue, OverageRule, Terms};
use shared::policy::{AllowanceParts, LeaseRules, Overage, Policy};
use shared::time::Period;
use shared::units::Units;

use crate::project::Project;

/// What all policies are compiled from, beside the project itself.
#[derive(Debug, Clone)]
pub struct Basis {
    /// The plans.
    pub catalogue: Catalogue,
    /// Where customers get more quota.
    pub upgrade_url: String,
}

/// The catalogue lacks a plan; a catalogue that was read never does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plan catalogue has no plan {0}")]
pub struct NoSuchPlan(pub &'static str);

impl Basis {
    /// The compiled-in catalogue, and where customers upgrade.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub fn new(upgrade_url: String) -> Result<Self, String> {
        Ok(Self { catalogue: Catalogue::from_json(Catalogue::DEFAULT_JSON)?, upgrade_url })
    }

    /// A text that differs whenever policies compiled from the basis may differ.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let catalogue = serde_json::to_string(&self.catalogue).unwrap_or_default();
        let digest = Sha256::new().chain_update(catalogue).chain_update("\n").chain_update(&self.upgrade_url);
        base16ct::lower::encode_string(&digest.finalize())
    }

    /// The terms of the project's plan.
    ///
    /// # Errors
    /// When the catalogue lacks the plan.
    pub fn terms(&self, project: &Project) -> Result<&Terms, NoSuchPlan> {
        self.catalogue.terms(project.plan).ok_or(NoSuchPlan(project.plan.as_str()))
    }

    /// The policy of `project` in `period`; `keys` are those that are not revoked.
    ///
    /// # Errors
    /// When the catalogue lacks the plan.
    pub fn compile(
        &self,
        project: &Project,
        mut keys: Vec<KeyId>,
        period: Period,
    ) -> Result<Policy, NoSuchPlan> {
        let terms = self.terms(project)?;
        let included = project.included(terms);
        keys.sort();
        Ok(Policy {
            project: project.id.clone(),
            version: project.policy_version,
            plan: project.plan,
            status: project.status,
            allowance: AllowanceParts {
                period,
                included,
                lots: Units::ZERO,
                credits: Units::ZERO,
                next_included: included,
                overage: overage(terms.overage, project.auto_overage),
            },
            rpm: project.rpm(terms),
            agents_max: terms.agents_max,
            keys,
            upgrade_url: self.upgrade_url.clone(),
            leases: LeaseRules::default(),
        })
    }
}

/// Overage is served only where the plan offers it and the customer has turned it on.
fn overage(rule: OverageRule, auto_overage: bool) -> Overage {
    match (rule, auto_overage) {
        (OverageRule::Stop, _) | (OverageRule::Optional, false) => Overage::Stop,
        (OverageRule::Optional, true) => Overage::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::ids::ProjectId;
    use shared::plan::Plan;
    use shared::policy::Status;
    use shared::time::Timestamp;

    fn project(plan: Plan) -> Project {
        Project {
            id: ProjectId::parse("demo").unwrap(),
            plan,
            rpm_own: None,
            included_own: None,
            status: Status::Active,
            auto_overage: false,
            rpm_max: 60,
            policy_version: 7,
            created: Timestamp::from_ms(0),
        }
    }

    fn basis() -> Basis {
        Basis::new("https://example.com/more".to_owned()).unwrap()
    }

    #[test]
    fn every_plan_stops_hard_unless_it_offers_overage_and_it_is_on() {
        let november = Period::parse("2026-11").unwrap();
        for plan in Plan::ALL {
            for auto_overage in [false, true] {
                let project = Project { auto_overage, ..project(plan) };
                let policy = basis().compile(&project, vec![], november).unwrap();
                let open = auto_overage && plan != Plan::Community;
                let expected = if open { Overage::Open } else { Overage::Stop };
                assert_eq!(policy.allowance.overage, expected, "{plan} {auto_overage}");
            }
        }
    }

    #[test]
    fn a_document_is_the_same_for_one_version_and_period() {
        let november = Period::parse("2026-11").unwrap();
        let keys = |ids: [&str; 2]| ids.map(|id| KeyId::parse(id).unwrap()).to_vec();
        let compile = |ids, period| basis().compile(&project(Plan::Pro), keys(ids), period).unwrap();
        assert_eq!(compile(["bbbb", "aaaa"], november), compile(["aaaa", "bbbb"], november));
        let december = compile(["aaaa", "bbbb"], november.next());
        assert_eq!(december.version, 7, "a new month is no new version");
        assert_eq!(december.allowance.period, november.next());
    }

    #[test]
    fn own_limits_win_over_the_plans() {
        let own = Project { rpm_own: Some(7), included_own: Some(Units::new(8)), ..project(Plan::Community) };
        let policy = basis().compile(&own, vec![], Period::parse("2026-11").unwrap()).unwrap();
        assert_eq!((policy.rpm, policy.allowance.included), (7, Units::new(8)));
        assert_eq!(policy.allowance.next_included, Units::new(8));
    }

    #[test]
    fn the_fingerprint_follows_what_policies_say() {
        let other = Basis::new("https://example.com/else".to_owned()).unwrap();
        assert_eq!(basis().fingerprint(), basis().fingerprint());
        assert_ne!(basis().fingerprint(), other.fingerprint());
    }
}
