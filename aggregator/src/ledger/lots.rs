//! Lots: top-ups bought, credits given, and what happens when a payment goes back.
//!
//! A lot never expires and survives plan changes (seed: "Top-ups roll over indefinitely"); nothing here
//! looks at plans. Refunds and disputes state how things stand now instead of what changed, so that
//! events may come twice and in any order (I5). A lot must never fall below zero: what was used before
//! it was refunded becomes a shortfall, and the next lot makes good for it (design §5).

use shared::time::Timestamp;
use shared::units::Units;

use super::close::at_rest;
use super::entry::{Account, Dispute, Fact, LotId, Posting};
use super::money::Money;
use super::month::{Seen, free};
use super::refusal::Refusal;
use super::state::{Ledger, Lot};

/// A paid order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// Our order's id; the same order is credited once.
    pub order: String,
    /// From our own order row, never from what an event says.
    pub units: Units,
    /// What was verified as paid.
    pub paid: Money,
    /// When it was paid, where that is known: the lot is there from then on, as far as that month is open.
    pub paid_at: Option<Timestamp>,
}

/// Whether top-up packs may be bought now. What was paid is credited whatever the plan is by then.
#[must_use]
pub fn may_buy(ledger: &Ledger, now: Timestamp) -> bool {
    ledger.timeline().terms_at(now).top_ups
}

/// Credits a paid order as a lot, and lets it make good for shortfalls, the oldest first; nothing where
/// the order was credited before.
///
/// # Errors
/// When the order was credited with other contents, has no units or no price, or was paid in another
/// currency than the ledger's.
pub fn buy(ledger: &Ledger, purchase: Purchase) -> Result<Vec<Posting>, Refusal> {
    let Purchase { order, units, paid, paid_at } = purchase;
    if let Some(lot) = ledger.lots().values().find(|lot| lot.order.as_ref() == Some(&order)) {
        let same = lot.units == units && lot.paid == Some(paid);
        return if same { Ok(vec![]) } else { Err(Refusal::OrderDiffers) };
    }
    if units == Units::ZERO {
        return Err(Refusal::NotPositive { field: "units" });
    }
    if paid.minor() <= 0 {
        return Err(Refusal::NotPositive { field: "paid" });
    }
    if paid.currency() != ledger.currency() {
        return Err(Refusal::CurrencyDiffers);
    }
    let id = LotId(ledger.next_number());
    let bought = Posting::of(Fact::LotBought { order, units, paid, paid_at });
    let mut postings = vec![bought.moving(Account::Origin(id), Account::Lot(id), units)];
    let mut left = units;
    for debtor in ledger.lots().keys() {
        let part = left.min(ledger.units(Account::Shortfall(*debtor)));
        left = left.saturating_sub(part);
        if part > Units::ZERO {
            let covered = Posting::of(Fact::ShortfallCovered { lot: *debtor, by: id });
            postings.push(covered.moving(Account::Lot(id), Account::Shortfall(*debtor), part));
        }
    }
    Ok(postings)
}

/// Gives units without payment; shortfalls do not bind them, because they are a kindness.
///
/// # Errors
/// When there are no units.
pub fn credit(ledger: &Ledger, units: Units, reason: String) -> Result<Vec<Posting>, Refusal> {
    if units == Units::ZERO {
        return Err(Refusal::NotPositive { field: "units" });
    }
    let id = LotId(ledger.next_number());
    let given = Posting::of(Fact::CreditGiven { units, reason });
    Ok(vec![given.moving(Account::Origin(id), Account::Lot(id), units)])
}

/// States how much of a lot's payment is refunded in all. A refund that failed lowers it again.
///
/// # Errors
/// When there is no such paid lot, or the amount is not within its price.
pub fn refund(ledger: &Ledger, seen: Seen<'_>, id: LotId, refunded: Money) -> Result<Vec<Posting>, Refusal> {
    let lot = ledger.lot(id)?;
    check_amount(id, lot, refunded)?;
    if lot.refunded.map_or(0, Money::minor) == refunded.minor() {
        return Ok(vec![]);
    }
    let changed = Lot { refunded: Some(refunded), ..lot.clone() };
    restate(ledger, seen, id, &changed, Posting::of(Fact::LotRefunded { lot: id, refunded }))
}

/// States how the dispute of a lot's payment stands: open freezes what is left of the lot, won or
/// withdrawn ([`Dispute::None`]) frees it, lost takes it back.
///
/// # Errors
/// When there is no such paid lot, or the amount is not within its price.
pub fn dispute(
    ledger: &Ledger,
    seen: Seen<'_>,
    id: LotId,
    dispute: Dispute,
) -> Result<Vec<Posting>, Refusal> {
    let lot = ledger.lot(id)?;
    if let Dispute::Lost(amount) = dispute {
        check_amount(id, lot, amount)?;
    }
    if lot.paid.is_none() {
        return Err(Refusal::NotPaid(id));
    }
    if lot.dispute == dispute {
        return Ok(vec![]);
    }
    let changed = Lot { dispute, ..lot.clone() };
    restate(ledger, seen, id, &changed, Posting::of(Fact::LotDisputed { lot: id, dispute }))
}

fn check_amount(id: LotId, lot: &Lot, amount: Money) -> Result<(), Refusal> {
    let paid = lot.paid.ok_or(Refusal::NotPaid(id))?;
    if amount.currency() != paid.currency() {
        return Err(Refusal::CurrencyDiffers);
    }
    if amount.minor() < 0 {
        return Err(Refusal::NotPositive { field: "amount" });
    }
    if amount.minor() > paid.minor() { Err(Refusal::MoreThanPaid(id)) } else { Ok(()) }
}

