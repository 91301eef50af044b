//! What is sold: subscriptions to plans and top-up packs, with what they cost by our own catalogue.
//!
//! Stripe's prices are found by a lookup key that is made from the good's name. What a price is at Stripe is
//! compared with what this file says and never believed by itself.

use std::fmt;

use shared::plan::{Catalogue, Pack, Plan};

use super::seen::Price;
use crate::ledger::money::{Currency, Money};
use crate::ledger::terms::Interval;

/// The plans that are sold without a contract.
const SOLD: [Plan; 2] = [Plan::Pro, Plan::Business];

/// Begins every lookup key and product id, so that other goods of the account are never touched.
const PREFIX: &str = "palveron";

/// Taxes come on top of our prices.
pub const TAX_BEHAVIOR: &str = "exclusive";

/// One thing that is sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Good {
    /// A subscription.
    Plan(Plan, Interval),
    /// A top-up pack.
    Pack(Pack),
}

impl Good {
    /// Everything that is sold.
    pub fn all() -> impl Iterator<Item = Self> {
        let plans = SOLD
            .into_iter()
            .flat_map(|plan| [Interval::Month, Interval::Year].map(|interval| Self::Plan(plan, interval)));
        plans.chain(Pack::ALL.map(Self::Pack))
    }

    /// Its name in our books: `pro/month`, `pack/small`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Plan(plan, interval) => format!("{plan}/{}", interval_name(interval)),
            Self::Pack(pack) => format!("pack/{pack}"),
        }
    }

    /// The good of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|good| good.name() == name)
    }

    /// What its price is looked up by at Stripe.
    #[must_use]
    pub fn lookup_key(self) -> String {
        format!("{PREFIX}_{}", self.name().replace('/', "_"))
    }

    /// The good that a lookup key names.
    #[must_use]
    pub fn of_lookup_key(key: &str) -> Option<Self> {
        Self::all().find(|good| good.lookup_key() == key)
    }

    /// The id of its product at Stripe; both intervals of a plan are one product.
    #[must_use]
    pub fn product(self) -> String {
        match self {
            Self::Plan(plan, _) => format!("{PREFIX}_{plan}"),
            Self::Pack(pack) => format!("{PREFIX}_pack_{pack}"),
        }
    }

    /// What invoices and the payment page call it.
    #[must_use]
    pub fn title(self, catalogue: &Catalogue) -> String {
        match self {
            Self::Plan(plan, _) => {
                let included = catalogue.terms(plan).map_or(0, |terms| terms.included.get());
                format!("Palveron {}: {included} requests a month", capital(plan.as_str()))
            }
            Self::Pack(pack) => {
                let units = catalogue.pack(pack).map_or(0, |terms| terms.units.get());
                format!("Palveron top-up {pack}: {units} requests")
            }
        }
    }

    /// What it costs before taxes; `None` where it is not sold by this catalogue.
    #[must_use]
    pub fn price(self, catalogue: &Catalogue) -> Option<Money> {
        let currency = Currency::parse(&catalogue.currency).ok()?;
        let minor = match self {
            Self::Plan(plan, interval) => {
                let month = catalogue.terms(plan)?.price_month?;
                match interval {
                    Interval::Month => month,
                    Interval::Year => month.checked_mul(u64::from(catalogue.annual_months))?,
                }
            }
            Self::Pack(pack) => catalogue.pack(pack)?.price,
        };
        (minor > 0).then(|| Money::new(i128::from(minor), currency))
    }

    /// How often it is paid; `None` is once.
    #[must_use]
    pub fn interval(self) -> Option<Interval> {
        match self {
            Self::Plan(_, interval) => Some(interval),
            Self::Pack(_) => None,
        }
    }

    /// Whether a price at Stripe is this good's by our catalogue. Says the first field that differs.
    ///
    /// # Errors
    /// Which field, what it is, what it has to be.
    pub fn check(self, price: &Price, catalogue: &Catalogue, livemode: bool) -> Result<(), String> {
        let expected = self.price(catalogue).ok_or_else(|| format!("{self} is not sold"))?;
        let amount = price.unit_amount.map(i128::from);
        if amount != Some(expected.minor()) {
            return Err(format!("unit_amount: got {amount:?}, accepted is {}", expected.minor()));
        }
        if price.currency != expected.currency().to_string() {
            return Err(format!("currency: got {:?}, accepted is {}", price.currency, expected.currency()));
        }
        let recurring = price.recurring.as_ref().map(|r| (r.interval.as_str(), r.interval_count));
        if recurring != self.interval().map(|interval| (interval_name(interval), 1)) {
            return Err(format!("recurring: got {recurring:?}, accepted is that of {self}"));
        }
        if price.tax_behavior.as_deref() != Some(TAX_BEHAVIOR) {
            return Err(format!("tax_behavior: got {:?}, accepted is {TAX_BEHAVIOR}", price.tax_behavior));
        }
        if price.livemode != livemode {
            return Err(format!("livemode: got {}, accepted is {livemode}", price.livemode));
        }
        Ok(())
    }
}

