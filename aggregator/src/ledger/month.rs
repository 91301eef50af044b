//! A month's figures, provisional or closed.
//!
//! While a month is open its figures are computed exactly as its close will compute them (design §5:
//! "Until then figures are provisional and computed the same way"). Months that are open together are
//! walked in order, because what an earlier one takes from a lot is not there for the next.

use std::collections::BTreeMap;

use shared::time::{Period, Timestamp};
use shared::units::Units;

use super::allocation::{Allocation, Sources, allocate};
use super::bill::{Bill, Billable};
use super::entry::{Account, Fact, LotId, Usage};
use super::refusal::Refusal;
use super::state::Ledger;
use super::timeline::Ceiling;

/// What is known beside the entries: the sums of the live cells, and the time.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The usage of each period that has any.
    pub totals: &'a BTreeMap<Period, Usage>,
    /// The present instant, by the aggregator's clock.
    pub now: Timestamp,
}

impl Seen<'_> {
    /// The usage of a period.
    #[must_use]
    pub fn usage(&self, period: Period) -> Usage {
        self.totals.get(&period).copied().unwrap_or_default()
    }

    /// The last period that anything is known of.
    fn last(&self) -> Period {
        let present = self.now.period();
        self.totals.last_key_value().map_or(present, |(period, _)| present.max(*period))
    }
}

/// What a month used, what paid for it and what it costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Month {
    /// Which month.
    pub period: Period,
    /// The units of its quota.
    pub quota: Units,
    /// The version of its quota.
    pub quota_version: u32,
    /// What was counted; after a correction more than what is allocated.
    pub counted: Usage,
    /// What pays for it; the contracted minimum's units are part of the overage.
    pub allocation: Allocation,
    /// Everything that the month costs beside subscriptions and packs, adjustments included.
    pub bill: Bill,
    /// Whether the month is still open.
    pub provisional: bool,
}

/// The figures of a period, which may be open, closed or yet to come.
///
/// # Errors
/// When an amount is too large.
pub fn month(ledger: &Ledger, seen: Seen<'_>, period: Period) -> Result<Month, Refusal> {
    if ledger.closed(period).is_some() {
        return Ok(recorded(ledger, period));
    }
    walk(ledger, seen, period).map(|(month, _)| month)
}

/// The figures of an open period, and what it and the open ones before it leave of the lots.
pub(super) fn walk(
    ledger: &Ledger,
    seen: Seen<'_>,
    period: Period,
) -> Result<(Month, BTreeMap<LotId, Units>), Refusal> {
    let seen = Seen { now: ledger.held(seen.now), ..seen };
    let mut available = balances(ledger);
    // Months that nobody has reached yet have used nothing.
    for open in open_until(ledger, period.min(seen.last().next())) {
        settle(ledger, seen, open, &mut available)?;
    }
    let month = settle(ledger, seen, period, &mut available)?;
    Ok((month, available))
}

/// What is left of each lot once all open months have taken their provisional part.
///
/// # Errors
/// When an amount is too large.
pub fn free(ledger: &Ledger, seen: Seen<'_>) -> Result<BTreeMap<LotId, Units>, Refusal> {
    let seen = Seen { now: ledger.held(seen.now), ..seen };
    let mut available = balances(ledger);
    for open in open_until(ledger, seen.last().next()) {
        settle(ledger, seen, open, &mut available)?;
    }
    Ok(available)
}

/// The open periods before `end`, the oldest first.
fn open_until(ledger: &Ledger, end: Period) -> impl Iterator<Item = Period> {
    periods(ledger.first_open(), end)
}

/// The periods from `first` up to, but not including, `end`.
pub(super) fn periods(first: Period, end: Period) -> impl Iterator<Item = Period> {
    let following = |period: &Period| Some(period.next()).filter(|next| next != period);
    std::iter::successors(Some(first), following).take_while(move |period| *period < end)
}

/// What each lot holds by the entries alone.
fn balances(ledger: &Ledger) -> BTreeMap<LotId, Units> {
    ledger.lots().keys().map(|id| (*id, ledger.units(Account::Lot(*id)))).collect()
}

