//! What is enforced on premise: the policy of the last receipt, as a home of one process enforces it.

use shared::home::HomeName;
use shared::ids::{IdError, KeyId, Mode, ProjectId, SourceId};
use shared::plan::Plan;
use shared::policy::{AllowanceParts, LeaseRules, Overage, Policy, Status};
use shared::time::Timestamp;
use shared::units::Units;

/// The version of the policy that is there before any receipt: each that comes is newer.
pub const PROVISIONAL: u64 = 0;

/// The home of a reporter is called after its source: for which project its units count is the aggregator's to say.
///
/// # Errors
/// Never, because sources are named as projects are.
pub fn home_of(source: &SourceId) -> Result<HomeName, IdError> {
    Ok(HomeName { project: ProjectId::parse(source.as_str())?, mode: Mode::Live })
}

/// The key of everybody on premise, where nobody shows one.
///
/// # Errors
/// Never.
pub fn local_key() -> Result<KeyId, IdError> {
    KeyId::parse("onpremise")
}

/// A receipt's policy as the home here enforces it: everybody asks under the one key, and no lease ever leaves.
///
/// # Errors
/// Never.
pub fn on_premise(home: &HomeName, policy: Policy) -> Result<Policy, IdError> {
    Ok(Policy {
        project: home.project.clone(),
        keys: vec![local_key()?],
        leases: LeaseRules { agents: policy.leases.agents, ..LeaseRules::default() },
        ..policy
    })
}

/// What holds before the first receipt: everything is counted and allowed, because serving on premise never waits for us.
///
/// # Errors
/// Never.
pub fn provisional(home: &HomeName, now: Timestamp) -> Result<Policy, IdError> {
    Ok(Policy {
        project: home.project.clone(),
        version: PROVISIONAL,
        plan: Plan::Enterprise,
        status: Status::Active,
        allowance: AllowanceParts {
            period: now.period(),
            included: Units::ZERO,
            lots: Units::ZERO,
            credits: Units::ZERO,
            credits_after: Units::ZERO,
            next_included: Units::ZERO,
            overage: Overage::Open,
        },
        rpm: u32::MAX,
        agents_max: None,
        keys: vec![local_key()?],
        upgrade_url: String::new(),
        leases: LeaseRules::default(),
    })
}
