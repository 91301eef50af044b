//! An agreement: the terms of a contract, whom it is with, and which projects it covers.
//!
//! A project has at most one contract on any day. A contract never begins in a month that is closed: what was billed
//! is put right by corrections, never by terms that were agreed later.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::ids::{ContractId, ProjectId};
use shared::plan::{Catalogue, Plan};
use shared::time::{Day, Timestamp};

use super::party::Party;
use crate::ledger::close::CLOSE_WITHIN_MS;
use crate::ledger::contract::Contract;
use crate::ledger::entry::{Fact, OverageSetting, Posting};
use crate::ledger::refusal::Refusal;
use crate::ledger::state::Ledger;
use crate::ledger::terms::PlanTerms;

/// The most projects that one contract covers.
pub const PROJECTS_MAX: usize = 100;

/// A contract as it was agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// Its name.
    pub id: ContractId,
    /// Whom it is with, as invoices name them.
    pub customer: String,
    /// Volume, rate, minimum, term, SLA.
    pub terms: Contract,
    /// What it covers: edge projects and those that are metered on premise.
    pub projects: BTreeSet<ProjectId>,
    /// Whether units of development reporters are billed.
    pub bills_development: bool,
    /// Where invoices go.
    pub buyer: Party,
    /// How many days before its end either side may decline to renew it.
    pub notice_days: u32,
    /// When it was written down.
    pub created: Timestamp,
}

/// Where a contract stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Its first day is still to come.
    Planned,
    /// It is in force.
    Running,
    /// Its last day is over.
    Ended,
}

impl Agreement {
    /// Its first instant.
    #[must_use]
    pub fn begins(&self) -> Timestamp {
        self.terms.first_day.start()
    }

    /// The first instant after it, where it has an end.
    #[must_use]
    pub fn ends(&self) -> Option<Timestamp> {
        self.terms.last_day.map(|day| day.next().start())
    }

    /// Until when its reporters are listened to: what was served on the last day must still arrive.
    #[must_use]
    pub fn hears_until(&self) -> Option<Timestamp> {
        self.ends().map(|end| end.plus_ms(CLOSE_WITHIN_MS))
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self, now: Timestamp) -> Phase {
        if now < self.begins() {
            Phase::Planned
        } else if self.ends().is_some_and(|end| end <= now) {
            Phase::Ended
        } else {
            Phase::Running
        }
    }

    /// The last day on which either side may say that it is not to be renewed.
    #[must_use]
    pub fn notice_day(&self) -> Option<Day> {
        let last = self.terms.last_day?;
        Day::from_number(last.number().saturating_sub(self.notice_days))
    }

    /// Whether it and another term have a day in common.
    #[must_use]
    pub fn overlaps(&self, first: Day, last: Option<Day>) -> bool {
        let begins_before = last.is_none_or(|last| self.terms.first_day <= last);
        begins_before && self.terms.last_day.is_none_or(|own| first <= own)
    }

    /// Its term, in words.
    #[must_use]
    pub fn term(&self) -> String {
        let first = self.terms.first_day;
        self.terms.last_day.map_or_else(|| format!("from {first}"), |last| format!("from {first} to {last}"))
    }

