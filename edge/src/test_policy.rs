//! A policy and its home, for tests of whoever asks one.

use shared::home::{Home, HomeName};
use shared::ids::{Incarnation, KeyId, ProjectId};
use shared::plan::Plan;
use shared::policy::{AllowanceParts, LeaseRules, Overage, Policy, Status};
use shared::time::Timestamp;
use shared::units::Units;

/// The project `demo` with that many units in the month of `now`, one key, and a hard stop.
pub(crate) fn policy(now: Timestamp, units: u64, leases: LeaseRules) -> Policy {
    Policy {
        project: ProjectId::parse("demo").unwrap(),
        version: 1,
        plan: Plan::Business,
        status: Status::Active,
        allowance: AllowanceParts {
            period: now.period(),
            included: Units::new(units),
            lots: Units::ZERO,
            credits: Units::ZERO,
            credits_after: Units::ZERO,
            next_included: Units::new(units),
            overage: Overage::Stop,
        },
        rpm: 60_000,
        agents_max: None,
        keys: vec![KeyId::parse("k001").unwrap()],
        upgrade_url: "https://palveron.com/pricing".to_owned(),
        leases,
    }
}

/// The home that has that policy.
pub(crate) fn home(policy: Policy) -> Home {
    let name = HomeName::parse("demo/live").unwrap();
    let mut home = Home::new(name, Incarnation::parse("0123456789").unwrap());
    home.install(policy);
    home
}
