//! The plan catalogue: what each plan includes and limits.
//!
//! The catalogue is a file with a version. What the product's documentation leaves open carries a
//! default and is listed under `assumed`, so that nobody takes a guess for a promise.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::units::Units;

/// The plans of Palveron.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

/// The top-up packs of the product page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// Every pack, the smallest first.
    pub const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// The pack's name on the wire and in the catalogue.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }

    /// The pack of that name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pack| pack.as_str() == text)
    }
}

impl fmt::Display for Pack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a pack holds and costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackTerms {
    /// The additional requests (seed, table "Pack | Additional requests").
    pub units: Units,
    /// Its price in minor units of the currency.
    pub price: u64,
}

/// What LLM tokens are estimated to cost: shown beside usage, never billed (seed: "LLM tokens —
/// captured for observability and cost estimation only").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenPrices {
    /// Minor units per 1,000,000 tokens read.
    pub in_per_million: u64,
    /// Minor units per 1,000,000 tokens written.
    pub out_per_million: u64,
}

impl TokenPrices {
    /// What so many tokens are estimated to cost, in minor units: the exact sum, rounded once, half up.
    #[must_use]
    pub fn estimate(self, tokens_in: Units, tokens_out: Units) -> u128 {
        let part = |tokens: Units, price: u64| u128::from(tokens.get()) * u128::from(price);
        let millionths = part(tokens_in, self.in_per_million) + part(tokens_out, self.out_per_million);
        (millionths + 500_000).div_euclid(1_000_000)
    }
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
    packs: BTreeMap<Pack, PackTerms>,
    /// Months that an annual subscription pays for (seed: "annual = two months free").
    pub annual_months: u32,
    /// At which percentages of the quota `usage.threshold_reached` fires, rising.
    pub thresholds: Vec<u8>,
    /// Days that a project keeps its plan after a payment failed.
    pub grace_days: u32,
    /// What LLM tokens are estimated to cost.
    pub tokens: TokenPrices,
    /// Which of the fields beside the plans are our defaults and not the product's word.
    pub assumed: Vec<String>,
}

impl Catalogue {
    /// The default catalogue, as it is compiled in.
    pub const DEFAULT_JSON: &'static str = include_str!("plans.json");

    /// The most requests per minute that a plan may give: far above what one home can decide.
    pub const RPM_MAX: u32 = 1_000_000;

    /// The most levels of a project; each is an event a month.
    pub const THRESHOLDS_MAX: usize = 10;

    /// The longest grace: whoever has not paid for a quarter has left.
    pub const GRACE_DAYS_MAX: u32 = 90;

    /// Reads a catalogue.
    ///
    /// # Errors
    /// When the text is not a catalogue, or says something that cannot be meant.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let catalogue: Self =
            serde_json::from_str(text).map_err(|error| format!("plan catalogue: {error}"))?;
        match catalogue.problems().first() {
            Some(problem) => Err(format!("plan catalogue: {problem}")),
            None => Ok(catalogue),
        }
    }

    /// Everything in it that cannot be meant, a line for each: which field, what it has, what is accepted.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut refuse = |field: &str, got: &dyn fmt::Display, accepts: &str| {
            problems.push(format!("{field}: got {got}, accepted is {accepts}"));
        };
        if self.version == 0 {
            refuse("version", &self.version, "1 or more");
        }
        if self.currency.len() != 3 || !self.currency.bytes().all(|byte| byte.is_ascii_lowercase()) {
            refuse("currency", &self.currency, "three lowercase letters");
        }
        if !(1..=12).contains(&self.annual_months) {
            refuse("annual_months", &self.annual_months, "1 to 12");
        }
        if self.grace_days > Self::GRACE_DAYS_MAX {
            refuse("grace_days", &self.grace_days, &format!("0 to {}", Self::GRACE_DAYS_MAX));
        }
        let rising = self.thresholds.windows(2).all(|pair| pair.first() < pair.last());
        let within = self.thresholds.iter().all(|percent| (1..=100).contains(percent));
        if !rising || !within || !(1..=Self::THRESHOLDS_MAX).contains(&self.thresholds.len()) {
            let accepts = format!("1 to {} rising percentages from 1 to 100", Self::THRESHOLDS_MAX);
            refuse("thresholds", &format!("{:?}", self.thresholds), &accepts);
        }
        for plan in Plan::ALL {
            match self.plans.get(&plan) {
                None => refuse(&format!("plans.{plan}"), &"nothing", "the terms of every plan"),
                Some(terms) => terms.problems(plan, &mut refuse),
            }
        }
        for pack in Pack::ALL {
            match self.packs.get(&pack) {
                None => refuse(&format!("packs.{pack}"), &"nothing", "the terms of every pack"),
                Some(terms) => {
                    if terms.units == Units::ZERO {
                        refuse(&format!("packs.{pack}.units"), &0, "1 or more");
                    }
                    if terms.price == 0 {
                        refuse(&format!("packs.{pack}.price"), &0, "1 or more");
                    }
                }
            }
        }
        problems
    }

    /// What `plan` gives. Every catalogue that was read has every plan.
    #[must_use]
    pub fn terms(&self, plan: Plan) -> Option<&Terms> {
        self.plans.get(&plan)
    }

    /// What `pack` holds and costs. Every catalogue that was read has every pack.
    #[must_use]
    pub fn pack(&self, pack: Pack) -> Option<PackTerms> {
        self.packs.get(&pack).copied()
    }
}

