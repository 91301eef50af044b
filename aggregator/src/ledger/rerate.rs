//! A closed month under a draft of the plans: what it came to, and what it would have.
//!
//! Whatever was in force in the month goes on to be: its largest plan's quota, the rate of the last plan that had one,
//! the largest overage that was allowed. Only what these plans give and cost is the draft's. A draft that changes nothing
//! changes no amount.

use shared::plan::Plan;
use shared::time::Period;
use shared::units::Units;

use super::entry::{OverageSetting, Usage};
use super::money::Money;
use super::month::{Month, Seen, month};
use super::refusal::Refusal;
use super::state::Ledger;
use super::terms::PlanTerms;
use super::timeline::Ceiling;
use super::what_if::{Draft, what_if};

/// A month, as it was and as it would have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rerated {
    /// The month's largest plan.
    pub plan: Plan,
    /// The version of the catalogue that its terms are of.
    pub catalogue: u32,
    /// As it was.
    pub before: Side,
    /// As it would have been.
    pub after: Side,
}

/// One side of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    /// What the month comes to beside its subscription.
    pub cost: Money,
    /// Units that lots pay for, which somebody has paid before.
    pub from_lots: Units,
    /// Units that nothing pays for: they were served, and on those terms they would have been refused.
    pub unpaid: Units,
}

/// A closed month under other terms; `None` where it is not closed, or invoiced by a contract.
///
/// # Errors
/// When the draft lacks a plan or an amount is too large.
pub fn rerate(
    ledger: &Ledger,
    seen: Seen<'_>,
    period: Period,
    terms: impl Fn(Plan) -> Result<PlanTerms, Refusal>,
) -> Result<Option<Rerated>, Refusal> {
    let timeline = ledger.timeline();
    if ledger.closed(period).is_none() || timeline.is_contracted(period) {
        return Ok(None);
    }
    let Month { counted, allocation, bill, .. } = month(ledger, seen, period)?;
    let largest = timeline.quota(period, period.end()).terms;
    let mut draft = terms(largest.plan)?;
    if let Some(rated) = timeline.rated_plan(period, period.end()).filter(|plan| *plan != largest.plan) {
        let rated = terms(rated)?;
        draft = PlanTerms { overage: rated.overage, rate: rated.rate, ..draft };
    }
    let overage = match timeline.ceiling(period, period.end()) {
        Ceiling::Closed => OverageSetting::Off,
        Ceiling::Capped(cap) => OverageSetting::On { cap: Some(cap) },
        Ceiling::Open => OverageSetting::On { cap: None },
    };
    // What a correction took off the bill stays off.
    let units = [allocation.included, allocation.of_lots(), allocation.overage, allocation.uncovered];
    let units = units.into_iter().fold(Units::ZERO, Units::saturating_add);
    let usage = Usage { units, anchors: counted.anchors };
    let came = what_if(ledger, seen, period, usage, Draft { terms: &draft, overage })?;
    let side = |bill: &super::bill::Bill, allocation: &super::allocation::Allocation| {
        Ok::<_, Refusal>(Side {
            cost: bill.total(largest.currency)?,
            from_lots: allocation.of_lots(),
            unpaid: allocation.uncovered,
        })
    };
    Ok(Some(Rerated {
        plan: largest.plan,
        catalogue: largest.catalogue,
        before: side(&bill, &allocation)?,
        after: side(&came.bill, &came.allocation)?,
    }))
}
