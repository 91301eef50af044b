//! Explanations: why a request is denied, and why a month is billed, as data.
//!
//! Both name what they rest on: the figures of the month, and the numbers of the entries.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use shared::plan::Plan;
use shared::policy::{Overage, Status};
use shared::time::{Period, Timestamp};
use shared::units::Units;

use super::bill::Bill;
use super::entry::{Account, Entry, EntryNumber, Fact, Movement};
use super::month::{Seen, bill_of, walk};
use super::parts::overage;
use super::refusal::Refusal;
use super::state::Ledger;
use super::timeline::OverageState;

/// Why there is no overage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoOverage {
    /// The plan has none.
    NotOffered,
    /// It is not turned on.
    Off,
    /// A payment is overdue.
    PastDue,
    /// The month's spending cap is used up.
    CapReached,
}

/// What would happen to the next request, as the ledger knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The project is suspended.
    Suspended,
    /// Quota, lots and overage are used up.
    QuotaExhausted(NoOverage),
    /// So many units are left; `None` is without a limit.
    Served(Option<Units>),
}

/// Where a project stands, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The present period.
    pub period: Period,
    /// When its counters begin anew.
    pub resets_at: Timestamp,
    /// The plan in force.
    pub plan: Plan,
    /// The quota that is enforced: the project's own where it has one, else the month's largest.
    pub quota: Units,
    /// The quota that the month is billed by: the largest that was in force in it.
    pub billed_quota: Units,
    /// Units counted so far.
    pub used: Units,
    /// What the lots have left for this month.
    pub lots_left: Units,
    /// What the enforced quota and the lots have left.
    pub left: Units,
    /// What would happen to the next request.
    pub verdict: Verdict,
    /// The entries that plan and standing rest on: the last ones that moved nothing but the rules.
    pub rests_on: Vec<EntryNumber>,
}

/// Why the next request would be denied, if it would. `own` is the project's own quota, which the edge enforces
/// whatever the month is billed by: an operator who lowers it means it to hold now.
///
/// # Errors
/// When an amount is too large.
pub fn standing(ledger: &Ledger, seen: Seen<'_>, own: Option<Units>) -> Result<Standing, Refusal> {
    let seen = Seen { now: ledger.held(seen.now), ..seen };
    let period = seen.now.period();
    let (now, available) = walk(ledger, seen, period)?;
    let timeline = ledger.timeline();
    let lots_left = available.into_values().fold(Units::ZERO, Units::saturating_add);
    let (quota, used) = (own.unwrap_or(now.quota), now.counted.units);
    // As a home counts: all that may be spent, less what was, whichever source the books say paid for it.
    let allowance = quota.saturating_add(lots_left).saturating_add(now.allocation.of_lots());
    let left = allowance.saturating_sub(used);
    let state = timeline.overage_at(seen.now);
    let verdict = if timeline.status_at(seen.now) == Status::Suspended {
        Verdict::Suspended
    } else {
        match (overage(state.clone()), no_overage(&state)) {
            (Overage::Open, _) => Verdict::Served(None),
            (Overage::Capped { units }, _) => {
                let total = allowance.saturating_add(units).saturating_sub(used);
                if total == Units::ZERO {
                    Verdict::QuotaExhausted(NoOverage::CapReached)
                } else {
                    Verdict::Served(Some(total))
                }
            }
            (Overage::Stop, why) if left == Units::ZERO => Verdict::QuotaExhausted(why),
            (Overage::Stop, _) => Verdict::Served(Some(left)),
        }
    };
    Ok(Standing {
        period,
        resets_at: period.end(),
        plan: timeline.terms_at(seen.now).plan,
        quota,
        billed_quota: now.quota,
        used,
        lots_left,
        left,
        verdict,
        rests_on: rules(ledger),
    })
}

/// The reason that goes with a stop.
fn no_overage(state: &OverageState) -> NoOverage {
    match state {
        OverageState::NotOffered => NoOverage::NotOffered,
        OverageState::Off => NoOverage::Off,
        OverageState::PastDue => NoOverage::PastDue,
        OverageState::On { .. } => NoOverage::CapReached,
    }
}

/// The last entry of each kind that sets a rule.
fn rules(ledger: &Ledger) -> Vec<EntryNumber> {
    let rule = |fact: &Fact| match fact {
        Fact::Opened(_) | Fact::PlanChanged { .. } => Some(0_usize),
        Fact::OverageChanged(_) => Some(1),
        Fact::PastDue { .. } | Fact::Recovered | Fact::RecoveredAt { .. } => Some(2),
        Fact::Suspended { .. } | Fact::Resumed => Some(3),
        Fact::LotBought { .. }
        | Fact::CreditGiven { .. }
        | Fact::LotRefunded { .. }
        | Fact::LotDisputed { .. }
        | Fact::Shortfall { .. }
        | Fact::ShortfallCovered { .. }
        | Fact::PeriodClosed { .. }
        | Fact::Adjustment { .. }
        | Fact::ForfeitReleased { .. }
        | Fact::Corrected { .. } => None,
    };
    let mut last = BTreeMap::new();
    for entry in ledger.entries() {
        if let Some(kind) = rule(&entry.fact) {
            last.insert(kind, entry.number);
        }
    }
    last.into_values().collect()
}

/// One reason for a month's bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reason {
    /// The entry that tells of it; `None` while the month is provisional.
    pub entry: Option<EntryNumber>,
    /// Which units it allocated, from where.
    pub movements: Vec<Movement>,
    /// What it billed, or took off.
    pub bill: Bill,
}

/// Why a month is billed as it is: the close, then every adjustment and correction, in order; one
/// provisional reason while it is open.
///
/// # Errors
/// When an amount is too large.
pub fn why_billed(ledger: &Ledger, seen: Seen<'_>, period: Period) -> Result<Vec<Reason>, Refusal> {
    if ledger.closed(period).is_some() {
        let reason = |entry: &Entry| {
            bill_of(&entry.fact, period).map(|bill| Reason {
                entry: Some(entry.number),
                movements: entry.movements.clone(),
                bill: bill.clone(),
            })
        };
        return Ok(ledger.entries().iter().filter_map(reason).collect());
    }
    let (month, _) = walk(ledger, seen, period)?;
    let used = Account::Used(period);
    let sources = std::iter::once((Account::Included(period), month.allocation.included))
        .chain(month.allocation.lots.iter().map(|(lot, units)| (Account::Lot(*lot), *units)))
        .chain([
            (Account::Overage(period), month.allocation.overage),
            (Account::Uncovered(period), month.allocation.uncovered),
        ]);
    let movements = sources
        .filter(|(_, units)| *units > Units::ZERO)
        .map(|(from, units)| Movement { from, to: used, units })
        .collect();
    Ok(vec![Reason { entry: None, movements, bill: month.bill }])
}
