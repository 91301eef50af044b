//! An on-premise reporter as the books know it: under which contract, for which project, and within which limits.
//!
//! Its limits are its own, so that nothing has to be shared between places: what it may spend follows from its row and
//! its contract alone.

use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::{ContractId, Incarnation, KeyId, Mode, ProjectId, SigningKeyId, SourceId};
use shared::plan::Plan;
use shared::policy::{AllowanceParts, LeaseRules, Overage, Policy, Status};
use shared::report::Environment;
use shared::sign::SigningKey;
use shared::time::{Day, Timestamp};
use shared::units::Units;

use super::agreement::{Agreement, Phase};

/// The most keys of a reporter that are not revoked: one, and its successor while rotating.
pub const KEYS_MAX: usize = 2;

/// What a reporter is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReporter {
    /// Its name, which is the source of its cells.
    pub id: SourceId,
    /// Which project its units are of; may be left out where the contract covers one.
    pub project: Option<ProjectId>,
    /// Whether it serves users or is for tests.
    pub environment: Environment,
    /// Requests per minute on premise.
    pub rpm: u32,
    /// Units a month on premise, a hard stop; without it nothing but the requests per minute limits it.
    pub units_max: Option<Units>,
    /// Whether its reports are carried here by people, so that nobody can see that it lives between two of them.
    pub air_gap: bool,
}

/// A reporter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reporter {
    /// Its name, which is the source of its cells.
    pub id: SourceId,
    /// Under which contract.
    pub contract: ContractId,
    /// Which project its units are of.
    pub project: ProjectId,
    /// Whether it serves users or is for tests.
    pub environment: Environment,
    /// Requests per minute on premise.
    pub rpm: u32,
    /// Units a month on premise, a hard stop.
    pub units_max: Option<Units>,
    /// Whether its reports are carried here by people.
    pub air_gap: bool,
    /// Rises with every change of these.
    pub version: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was retired: nothing is expected of it any more.
    pub retired: Option<Timestamp>,
    /// The life of its data folder that reports.
    pub living: Option<Incarnation>,
    /// When it was last heard.
    pub heard: Option<Timestamp>,
}

/// A reporter's key as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ReporterKeyView")]
pub struct KeyView {
    /// Its id, which is no secret.
    pub id: String,
    /// When it was made.
    pub created_at: String,
    /// When it was revoked.
    pub revoked_at: Option<String>,
}

/// A reporter's key that a signature names.
#[derive(Debug, Clone)]
pub struct ReporterKeyFound {
    /// Whose it is.
    pub reporter: SourceId,
    /// The key, opened.
    pub key: SigningKey,
    /// Whether it was revoked.
    pub is_revoked: bool,
}

impl KeyView {
    /// A key of that id.
    #[must_use]
    pub fn new(id: &SigningKeyId, created: Timestamp, revoked: Option<Timestamp>) -> Self {
        let revoked_at = revoked.map(|at| at.to_string());
        Self { id: id.to_string(), created_at: created.to_string(), revoked_at }
    }
}

impl Reporter {
    /// From when on it has to report: from the term's first day, or its own making if that is later.
    #[must_use]
    pub fn due_since(&self, agreement: &Agreement) -> Timestamp {
        self.created.max(agreement.begins())
    }

    /// Whether its units are billed. Those of development are counted like those of test keys, apart, unless the
    /// contract bills them.
    #[must_use]
    pub fn mode(&self, agreement: &Agreement) -> Mode {
        match self.environment {
            Environment::Development if !agreement.bills_development => Mode::Test,
            Environment::Development | Environment::Production => Mode::Live,
        }
    }

    /// What units of a day are billed as: those before the term are a trial, which nobody pays for.
    #[must_use]
    pub fn mode_on(&self, agreement: &Agreement, day: Day) -> Mode {
        if day < agreement.terms.first_day { Mode::Test } else { self.mode(agreement) }
    }

