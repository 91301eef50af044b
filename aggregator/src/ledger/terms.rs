//! The terms of a plan, as they were when an entry was written.
//!
//! Entries carry their terms, so that a replay never needs the catalogue of that day (design §5: "a
//! project keeps its version until migrated"). Terms are never edited; a change is a new entry.

use serde::{Deserialize, Serialize};
use shared::plan::{Catalogue, OverageRule, Plan, Terms};
use shared::units::Units;

use super::money::{Currency, Money};
use super::rate::Rate;
use super::refusal::Refusal;

/// What a plan gives and costs, for one project from one instant on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interval {
    /// Every month.
    Month,
    /// Every year (seed: "annual = two months free").
    Year,
}

/// Months that an annual subscription pays for (design §5: "Annual = 10 × monthly").
const MONTHS_PAID_PER_YEAR: u64 = 10;

/// What a plan costs per interval; `None` where it is by contract.
///
/// # Errors
/// When the catalogue's currency cannot be read or the price is too large.
pub fn subscription_price(
    terms: &Terms,
    currency: &str,
    interval: Interval,
) -> Result<Option<Money>, Refusal> {
    let currency = Currency::parse(currency).map_err(Refusal::Currency)?;
    let Some(month) = terms.price_month else { return Ok(None) };
    let minor = match interval {
        Interval::Month => Some(month),
        Interval::Year => month.checked_mul(MONTHS_PAID_PER_YEAR),
    };
    minor.map(|minor| Some(Money::new(i128::from(minor), currency))).ok_or(Refusal::TooLarge)
}

/// The packs of the seed's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pack {
    /// +5,000.
    Small,
    /// +25,000.
    Medium,
    /// +100,000.
    Large,
}

impl Pack {
    /// The additional requests of the pack (seed, table "Pack | Additional requests").
    #[must_use]
    pub fn units(self) -> Units {
        match self {
            Self::Small => Units::new(5_000),
            Self::Medium => Units::new(25_000),
            Self::Large => Units::new(100_000),
        }
    }

    /// The pack of that name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "small" => Some(Self::Small),
            "medium" => Some(Self::Medium),
            "large" => Some(Self::Large),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annual_subscription_costs_ten_months() {
        let catalogue = Catalogue::from_json(Catalogue::DEFAULT_JSON).unwrap();
        let price = |plan, interval| {
            subscription_price(catalogue.terms(plan).unwrap(), "eur", interval).unwrap().map(Money::minor)
        };
        assert_eq!(price(Plan::Pro, Interval::Month), Some(4_900));
        assert_eq!(price(Plan::Pro, Interval::Year), Some(49_000));
        assert_eq!(price(Plan::Community, Interval::Year), Some(0));
        assert_eq!(price(Plan::Enterprise, Interval::Year), None);
    }
}