impl fmt::Display for Good {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// An interval as Stripe writes it.
#[must_use]
pub fn interval_name(interval: Interval) -> &'static str {
    match interval {
        Interval::Month => "month",
        Interval::Year => "year",
    }
}

/// The interval that Stripe writes so.
#[must_use]
pub fn interval_of(text: &str) -> Option<Interval> {
    [Interval::Month, Interval::Year].into_iter().find(|interval| interval_name(*interval) == text)
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        Catalogue::from_json(Catalogue::DEFAULT_JSON).unwrap()
    }

    fn price(good: Good) -> Price {
        let money = good.price(&catalogue()).unwrap();
        let recurring = good
            .interval()
            .map(|interval| serde_json::json!({ "interval": interval_name(interval), "interval_count": 1 }));
        serde_json::from_value(serde_json::json!({
            "id": "price_1", "active": true, "currency": "eur", "unit_amount": i64::try_from(money.minor()).unwrap(),
            "lookup_key": good.lookup_key(), "product": good.product(), "recurring": recurring,
            "tax_behavior": "exclusive", "livemode": false,
        }))
        .unwrap()
    }

    #[test]
    fn goods_read_back_from_their_names_and_lookup_keys() {
        assert_eq!(Good::all().count(), 7);
        for good in Good::all() {
            assert_eq!(Good::parse(&good.name()), Some(good));
            assert_eq!(Good::of_lookup_key(&good.lookup_key()), Some(good));
            assert!(good.price(&catalogue()).is_some(), "{good}");
            assert_eq!(good.check(&price(good), &catalogue(), false), Ok(()), "{good}");
        }
        assert_eq!(Good::Plan(Plan::Pro, Interval::Year).lookup_key(), "palveron_pro_year");
        assert_eq!(Good::of_lookup_key("palveron_enterprise_month"), None);
    }

    #[test]
    fn a_price_that_is_not_the_catalogues_is_named_by_its_field() {
        let good = Good::Plan(Plan::Pro, Interval::Month);
        let right = price(good);
        let cases = [
            (Price { unit_amount: Some(1), ..right.clone() }, "unit_amount"),
            (Price { unit_amount: None, ..right.clone() }, "unit_amount"),
            (Price { currency: "usd".to_owned(), ..right.clone() }, "currency"),
            (Price { recurring: None, ..right.clone() }, "recurring"),
            (Price { tax_behavior: Some("inclusive".to_owned()), ..right.clone() }, "tax_behavior"),
            (Price { livemode: true, ..right }, "livemode"),
        ];
        for (price, field) in cases {
            let error = good.check(&price, &catalogue(), false).unwrap_err();
            assert!(error.starts_with(field), "{error}");
        }
    }
}