/// Units to be taken back in all: for refund and lost dispute of one payment the larger, not the sum.
///
/// Rounded down, so that nobody loses a unit that was paid for.
fn to_return(lot: &Lot) -> Units {
    let Some(paid) = lot.paid else { return Units::ZERO };
    let lost = match lot.dispute {
        Dispute::Lost(amount) => amount.minor(),
        Dispute::None | Dispute::Open => 0,
    };
    let back = lost.max(lot.refunded.map_or(0, Money::minor));
    let units = i128::from(lot.units.get()).saturating_mul(back).checked_div_euclid(paid.minor());
    Units::new(units.and_then(|units| u64::try_from(units).ok()).unwrap_or(0))
}

/// Brings the lot's accounts to what `changed` asks for.
fn restate(
    ledger: &Ledger,
    seen: Seen<'_>,
    id: LotId,
    changed: &Lot,
    mut posting: Posting,
) -> Result<Vec<Posting>, Refusal> {
    let target = to_return(changed);
    let returned = ledger.units(Account::Returned(id));
    let unspent = free(ledger, seen)?.get(&id).copied().unwrap_or_default();
    let frozen = ledger.units(Account::Frozen(id));
    let is_open = changed.dispute == Dispute::Open;
    let mut rest = Rest { unspent, frozen };
    let mut postings = Vec::new();
    if target >= returned {
        let mut owed = target.saturating_sub(returned);
        for from in [Account::Frozen(id), Account::Lot(id)] {
            let part = owed.min(rest.take_up_to(from, owed));
            owed = owed.saturating_sub(part);
            posting = posting.moving(from, Account::Returned(id), part);
        }
        if owed > Units::ZERO {
            let short = Posting::of(Fact::Shortfall { lot: id });
            postings.push(short.moving(Account::Shortfall(id), Account::Returned(id), owed));
        }
    } else {
        posting = give_back(ledger, id, returned.saturating_sub(target), is_open, posting);
    }
    posting = if is_open {
        posting.moving(Account::Lot(id), Account::Frozen(id), rest.unspent)
    } else {
        posting.moving(Account::Frozen(id), Account::Lot(id), rest.frozen)
    };
    postings.insert(0, posting);
    Ok(postings)
}

/// Takes back what a refunded lot has left after all, and writes it behind the last entry.
///
/// A shortfall counts units that the lot paid for; an upgrade of the same month may pay for them
/// instead, and then the lot holds units again whose price went back. They settle its own shortfall,
/// then what later lots made good for. Every write ends with this; it writes nothing where nothing is
/// to be settled.
///
/// # Errors
/// When an amount is too large.
pub fn reclaim(mut ledger: Ledger, seen: Seen<'_>) -> Result<Ledger, Refusal> {
    // Each round settles a lot as far as it goes; a lot that is paid back may owe in its turn, and is
    // always younger than the one that pays it.
    for _ in 0..=ledger.lots().len() {
        let left = free(&ledger, seen)?;
        let due = ledger.lots().keys().find_map(|id| settle_own(&ledger, *id, *left.get(id)?));
        let Some(posting) = due else { break };
        ledger = ledger.append(seen.now, vec![posting])?;
    }
    Ok(ledger)
}

fn settle_own(ledger: &Ledger, id: LotId, mut left: Units) -> Option<Posting> {
    let mut posting = Posting::of(Fact::ShortfallCovered { lot: id, by: id });
    let own = (Account::Shortfall(id), ledger.units(Account::Shortfall(id)));
    let payers = ledger.covers(id).map(|(payer, part)| (at_rest(ledger, payer), part));
    for (to, most) in std::iter::once(own).chain(payers) {
        let part = left.min(most);
        left = left.saturating_sub(part);
        posting = posting.moving(Account::Lot(id), to, part);
    }
    (!posting.movements.is_empty()).then_some(posting)
}

/// What of a lot nobody has spent.
struct Rest {
    unspent: Units,
    frozen: Units,
}

impl Rest {
    fn take_up_to(&mut self, from: Account, most: Units) -> Units {
        let source = if matches!(from, Account::Frozen(_)) { &mut self.frozen } else { &mut self.unspent };
        let part = most.min(*source);
        *source = source.saturating_sub(part);
        part
    }
}

/// Undoes what was returned: first the shortfall that is still open, then the lot's own units, then
/// what later lots made good for, the youngest of them first.
fn give_back(ledger: &Ledger, id: LotId, units: Units, is_open: bool, mut posting: Posting) -> Posting {
    let returned = Account::Returned(id);
    let open = ledger.units(Account::Shortfall(id));
    let covered = ledger.covers(id).fold(Units::ZERO, |sum, (_, part)| sum.saturating_add(part));
    let own = ledger.units(returned).saturating_sub(open).saturating_sub(covered);
    let own_account = if is_open { Account::Frozen(id) } else { Account::Lot(id) };
    let mut targets = vec![(Account::Shortfall(id), open), (own_account, own)];
    for (payer, part) in ledger.covers(id) {
        // A payer that was refunded meanwhile owes what it gave away: that is made good first.
        let owed = part.min(ledger.units(Account::Shortfall(payer)));
        targets.push((Account::Shortfall(payer), owed));
        targets.push((at_rest(ledger, payer), part.saturating_sub(owed)));
    }
    let mut left = units;
    for (to, most) in targets {
        let part = left.min(most);
        left = left.saturating_sub(part);
        posting = posting.moving(returned, to, part);
    }
    posting
}
