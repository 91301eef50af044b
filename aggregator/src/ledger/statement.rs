//! Statements: which source paid for what, for the top-up history and the invoice.
//!
//! A statement only retells entries and the month's figures; it must never compute a figure of its own.

use schemars::JsonSchema;
use serde::Serialize;
use shared::plan::Plan;
use shared::time::{Period, Timestamp};
use shared::units::Units;

use super::bill::Bill;
use super::entry::{Account, Entry, EntryNumber, Fact, LotId, Movement, Usage};
use super::money::Money;
use super::month::{Month, Seen, free, month};
use super::refusal::Refusal;
use super::state::Ledger;

/// A month's statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Statement {
    /// Which month.
    pub period: Period,
    /// Whether its figures may still change.
    pub provisional: bool,
    /// The largest plan in force in it.
    pub plan: Plan,
    /// The version of the catalogue that the plan's terms are of.
    pub catalogue: u32,
    /// The units of its quota: the largest that was in force in it.
    pub quota: Units,
    /// What was counted.
    pub counted: Usage,
    /// Units that the quota paid for.
    pub included: Units,
    /// What the lots paid for, the oldest first.
    pub lots: Vec<LotPart>,
    /// Units of overage.
    pub overage: Units,
    /// Units that nothing paid for, and that are not billed.
    pub uncovered: Units,
    /// What it costs beside subscriptions and packs.
    pub bill: Bill,
    /// The sum of the bill.
    pub total: Money,
}

/// What a lot paid for in a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LotPart {
    /// Which lot.
    pub lot: LotId,
    /// How many units it paid for.
    pub units: Units,
    /// What is left of it now, all open months taken off.
    pub left: Units,
}

/// The statement of a month.
///
/// # Errors
/// When an amount is too large.
pub fn statement(ledger: &Ledger, seen: Seen<'_>, period: Period) -> Result<Statement, Refusal> {
    let Month { quota, counted, allocation, bill, provisional, .. } = month(ledger, seen, period)?;
    let largest = ledger.timeline().quota(period, seen.now).terms;
    let left = free(ledger, seen)?;
    let part = |(lot, units): &(LotId, Units)| LotPart {
        lot: *lot,
        units: *units,
        left: left.get(lot).copied().unwrap_or_default(),
    };
    Ok(Statement {
        period,
        provisional,
        plan: largest.plan,
        catalogue: largest.catalogue,
        quota,
        counted,
        included: allocation.included,
        lots: allocation.lots.iter().map(part).collect(),
        overage: allocation.overage,
        uncovered: allocation.uncovered,
        total: bill.total(largest.currency)?,
        bill,
    })
}

/// One line of a lot's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LotEvent {
    /// The entry that tells of it.
    pub entry: EntryNumber,
    /// When it was written.
    pub at: Timestamp,
    /// What happened.
    pub fact: Fact,
    /// The movements that touched the lot.
    pub movements: Vec<Movement>,
}

/// Everything that ever happened to a lot, the oldest first.
#[must_use]
pub fn lot_history(ledger: &Ledger, lot: LotId) -> Vec<LotEvent> {
    let of_lot = |account: Account| match account {
        Account::Origin(id)
        | Account::Lot(id)
        | Account::Frozen(id)
        | Account::Returned(id)
        | Account::Shortfall(id) => id == lot,
        Account::Included(_)
        | Account::Overage(_)
        | Account::Minimum(_)
        | Account::Uncovered(_)
        | Account::Used(_) => false,
    };
    let event = |entry: &Entry| {
        let touches = |movement: &&Movement| of_lot(movement.from) || of_lot(movement.to);
        let movements: Vec<Movement> = entry.movements.iter().filter(touches).copied().collect();
        (!movements.is_empty()).then(|| LotEvent {
            entry: entry.number,
            at: entry.at,
            fact: entry.fact.clone(),
            movements,
        })
    };
    ledger.entries().iter().filter_map(event).collect()
}