impl Terms {
    fn problems(&self, plan: Plan, refuse: &mut impl FnMut(&str, &dyn fmt::Display, &str)) {
        if !(1..=Catalogue::RPM_MAX).contains(&self.rpm) {
            refuse(&format!("plans.{plan}.rpm"), &self.rpm, &format!("1 to {}", Catalogue::RPM_MAX));
        }
        for (name, count) in [("agents_max", self.agents_max), ("members_max", self.members_max)] {
            if count == Some(0) {
                refuse(&format!("plans.{plan}.{name}"), &0, "1 or more, or null for no limit");
            }
        }
        if let (OverageRule::Stop, Some(rate)) = (self.overage, self.overage_per_1000) {
            refuse(&format!("plans.{plan}.overage_per_1000"), &rate, "null where overage is \"stop\"");
        }
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
        let packs = Pack::ALL.map(|pack| catalogue.pack(pack).unwrap().units.get());
        assert_eq!(packs, [5_000, 25_000, 100_000]);
        assert_eq!((catalogue.annual_months, catalogue.grace_days), (10, 7));
        assert_eq!(catalogue.thresholds, [80, 100]);
    }

    #[test]
    fn tokens_are_estimated_exactly_and_rounded_once() {
        let prices = TokenPrices { in_per_million: 300, out_per_million: 1_500 };
        // 1,666 × 300 = 499,800 millionths; with one more token written it is beyond a half.
        for (read, written, minor) in [(0, 0, 0), (1_666, 0, 0), (1_666, 1, 1), (1_000_000, 2_000_000, 3_300)]
        {
            assert_eq!(prices.estimate(Units::new(read), Units::new(written)), minor, "{read} {written}");
        }
        assert!(prices.estimate(Units::MAX, Units::MAX) > 0);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_field() {
        // what is replaced in the default => by what => the field that is refused
        let table = r#"
            "version": 1            => "version": 0             => version
            "eur"                   => "EUR"                    => currency
            "annual_months": 10     => "annual_months": 13      => annual_months
            "grace_days": 7         => "grace_days": 91         => grace_days
            "thresholds": [80, 100] => "thresholds": []         => thresholds
            "thresholds": [80, 100] => "thresholds": [100, 80]  => thresholds
            "thresholds": [80, 100] => "thresholds": [80, 101]  => thresholds
            "rpm": 600,             => "rpm": 0,                => plans.pro.rpm
            "agents_max": 25,       => "agents_max": 0,         => plans.pro.agents_max
            "units": 5000           => "units": 0               => packs.small.units
            "price": 2900           => "price": 0               => packs.small.price
        "#;
        for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let [from, to, field] = row.split("=>").map(str::trim).collect::<Vec<_>>()[..] else {
                panic!("{row}")
            };
            assert!(Catalogue::DEFAULT_JSON.contains(from), "{row}");
            let error = Catalogue::from_json(&Catalogue::DEFAULT_JSON.replace(from, to)).unwrap_err();
            assert!(error.starts_with(&format!("plan catalogue: {field}: got ")), "{row}: {error}");
        }
        for plan in Plan::ALL {
            let gone = Catalogue::DEFAULT_JSON.replacen(&format!("\"{plan}\""), "\"community\"", 1);
            assert!(plan == Plan::Community || Catalogue::from_json(&gone).is_err(), "{plan}");
        }
        let stop = Catalogue::DEFAULT_JSON.replace("\"overage_per_1000\": null", "\"overage_per_1000\": 5");
        let error = Catalogue::from_json(&stop).unwrap_err();
        assert!(error.contains("plans.community.overage_per_1000: got 5"), "{error}");
        let other = Catalogue::DEFAULT_JSON.replace("\"grace_days\"", "\"grace\"");
        assert!(Catalogue::from_json(&other).unwrap_err().contains("grace"));
    }
}
