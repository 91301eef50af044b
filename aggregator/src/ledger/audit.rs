//! The audit (I12): debits equal credits, lots are never below zero, replaying entries and cells gives
//! the same balances, and a billed figure never falls silently.
//!
//! It trusts nothing that is derived: it replays the entries, decides every close again, and compares.
//! It reports and never repairs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use shared::time::Period;
use shared::units::Units;

use super::close::{Final, close};
use super::entry::{Account, Entry, EntryNumber, Fact, Usage};
use super::month::{Seen, overage_room, periods};
use super::refusal::Refusal;
use super::state::Ledger;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The entries are not a ledger.
    Broken(String),
    /// Debits and credits differ by this much.
    Unbalanced(String),
    /// Balances that are kept differ from those that the entries give.
    BalanceDiffers(Account),
    /// A close is not what its cells give.
    CloseDiffers(EntryNumber),
    /// A bill fell without a correction.
    FellSilently(EntryNumber),
    /// Adjustments of a period are not numbered 1, 2, 3 …
    Misnumbered(EntryNumber),
    /// A period drew more than its quota.
    QuotaExceeded(Period),
    /// A period has more overage than was ever allowed in it.
    OverageExceeded(Period),
    /// A closed period's units are not what was counted less what was corrected.
    UsedDiffers(Period),
    /// Cells show less than was billed: some were lost.
    CellsBelowBilled(Period),
}

/// Audits a project's entries, the balances that are kept of them, and its cells. Nothing found is a
/// clean ledger.
#[must_use]
pub fn audit(
    entries: &[Entry],
    kept: &BTreeMap<Account, i128>,
    totals: &BTreeMap<Period, Usage>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sum = kept.values().try_fold(0_i128, |sum, balance| sum.checked_add(*balance));
    if sum != Some(0) {
        findings.push(Finding::Unbalanced(sum.map_or_else(|| "too much".to_owned(), |sum| sum.to_string())));
    }
    let replayed = match replay(entries, &mut findings) {
        Ok(replayed) => replayed,
        Err(refusal) => {
            findings.push(Finding::Broken(refusal.to_string()));
            return findings;
        }
    };
    let accounts: BTreeSet<Account> = kept.keys().chain(replayed.balances().keys()).copied().collect();
    for account in accounts {
        if kept.get(&account).copied().unwrap_or(0) != replayed.balance(account) {
            findings.push(Finding::BalanceDiffers(account));
        }
    }
    let first = entries.first().map_or_else(|| replayed.first_open(), |entry| entry.at.period());
    for period in periods(first, replayed.first_open()) {
        check_closed(&replayed, period, totals, &mut findings);
    }
    findings
}

/// Replays entry by entry, and decides every close again from what came before it.
fn replay(entries: &[Entry], findings: &mut Vec<Finding>) -> Result<Ledger, Refusal> {
    let (first, rest) = entries.split_first().ok_or(Refusal::NotOpened)?;
    let mut ledger = Ledger::replay(vec![first.clone()])?;
    for entry in rest {
        check_entry(&ledger, entry, findings)?;
        ledger = ledger.extend(entry.clone())?;
    }
    Ok(ledger)
}

fn check_entry(before: &Ledger, entry: &Entry, findings: &mut Vec<Finding>) -> Result<(), Refusal> {
    match &entry.fact {
        Fact::PeriodClosed { period, counted, floor, bill } => {
            let totals = BTreeMap::from([(*period, *counted)]);
            let seen = Seen { totals: &totals, now: entry.at };
            let again = close(before, seen, *period, Final { forfeited: Units::ZERO, floor: *floor })?;
            let same = again
                .first()
                .is_some_and(|again| again.fact == entry.fact && again.movements == entry.movements);
            if !same {
                findings.push(Finding::CloseDiffers(entry.number));
            }
            if bill.lines.iter().any(|line| line.amount.minor() < 0) {
                findings.push(Finding::FellSilently(entry.number));
            }
        }
        Fact::Adjustment { period, number, bill, counted } => {
            let closed = before.closed(*period).ok_or(Refusal::NotClosed(*period))?;
            if closed.adjustments.checked_add(1) != Some(*number) {
                findings.push(Finding::Misnumbered(entry.number));
            }
            let fell = counted.units < closed.counted.units || counted.anchors < closed.counted.anchors;
            if fell || bill.lines.iter().any(|line| line.amount.minor() < 0) {
                findings.push(Finding::FellSilently(entry.number));
            }
        }
        Fact::Opened(_)
        | Fact::PlanChanged { .. }
        | Fact::OverageChanged(_)
        | Fact::PastDue { .. }
        | Fact::Recovered
        | Fact::RecoveredAt { .. }
        | Fact::Suspended { .. }
        | Fact::Resumed
        | Fact::LotBought { .. }
        | Fact::CreditGiven { .. }
        | Fact::LotRefunded { .. }
        | Fact::LotDisputed { .. }
        | Fact::Shortfall { .. }
        | Fact::ShortfallCovered { .. }
        | Fact::ForfeitReleased { .. }
        | Fact::Corrected { .. } => {}
    }
    Ok(())
}

fn check_closed(
    ledger: &Ledger,
    period: Period,
    totals: &BTreeMap<Period, Usage>,
    findings: &mut Vec<Finding>,
) {
    let Some(closed) = ledger.closed(period) else { return };
    let drawn = |account: Account| ledger.units(account);
    let end = period.end();
    if drawn(Account::Included(period)) > ledger.timeline().quota(period, end).included() {
        findings.push(Finding::QuotaExceeded(period));
    }
    let room = overage_room(ledger, period, end);
    if room.is_some_and(|room| drawn(Account::Overage(period)) > room) {
        findings.push(Finding::OverageExceeded(period));
    }
    let billed = closed.counted.units.max(closed.floor);
    if drawn(Account::Used(period)).checked_add(corrected(ledger, period)) != Some(billed) {
        findings.push(Finding::UsedDiffers(period));
    }
    let cells = totals.get(&period).copied().unwrap_or_default();
    if cells.units < closed.counted.units || cells.anchors < closed.counted.anchors {
        findings.push(Finding::CellsBelowBilled(period));
    }
}

/// Units that corrections took back from a period.
fn corrected(ledger: &Ledger, period: Period) -> Units {
    let movements = ledger.entries().iter().flat_map(|entry| &entry.movements);
    movements
        .filter(|movement| movement.from == Account::Used(period))
        .fold(Units::ZERO, |sum, movement| sum.saturating_add(movement.units))
}
