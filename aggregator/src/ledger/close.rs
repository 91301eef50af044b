//! Closing a period, and what may still happen to it afterwards.
//!
//! A period is allocated once (design §5). Whatever comes later is a further entry: a numbered
//! adjustment for late cells, a correction for what the operator takes back. Neither ever changes the
//! entry of the close.

use shared::time::{Period, Timestamp};
use shared::units::Units;

use super::allocation::{Allocation, Sources, allocate};
use super::bill::Billable;
use super::entry::{Account, Dispute, Fact, LotId, Posting};
use super::month::{Seen, free, month, overage_room, paid_by_lots, usable};
use super::refusal::Refusal;
use super::state::Ledger;

/// How long after a month's end its homes and reporters may take to say that they are final (design
/// §5: "at most 72 h after the month's end").
pub const CLOSE_WITHIN_MS: u64 = 72 * 60 * 60 * 1_000;

/// The instant at which a period is closed even if not every home has said that it is final.
#[must_use]
pub fn closes_by(period: Period) -> Timestamp {
    period.end().plus_ms(CLOSE_WITHIN_MS)
}

/// What is known beside the cells when a period closes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Final {
    /// Units that homes issued and that dead holders never settled.
    pub forfeited: Units,
    /// The contracted minimum, prorated, where the 72-hour rule makes it the floor; else zero.
    pub floor: Units,
}

/// Closes a period: the included quota of its largest plan, lots oldest first, then overage.
///
/// # Errors
/// When it is not the next to close, has not ended, or an amount is too large.
pub fn close(ledger: &Ledger, seen: Seen<'_>, period: Period, last: Final) -> Result<Vec<Posting>, Refusal> {
    let next = ledger.first_open();
    if period != next {
        return Err(Refusal::NotNext { got: period, next });
    }
    if seen.now < period.end() {
        return Err(Refusal::NotEnded { period, now: seen.now });
    }
    let month = month(ledger, seen, period)?;
    let lacking = last.floor.saturating_sub(month.counted.units);
    let of_quota = lacking.min(month.quota.saturating_sub(month.allocation.included));
    let minimum = lacking.saturating_sub(of_quota);
    let overage = month.allocation.overage.checked_add(minimum).ok_or(Refusal::TooLarge)?;
    let prices = ledger.timeline().prices(period, seen.now);
    let bill = prices.bill(Billable::default(), Billable { overage, anchors: month.counted.anchors })?;
    let fact = Fact::PeriodClosed { period, counted: month.counted, floor: last.floor, bill };
    let closed = use_up(Posting::of(fact), period, &month.allocation)
        .moving(Account::Included(period), Account::Used(period), of_quota)
        .moving(Account::Minimum(period), Account::Used(period), minimum);
    let mut postings = vec![closed];
    if last.forfeited > Units::ZERO {
        postings.push(Posting::of(Fact::ForfeitReleased { period, units: last.forfeited }));
    }
    Ok(postings)
}

/// Takes in cells that came after the close, as an adjustment with a number of its own; nothing where
/// nothing came.
///
/// Late units take what is left of the month's quota, then what no open month needs of the lots, then
/// overage where the month had it. What the customer never agreed to pay for is not billed.
///
/// # Errors
/// When the period is open, its cells show less than before, or an amount is too large.
pub fn adjust(ledger: &Ledger, seen: Seen<'_>, period: Period) -> Result<Vec<Posting>, Refusal> {
    let closed = *ledger.closed(period).ok_or(Refusal::NotClosed(period))?;
    let counted = seen.usage(period);
    if counted == closed.counted {
        return Ok(vec![]);
    }
    if counted.units < closed.counted.units || counted.anchors < closed.counted.anchors {
        return Err(Refusal::TotalFell { period, counted: closed.counted.units, got: counted.units });
    }
    let billed = |units: Units| units.max(closed.floor);
    let late = billed(counted.units).saturating_sub(billed(closed.counted.units));
    let drawn = |account: Account| ledger.units(account);
    let quota = ledger.timeline().quota(period, seen.now).included();
    let sources = Sources {
        included: quota.saturating_sub(drawn(Account::Included(period))),
        lots: usable(ledger, &free(ledger, seen)?, period),
        overage: overage_room(ledger, period, seen.now)
            .map(|room| room.saturating_sub(drawn(Account::Overage(period)))),
    };
    let allocation = allocate(late, &sources);
    let before = billed_overage(ledger, period)?;
    let overage = before.checked_add(allocation.overage).ok_or(Refusal::TooLarge)?;
    let bill = ledger.timeline().prices(period, seen.now).bill(
        Billable { overage: before, anchors: closed.counted.anchors },
        Billable { overage, anchors: counted.anchors },
    )?;
    let number = closed.adjustments.checked_add(1).ok_or(Refusal::TooLarge)?;
    let fact = Fact::Adjustment { period, number, counted, bill };
    Ok(vec![use_up(Posting::of(fact), period, &allocation)])
}

