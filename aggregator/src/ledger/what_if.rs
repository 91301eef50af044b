//! What if: what a month's units would have cost, and how many of them would have been served, on other terms.
//!
//! It is the month's own arithmetic (`allocation`, `bill`) with one thing changed: the terms and the overage that were
//! in force for the whole of the month. It is shown, never billed, and must never write anything.

use shared::time::Period;
use shared::units::Units;

use super::allocation::{Allocation, Sources, allocate};
use super::bill::{Bill, Billable, Prices};
use super::entry::{Account, LotId, OverageSetting, Usage};
use super::month::{Seen, paid_by_lots, periods, usable, walk};
use super::refusal::Refusal;
use super::state::Ledger;
use super::terms::PlanTerms;

/// Other terms for a whole month.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// The plan as it would have been.
    pub terms: &'a PlanTerms,
    /// The overage as it would have been set; terms that have none serve none.
    pub overage: OverageSetting,
}

/// What the month would have come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What would have paid for its units. Those that nothing pays for would have been refused.
    pub allocation: Allocation,
    /// What it would have cost beside the subscription.
    pub bill: Bill,
}

/// The month of `usage` on other terms, with the lots that the project had in it.
///
/// # Errors
/// When an amount is too large.
pub fn what_if(
    ledger: &Ledger,
    seen: Seen<'_>,
    period: Period,
    usage: Usage,
    draft: Draft<'_>,
) -> Result<Outcome, Refusal> {
    let rate = draft.terms.offered_rate();
    let overage = match (draft.overage, rate) {
        (OverageSetting::Off, _) | (_, None) => Some(Units::ZERO),
        (OverageSetting::On { cap: None }, Some(_)) => None,
        (OverageSetting::On { cap: Some(cap) }, Some(rate)) => rate.units_within(cap.as_cap()),
    };
    let sources = Sources { included: draft.terms.included, lots: lots_of(ledger, seen, period)?, overage };
    let allocation = allocate(usage.units, &sources);
    let prices =
        Prices { rate: rate.cloned(), anchor: draft.terms.anchor_price, currency: draft.terms.currency };
    let billable = Billable { overage: allocation.overage, anchors: usage.anchors };
    let bill = prices.bill(Billable::default(), billable)?;
    Ok(Outcome { allocation, bill })
}

/// The lots that a month could draw from: what is left of them without what the month itself, and those after it, took.
fn lots_of(ledger: &Ledger, seen: Seen<'_>, period: Period) -> Result<Vec<(LotId, Units)>, Refusal> {
    let (mut available, taken) = if ledger.closed(period).is_some() {
        let left = ledger.lots().keys().map(|id| (*id, ledger.units(Account::Lot(*id)))).collect();
        let closed = periods(period, ledger.first_open());
        (left, closed.flat_map(|closed| paid_by_lots(ledger, closed)).collect::<Vec<_>>())
    } else {
        let (month, left) = walk(ledger, seen, period)?;
        (left, month.allocation.lots)
    };
    for (lot, units) in taken {
        let left = available.entry(lot).or_default();
        *left = left.saturating_add(units);
    }
    Ok(usable(ledger, &available, period))
}
