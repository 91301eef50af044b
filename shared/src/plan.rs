//! The plan catalogue: what each plan includes and limits.
//!
//! The catalogue is a file with a version. What the product's documentation leaves open carries a
//! default and is listed under `assumed`, so that nobody takes a guess for a promise.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::Units;

/// The plans of Palveron.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    /// 1,000 requests a month, then a hard stop.
    Community,
    /// 10,000 requests a month, then top-up packs or overage.
    Pro,
    /// 100,000 requests a month, then top-up packs or overage.
    Business,
    /// By contract.
    Enterprise,
}

impl Plan {
    /// Every plan, the smallest first.
    pub const ALL: [Self; 4] = [Self::Community, Self::Pro, Self::Business, Self::Enterprise];

    /// The plan's name on the wire, in storage and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Community => "community",
            Self::Pro => "pro",
            Self::Business => "business",
            Self::Enterprise => "enterprise",
        }
    }

    /// The plan of that name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plan| plan.as_str() == text)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens to requests beyond the included quota and the top-up lots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverageRule {
    /// They are denied, always.
    Stop,
    /// They are served and invoiced where the customer has turned auto-overage on.
    Optional,
}

/// What one plan gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Units a month, before lots and overage.
    pub included: Units,
    /// Requests per minute.
    pub rpm: u32,
    /// What happens beyond included units and lots.
    pub overage: OverageRule,
    /// Whether top-up packs can be bought.
    pub top_ups: bool,
    /// How many agents may be used; `None` is unlimited.
    pub agents_max: Option<u32>,
    /// How many members a project may have; `None` is unlimited.
    pub members_max: Option<u32>,
    /// Price a month in minor units of the currency; `None` is by contract. Annual is ten times that.
    pub price_month: Option<u64>,
    /// Minor units per 1,000 units of overage; `None` is not offered or by contract.
    pub overage_per_1000: Option<u64>,
    /// Minor units per blockchain anchor; zero is included, `None` is not offered.
    pub anchor_price: Option<u64>,
    /// Which of these fields are our defaults and not the product's word.
    pub assumed: Vec<String>,
}

/// The plans of one version of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// Rises with every change; a project keeps its version until it is migrated.
    pub version: u32,
    /// ISO 4217, lowercase.
    pub currency: String,
    plans: BTreeMap<Plan, Terms>,
}

impl Catalogue {
    /// The default catalogue, as it is compiled in.
    pub const DEFAULT_JSON: &'static str = include_str!("plans.json");

    /// Reads a catalogue.
    ///
    /// # Errors
    /// When the text is not a catalogue, lacks a plan, or has a plan with no requests per minute.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let catalogue: Self =
            serde_json::from_str(text).map_err(|error| format!("plan catalogue: {error}"))?;
        for plan in Plan::ALL {
            let terms =
                catalogue.plans.get(&plan).ok_or_else(|| format!("plan catalogue: {plan} is missing"))?;
            if terms.rpm == 0 {
                return Err(format!("plan catalogue: {plan}.rpm: got 0, accepted is 1 or more"));
            }
        }
        Ok(catalogue)
    }

    /// What `plan` gives. Every catalogue that was read has every plan.
    #[must_use]
    pub fn terms(&self, plan: Plan) -> Option<&Terms> {
        self.plans.get(&plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_catalogue_says_what_the_product_page_says() {
        let catalogue = Catalogue::from_json(Catalogue::DEFAULT_JSON).unwrap();
        let included = |plan| catalogue.terms(plan).unwrap().included.get();
        assert_eq!(included(Plan::Community), 1_000);
        assert_eq!(included(Plan::Pro), 10_000);
        assert_eq!(included(Plan::Business), 100_000);
        assert_eq!(catalogue.terms(Plan::Community).unwrap().overage, OverageRule::Stop);
        for plan in [Plan::Business, Plan::Enterprise] {
            assert_eq!(catalogue.terms(plan).unwrap().anchor_price, Some(0), "anchoring is included");
        }
    }

    #[test]
    fn a_catalogue_without_every_plan_is_refused() {
        let error = Catalogue::from_json(r#"{"version":1,"currency":"eur","plans":{}}"#).unwrap_err();
        assert_eq!(error, "plan catalogue: community is missing");
    }
}
