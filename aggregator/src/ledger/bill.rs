//! Bills: what a closed period, or an adjustment to it, costs.
//!
//! A bill has at most one line of each kind (I7: "at most one overage invoice line per (project,
//! period)"). Subscriptions and packs are paid in advance and never appear here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::units::Units;

use super::money::{Currency, Money};
use super::rate::Rate;
use super::refusal::Refusal;

/// What a line is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// Units beyond the included quota and the lots, at a rate.
    Overage(Rate),
    /// Blockchain anchors, at minor units each.
    Anchors(u64),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// What for.
    pub kind: LineKind,
    /// How many.
    pub quantity: Units,
    /// What they cost; an adjustment's is the difference of two rated totals.
    pub amount: Money,
}

/// A bill; without lines where nothing is owed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Bill {
    /// At most one of each kind.
    pub lines: Vec<Line>,
}

/// The totals that a bill brings from one state to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Billable {
    /// Units of overage so far, those of the contracted minimum beyond the quota included.
    pub overage: Units,
    /// Anchors so far.
    pub anchors: Units,
}

/// What things cost in a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    /// The overage rate; `None` where there was none in the whole period.
    pub rate: Option<Rate>,
    /// Minor units per anchor.
    pub anchor: u64,
    /// What amounts are in.
    pub currency: Currency,
}

impl Prices {
    /// The bill for the step from one total to a larger one.
    ///
    /// # Errors
    /// When an amount is too large.
    pub fn bill(&self, from: Billable, to: Billable) -> Result<Bill, Refusal> {
        let mut bill = Bill::default();
        if let Some(rate) = self.rate.as_ref().filter(|_| to.overage != from.overage) {
            let minor = rate
                .price_minor(to.overage)
                .checked_sub(rate.price_minor(from.overage))
                .ok_or(Refusal::TooLarge)?;
            let quantity = distance(from.overage, to.overage);
            let amount = Money::new(minor, self.currency);
            bill.lines.push(Line { kind: LineKind::Overage(rate.clone()), quantity, amount });
        }
        if self.anchor > 0 && to.anchors != from.anchors {
            let price = |count: Units| i128::from(count.get()).saturating_mul(i128::from(self.anchor));
            let minor = price(to.anchors).checked_sub(price(from.anchors)).ok_or(Refusal::TooLarge)?;
            let quantity = distance(from.anchors, to.anchors);
            let amount = Money::new(minor, self.currency);
            bill.lines.push(Line { kind: LineKind::Anchors(self.anchor), quantity, amount });
        }
        Ok(bill)
    }
}

impl Bill {
    /// The sum of the lines.
    ///
    /// # Errors
    /// When it is too large or a line is in another currency.
    pub fn total(&self, currency: Currency) -> Result<Money, Refusal> {
        self.lines
            .iter()
            .try_fold(Money::zero(currency), |sum, line| sum.checked_add(line.amount))
            .ok_or(Refusal::TooLarge)
    }
}

fn distance(a: Units, b: Units) -> Units {
    a.max(b).saturating_sub(a.min(b))
}