/// How many units of overage a period may have had.
pub(super) fn overage_room(ledger: &Ledger, period: Period, now: Timestamp) -> Option<Units> {
    let timeline = ledger.timeline();
    match (timeline.ceiling(period, now), timeline.prices(period, now).rate) {
        (Ceiling::Closed, _) | (_, None) => Some(Units::ZERO),
        (Ceiling::Open, Some(_)) => None,
        (Ceiling::Capped(cap), Some(rate)) => rate.units_within(cap.as_cap()),
    }
}

/// The lots that may pay for a period: those credited before it ended (design §5: "later lots … of the
/// same month cover it").
pub(super) fn usable(
    ledger: &Ledger,
    available: &BTreeMap<LotId, Units>,
    period: Period,
) -> Vec<(LotId, Units)> {
    let in_time = |id: &LotId| ledger.lots().get(id).is_some_and(|lot| lot.since < period.end());
    available.iter().filter(|(id, _)| in_time(id)).map(|(id, units)| (*id, *units)).collect()
}

/// Allocates one open month and takes its part from the lots.
fn settle(
    ledger: &Ledger,
    seen: Seen<'_>,
    period: Period,
    available: &mut BTreeMap<LotId, Units>,
) -> Result<Month, Refusal> {
    let counted = seen.usage(period);
    let quota = ledger.timeline().quota(period, seen.now);
    let sources = Sources {
        included: quota.included(),
        lots: usable(ledger, available, period),
        overage: overage_room(ledger, period, seen.now),
    };
    let allocation = allocate(counted.units, &sources);
    for (id, units) in &allocation.lots {
        let left = available.entry(*id).or_default();
        *left = left.saturating_sub(*units);
    }
    let billable = Billable { overage: allocation.overage, anchors: counted.anchors };
    let bill = ledger.timeline().prices(period, seen.now).bill(Billable::default(), billable)?;
    Ok(Month {
        period,
        quota: quota.included(),
        quota_version: quota.version,
        counted,
        allocation,
        bill,
        provisional: true,
    })
}

/// A closed month as its entries tell it.
fn recorded(ledger: &Ledger, period: Period) -> Month {
    let quota = ledger.timeline().quota(period, period.end());
    let counted = ledger.closed(period).map(|closed| closed.counted).unwrap_or_default();
    let drawn = |account: Account| ledger.units(account);
    let mut bill = Bill::default();
    for part in ledger.entries().iter().filter_map(|entry| bill_of(&entry.fact, period)) {
        bill.lines.extend(part.lines.iter().cloned());
    }
    Month {
        period,
        quota: quota.included(),
        quota_version: quota.version,
        counted,
        allocation: Allocation {
            included: drawn(Account::Included(period)),
            lots: paid_by_lots(ledger, period),
            overage: drawn(Account::Overage(period)).saturating_add(drawn(Account::Minimum(period))),
            uncovered: drawn(Account::Uncovered(period)),
        },
        bill,
        provisional: false,
    }
}

/// What an entry bills, or takes off the bill, of a period.
pub(super) fn bill_of(fact: &Fact, period: Period) -> Option<&Bill> {
    if let Fact::PeriodClosed { period: of, bill, .. }
    | Fact::Adjustment { period: of, bill, .. }
    | Fact::Corrected { period: of, bill, .. } = fact
    {
        return (*of == period).then_some(bill);
    }
    None
}

/// What each lot has paid for a closed period, corrections taken off.
pub(super) fn paid_by_lots(ledger: &Ledger, period: Period) -> Vec<(LotId, Units)> {
    let used = Account::Used(period);
    let mut paid: BTreeMap<LotId, Units> = BTreeMap::new();
    for movement in ledger.entries().iter().flat_map(|entry| &entry.movements) {
        match (movement.from, movement.to) {
            (Account::Lot(id), to) if to == used => {
                let sum = paid.entry(id).or_default();
                *sum = sum.saturating_add(movement.units);
            }
            (from, Account::Lot(id) | Account::Frozen(id) | Account::Shortfall(id)) if from == used => {
                let sum = paid.entry(id).or_default();
                *sum = sum.saturating_sub(movement.units);
            }
            _ => {}
        }
    }
    paid.into_iter().filter(|(_, units)| *units > Units::ZERO).collect()
}
