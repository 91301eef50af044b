//! The terms of a plan, as they were when an entry was written.
//!
//! Entries carry their terms, so that a replay never needs the catalogue of that day (design §5: "a
//! project keeps its version until migrated"). Terms are never edited; a change is a new entry.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::plan::{Catalogue, OverageRule, Plan};
use shared::units::Units;

use super::crossing::Levels;
use super::money::{Currency, Money};
use super::rate::Rate;
use super::refusal::Refusal;

/// What a plan gives and costs, for one project from one instant on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct PlanTerms {
    /// The plan.
    pub plan: Plan,
    /// The version of the catalogue that these terms are of.
    pub catalogue: u32,
    /// Units a month.
    pub included: Units,
    /// Whether auto-overage may be turned on.
    pub overage: OverageRule,
    /// What overage costs; without a rate there is no overage.
    pub rate: Option<Rate>,
    /// Whether top-up packs may be bought.
    pub top_ups: bool,
    /// Minor units per blockchain anchor; zero is included (seed: "Blockchain anchoring").
    pub anchor_price: u64,
    /// What all amounts are in.
    pub currency: Currency,
    /// What it limits beside units.
    pub limits: Limits,
}

/// What a plan limits beside units; never billed (seed, "What's not billed").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Requests per minute.
    pub rpm: u32,
    /// How many agents may be used; `None` is unlimited.
    pub agents_max: Option<u32>,
    /// How many members a project may have; `None` is unlimited.
    pub members_max: Option<u32>,
    /// At which percentages of the quota the customer is told.
    pub levels: Levels,
}

impl Limits {
    /// Those of the first catalogue, for entries that were written before they carried their limits.
    fn first(plan: Plan) -> Self {
        let (rpm, agents_max, members_max) = match plan {
            Plan::Community => (60, Some(5), Some(1)),
            Plan::Pro => (600, Some(25), Some(5)),
            Plan::Business => (6_000, Some(250), Some(25)),
            Plan::Enterprise => (60_000, None, None),
        };
        Self { rpm, agents_max, members_max, levels: Levels::default() }
    }
}

/// Terms as entries hold them.
#[derive(Deserialize)]
struct Stored {
    plan: Plan,
    catalogue: u32,
    included: Units,
    overage: OverageRule,
    rate: Option<Rate>,
    top_ups: bool,
    anchor_price: u64,
    currency: Currency,
    limits: Option<Limits>,
}

impl From<Stored> for PlanTerms {
    fn from(stored: Stored) -> Self {
        let Stored { plan, catalogue, included, overage, rate, top_ups, anchor_price, currency, limits } =
            stored;
        let limits = limits.unwrap_or_else(|| Limits::first(plan));
        Self { plan, catalogue, included, overage, rate, top_ups, anchor_price, currency, limits }
    }
}

impl PlanTerms {
    /// The terms of `plan` in a catalogue.
    ///
    /// # Errors
    /// When the catalogue lacks the plan or its currency cannot be read.
    pub fn of(catalogue: &Catalogue, plan: Plan) -> Result<Self, Refusal> {
        let terms = catalogue.terms(plan).ok_or(Refusal::NoSuchPlan(plan))?;
        let currency = Currency::parse(&catalogue.currency).map_err(Refusal::Currency)?;
        Ok(Self {
            plan,
            catalogue: catalogue.version,
            included: terms.included,
            overage: terms.overage,
            rate: terms.overage_per_1000.map(Rate::flat),
            top_ups: terms.top_ups,
            anchor_price: terms.anchor_price.unwrap_or(0),
            currency,
            limits: Limits {
                rpm: terms.rpm,
                agents_max: terms.agents_max,
                members_max: terms.members_max,
                levels: Levels::new(catalogue.thresholds.iter().copied()).map_err(Refusal::Levels)?,
            },
        })
    }

    /// The rate of overage, where the plan offers overage at all.
    #[must_use]
    pub fn offered_rate(&self) -> Option<&Rate> {
        match self.overage {
            OverageRule::Optional => self.rate.as_ref(),
            OverageRule::Stop => None,
        }
    }
}

/// How often a subscription is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Interval {
    /// Every month.
    Month,
    /// Every year (seed: "annual = two months free").
    Year,
}

/// What a plan costs per interval; `None` where it is by contract.
///
/// # Errors
/// When the catalogue lacks the plan, its currency cannot be read or the price is too large.
pub fn subscription_price(
    catalogue: &Catalogue,
    plan: Plan,
    interval: Interval,
) -> Result<Option<Money>, Refusal> {
    let currency = Currency::parse(&catalogue.currency).map_err(Refusal::Currency)?;
    let terms = catalogue.terms(plan).ok_or(Refusal::NoSuchPlan(plan))?;
    let Some(month) = terms.price_month else { return Ok(None) };
    let minor = match interval {
        Interval::Month => Some(month),
        Interval::Year => month.checked_mul(u64::from(catalogue.annual_months)),
    };
    minor.map(|minor| Some(Money::new(i128::from(minor), currency))).ok_or(Refusal::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annual_subscription_costs_ten_months() {
        let catalogue = Catalogue::from_json(Catalogue::DEFAULT_JSON).unwrap();
        let price =
            |plan, interval| subscription_price(&catalogue, plan, interval).unwrap().map(Money::minor);
        assert_eq!(price(Plan::Pro, Interval::Month), Some(4_900));
        assert_eq!(price(Plan::Pro, Interval::Year), Some(49_000));
        assert_eq!(price(Plan::Community, Interval::Year), Some(0));
        assert_eq!(price(Plan::Enterprise, Interval::Year), None);
    }

    #[test]
    fn terms_of_entries_without_limits_are_read_with_those_of_the_first_catalogue() {
        let catalogue = Catalogue::from_json(Catalogue::DEFAULT_JSON).unwrap();
        for plan in Plan::ALL {
            let terms = PlanTerms::of(&catalogue, plan).unwrap();
            let mut stored = serde_json::to_value(&terms).unwrap();
            assert_eq!(serde_json::from_value::<PlanTerms>(stored.clone()).unwrap(), terms);
            stored.as_object_mut().unwrap().remove("limits");
            assert_eq!(serde_json::from_value::<PlanTerms>(stored).unwrap(), terms, "{plan}");
        }
    }
}