    /// What it enforces on premise: nothing of it depends on what other places use.
    ///
    /// `version` is that of the project's policy: both only rise, so that their sum does.
    #[must_use]
    pub fn policy(&self, agreement: &Agreement, project: ProjectPolicy, now: Timestamp) -> Policy {
        let included = self.units_max.unwrap_or(agreement.terms.volume);
        // Who installs and tries it before the first day is served; what is counted then is not billed.
        let is_over = agreement.phase(now) == Phase::Ended || self.retired.is_some();
        Policy {
            project: self.project.clone(),
            version: project.version.saturating_add(self.version),
            plan: Plan::Enterprise,
            status: if is_over { Status::Suspended } else { project.status },
            allowance: AllowanceParts {
                period: now.period(),
                included,
                lots: Units::ZERO,
                credits: Units::ZERO,
                credits_after: Units::ZERO,
                next_included: included,
                overage: if self.units_max.is_some() { Overage::Stop } else { Overage::Open },
            },
            rpm: self.rpm,
            agents_max: None,
            keys: project.keys,
            upgrade_url: project.upgrade_url,
            leases: LeaseRules::default(),
        }
    }
}

/// What a reporter's policy takes from its project.
#[derive(Debug, Clone)]
pub struct ProjectPolicy {
    /// The version of the project's policy.
    pub version: u64,
    /// Whether the project is served.
    pub status: Status,
    /// Its keys that are not revoked.
    pub keys: Vec<KeyId>,
    /// Where a customer who ran out can ask for more.
    pub upgrade_url: String,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::contracts::agreement::tests::agreement;

    pub(crate) fn reporter() -> Reporter {
        Reporter {
            id: SourceId::parse("berlin").unwrap(),
            contract: ContractId::parse("acme-2026").unwrap(),
            project: ProjectId::parse("acme").unwrap(),
            environment: Environment::Production,
            rpm: 600,
            units_max: None,
            air_gap: false,
            version: 1,
            created: at("2026-11-20"),
            retired: None,
            living: None,
            heard: None,
        }
    }

    fn at(day: &str) -> Timestamp {
        Day::parse(day).unwrap().start()
    }

    fn project() -> ProjectPolicy {
        ProjectPolicy { version: 7, status: Status::Active, keys: vec![], upgrade_url: String::new() }
    }

    #[test]
    fn a_policy_has_the_reporters_limits_or_the_contracts_volume() {
        let (of, now) = (agreement("2026-11-10", Some("2026-12-31")), at("2026-11-21"));
        let open = reporter().policy(&of, project(), now);
        assert_eq!((open.version, open.rpm, open.status), (8, 600, Status::Active));
        assert_eq!((open.allowance.included, open.allowance.overage), (Units::new(1_000_000), Overage::Open));
        assert_eq!(open.allowance.allowance(now.period(), Units::ZERO), None);
        let own = Reporter { units_max: Some(Units::new(50)), version: 2, ..reporter() };
        let stopped = own.policy(&of, project(), now);
        assert_eq!(stopped.version, 9);
        assert_eq!(stopped.allowance.allowance(now.period(), Units::ZERO), Some(Units::new(50)));
        assert_eq!(stopped.allowance.allowance(now.period().next(), Units::new(50)), Some(Units::new(50)));
        for (now, status) in [
            (at("2026-11-09"), Status::Active),
            (at("2026-12-31"), Status::Active),
            (at("2027-01-01"), Status::Suspended),
        ] {
            assert_eq!(reporter().policy(&of, project(), now).status, status, "{now}");
        }
        let retired = Reporter { retired: Some(now), ..reporter() };
        assert_eq!(retired.policy(&of, project(), now).status, Status::Suspended);
    }

    #[test]
    fn units_of_development_are_apart_unless_the_contract_bills_them() {
        let of = agreement("2026-11-10", None);
        let development = Reporter { environment: Environment::Development, ..reporter() };
        assert_eq!((reporter().mode(&of), development.mode(&of)), (Mode::Live, Mode::Test));
        let billed = Agreement { bills_development: true, ..of.clone() };
        assert_eq!(development.mode(&billed), Mode::Live);
        let (before, first) = (at("2026-11-09").day(), at("2026-11-10").day());
        assert_eq!(
            (reporter().mode_on(&of, before), reporter().mode_on(&of, first)),
            (Mode::Test, Mode::Live)
        );
        assert_eq!(development.mode_on(&of, first), Mode::Test);
    }

    #[test]
    fn a_reporter_is_due_from_the_term_or_from_its_making() {
        assert_eq!(reporter().due_since(&agreement("2026-11-10", None)), at("2026-11-20"));
        assert_eq!(reporter().due_since(&agreement("2026-12-01", None)), at("2026-12-01"));
    }
}