/// Takes units of a closed period back, in the opposite order of the allocation.
///
/// That is: what nothing covered, the minimum, overage, the youngest lot first, the quota last. The
/// waiver of a contracted minimum is such a correction too.
///
/// # Errors
/// When the period is open, has used less, or an amount is too large.
pub fn correct(
    ledger: &Ledger,
    period: Period,
    units: Units,
    reason: String,
) -> Result<Vec<Posting>, Refusal> {
    let closed = ledger.closed(period).ok_or(Refusal::NotClosed(period))?;
    if units == Units::ZERO {
        return Err(Refusal::NotPositive { field: "units" });
    }
    let used = ledger.units(Account::Used(period));
    if units > used {
        return Err(Refusal::MoreThanUsed { period, used, got: units });
    }
    let mut left = units;
    let mut back = Vec::new();
    let mut give = |account: Account, most: Units| {
        let part = left.min(most);
        left = left.saturating_sub(part);
        back.push((account, part));
        part
    };
    for source in [Account::Uncovered(period), Account::Minimum(period), Account::Overage(period)] {
        give(source, ledger.units(source));
    }
    for (id, paid) in paid_by_lots(ledger, period).into_iter().rev() {
        let owed = give(Account::Shortfall(id), paid.min(ledger.units(Account::Shortfall(id))));
        give(at_rest(ledger, id), paid.saturating_sub(owed));
    }
    give(Account::Included(period), ledger.units(Account::Included(period)));
    let was_billed = |account: &Account| matches!(account, Account::Minimum(_) | Account::Overage(_));
    let unbilled = back
        .iter()
        .filter(|(account, _)| was_billed(account))
        .fold(Units::ZERO, |sum, (_, part)| sum.saturating_add(*part));
    let before = billed_overage(ledger, period)?;
    let overage = before.saturating_sub(unbilled);
    let anchors = closed.counted.anchors;
    let bill = ledger
        .timeline()
        .prices(period, period.end())
        .bill(Billable { overage: before, anchors }, Billable { overage, anchors })?;
    let posting = Posting::of(Fact::Corrected { period, reason, bill });
    let used = Account::Used(period);
    Ok(vec![back.into_iter().fold(posting, |posting, (to, part)| posting.moving(used, to, part))])
}

/// Where units of a lot lie that nobody spends: frozen while its payment is disputed.
pub(super) fn at_rest(ledger: &Ledger, id: LotId) -> Account {
    match ledger.lots().get(&id).map(|lot| lot.dispute) {
        Some(Dispute::Open) => Account::Frozen(id),
        Some(Dispute::None | Dispute::Lost(_)) | None => Account::Lot(id),
    }
}

fn billed_overage(ledger: &Ledger, period: Period) -> Result<Units, Refusal> {
    let drawn = |account: Account| ledger.units(account);
    drawn(Account::Overage(period)).checked_add(drawn(Account::Minimum(period))).ok_or(Refusal::TooLarge)
}

fn use_up(posting: Posting, period: Period, allocation: &Allocation) -> Posting {
    let used = Account::Used(period);
    let posting = posting.moving(Account::Included(period), used, allocation.included);
    let posting = allocation
        .lots
        .iter()
        .fold(posting, |posting, (id, units)| posting.moving(Account::Lot(*id), used, *units));
    posting.moving(Account::Overage(period), used, allocation.overage).moving(
        Account::Uncovered(period),
        used,
        allocation.uncovered,
    )
}