    /// What brings a covered project under the contract, and out of it at the end: nothing before the first day, nor
    /// where all is as it should be.
    ///
    /// # Errors
    /// When the catalogue lacks a plan or the project's books are in another currency.
    pub fn postings(
        &self,
        ledger: &Ledger,
        catalogue: &Catalogue,
        now: Timestamp,
    ) -> Result<Vec<Posting>, Refusal> {
        if self.phase(now) == Phase::Planned {
            return Ok(vec![]);
        }
        let terms = self.terms.terms(catalogue)?;
        if terms.currency != ledger.currency() {
            return Err(Refusal::CurrencyDiffers);
        }
        let timeline = ledger.timeline();
        let present = timeline.subscribed_at(now);
        let mut postings = Vec::new();
        if self.phase(now) == Phase::Ended {
            // What follows was planned while it ran; under the next contract overage stays on.
            if present.plan != Plan::Enterprise && timeline.setting_at(now) != OverageSetting::Off {
                postings.push(Posting::of(Fact::OverageChanged(OverageSetting::Off)));
            }
            return Ok(postings);
        }
        // A contract that is in force keeps the limits beside it that its catalogue gave.
        let agreed =
            PlanTerms { catalogue: terms.catalogue, limits: terms.limits.clone(), ..present.clone() };
        let begins_now = agreed != terms;
        if begins_now {
            let effective = self.begins().max(ledger.open_from());
            postings.push(Posting::of(Fact::PlanChanged { terms, effective }));
        }
        if let Some(end) = self.ends()
            && (begins_now || timeline.subscribed_at(end).plan == Plan::Enterprise)
        {
            let terms = PlanTerms::of(catalogue, Plan::Community)?;
            postings.push(Posting::of(Fact::PlanChanged { terms, effective: end }));
        }
        let overage = OverageSetting::On { cap: None };
        if timeline.setting_at(now) != overage {
            postings.push(Posting::of(Fact::OverageChanged(overage)));
        }
        Ok(postings)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ledger::money::Currency;
    use crate::ledger::rate::Rate;
    use crate::ledger::timeline::OverageState;
    use shared::units::Units;

    pub(crate) fn agreement(first: &str, last: Option<&str>) -> Agreement {
        let day = |text: &str| Day::parse(text).unwrap();
        Agreement {
            id: ContractId::parse("acme-2026").unwrap(),
            customer: "Acme GmbH".to_owned(),
            terms: Contract {
                volume: Units::new(1_000_000),
                rate: Rate::flat(100),
                minimum: Units::new(600_000),
                first_day: day(first),
                last_day: last.map(day),
                currency: Currency::parse("eur").unwrap(),
                sla: "99.9 %".to_owned(),
                base_fee: None,
            },
            projects: [ProjectId::parse("acme").unwrap()].into(),
            bills_development: false,
            buyer: Party::default(),
            notice_days: 90,
            created: day(first).start(),
        }
    }

    fn catalogue() -> Catalogue {
        Catalogue::from_json(Catalogue::DEFAULT_JSON).unwrap()
    }

    fn at(day: &str) -> Timestamp {
        Day::parse(day).unwrap().start()
    }

    #[test]
    fn terms_that_share_a_day_overlap() {
        let of = agreement("2026-03-10", Some("2026-04-20"));
        let day = |text: &str| Day::parse(text).unwrap();
        for (first, last, overlaps) in [
            ("2026-01-01", Some("2026-03-09"), false),
            ("2026-01-01", Some("2026-03-10"), true),
            ("2026-04-20", None, true),
            ("2026-04-21", None, false),
            ("2026-03-15", Some("2026-03-15"), true),
            ("2026-01-01", None, true),
        ] {
            assert_eq!(of.overlaps(day(first), last.map(day)), overlaps, "{first} {last:?}");
        }
        assert!(agreement("2026-03-10", None).overlaps(day("2029-01-01"), None));
    }

    #[test]
    fn a_project_is_under_its_contract_from_the_first_day_to_the_last() {
        let made = at("2026-11-01");
        let open = || Ledger::open(made, PlanTerms::of(&catalogue(), Plan::Pro).unwrap()).unwrap();
        let of = agreement("2026-11-10", Some("2026-12-31"));
        assert_eq!(of.postings(&open(), &catalogue(), at("2026-11-09")), Ok(vec![]));
        let now = at("2026-11-20");
        let ledger = open().append(now, of.postings(&open(), &catalogue(), now).unwrap()).unwrap();
        assert_eq!(of.postings(&ledger, &catalogue(), now.plus_ms(1)), Ok(vec![]), "again nothing");
        let timeline = ledger.timeline();
        assert_eq!(timeline.terms_at(at("2026-11-09")).plan, Plan::Pro);
        assert_eq!(timeline.terms_at(at("2026-11-10")).included, Units::new(1_000_000));
        assert!(matches!(timeline.overage_at(now), OverageState::On { cap: None, .. }));
        assert_eq!(timeline.terms_at(at("2026-12-31")).plan, Plan::Enterprise);
        assert_eq!(timeline.terms_at(at("2027-01-01")).plan, Plan::Community);
        // When it is over, overage is off again, whatever the next plan offers.
        let over = at("2027-01-01");
        let ledger = ledger.clone().append(over, of.postings(&ledger, &catalogue(), over).unwrap()).unwrap();
        assert_eq!(ledger.timeline().setting_at(over), OverageSetting::Off);
        assert_eq!(of.postings(&ledger, &catalogue(), over.plus_ms(1)), Ok(vec![]));
    }

    #[test]
    fn a_contract_that_ends_earlier_than_planned_ends_then() {
        let now = at("2026-11-10");
        let ledger = Ledger::open(at("2026-11-01"), PlanTerms::of(&catalogue(), Plan::Pro).unwrap()).unwrap();
        let of = agreement("2026-11-10", None);
        let ledger = ledger.clone().append(now, of.postings(&ledger, &catalogue(), now).unwrap()).unwrap();
        let shorter = agreement("2026-11-10", Some("2026-11-15"));
        let postings = shorter.postings(&ledger, &catalogue(), now).unwrap();
        let ledger = ledger.append(now, postings).unwrap();
        assert_eq!(ledger.timeline().terms_at(at("2026-11-16")).plan, Plan::Community);
    }

    #[test]
    fn notice_and_the_last_reports_follow_from_the_last_day() {
        let of = agreement("2026-01-01", Some("2026-12-31"));
        assert_eq!(of.notice_day(), Day::parse("2026-10-02"));
        assert_eq!(of.hears_until(), Some(at("2027-01-04")));
        assert_eq!(of.phase(at("2026-12-31")), Phase::Running);
        assert_eq!(of.phase(at("2027-01-01")), Phase::Ended);
        assert_eq!(of.phase(at("2025-12-31")), Phase::Planned);
    }
}
