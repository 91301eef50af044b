//! What customers and operators are shown of a ledger. Figures are the ledger's; nothing is computed here
//! that it could say itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::ProjectId;
use shared::plan::Plan;
use shared::time::{Day, Period, Timestamp};
use shared::units::Units;

use crate::book::{Book, Crossed};
use crate::ledger::bill::Bill;
use crate::ledger::entry::{EntryNumber, Fact, LotId, Movement, OverageSetting};
use crate::ledger::explain::{Reason, Verdict, standing, why_billed};
use crate::ledger::forecast::{Forecast, forecast};
use crate::ledger::money::{Currency, Money};
use crate::ledger::month::{free, month};
use crate::ledger::refusal::Refusal;
use crate::ledger::statement::{LotPart, Statement, lot_history, statement};
use crate::ledger::timeline::OverageState;
use crate::stripe::top_up::AutoTopUpView;

/// The body of `GET /api/v1/billing/plan`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PlanView {
    project: ProjectId,
    plan: Plan,
    catalogue: u32,
    period: Period,
    resets_at: String,
    quota: Units,
    used: Units,
    /// Units that the quota pays for; lots and overage pay for the others.
    included: Units,
    /// What is left before requests are denied; `null` is without a limit.
    remaining: Option<Units>,
    lots: LotsView,
    auto_overage: bool,
    /// In minor units; `null` is no cap.
    overage_cap: Option<u64>,
    /// Packs that are bought by themselves; `null` where none are.
    auto_top_up: Option<AutoTopUpView>,
    overage: OverageView,
    currency: Currency,
    bill: Bill,
    total: Money,
    forecast: ForecastView,
    /// At which percentages of the quota `usage.threshold_reached` is told.
    thresholds: Vec<u8>,
    crossings: Vec<CrossingView>,
    limits: LimitsView,
    /// When the project falls to community unless what is overdue is paid; `null` where nothing is.
    falls_at: Option<String>,
    /// Changes of plan that come by themselves, such as a cancellation at the end of paid time.
    planned: Vec<PlannedView>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct LimitsView {
    rpm: u32,
    agents_max: Option<u32>,
    members_max: Option<u32>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct PlannedView {
    plan: Plan,
    quota: Units,
    at: String,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct LotsView {
    left: Units,
    used: Vec<LotPart>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct OverageView {
    state: &'static str,
    units: Units,
    uncovered: Units,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct ForecastView {
    outcome: &'static str,
    date: Option<Day>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct CrossingView {
    percent: u8,
    quota_version: u32,
    quota: Units,
    used: Units,
    at: String,
}

impl PlanView {
    /// Where the project stands in the present month.
    ///
    /// # Errors
    /// When an amount is too large.
    pub fn new(
        book: &Book,
        daily: &BTreeMap<Day, Units>,
        crossed: Vec<(Crossed, Timestamp)>,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let (seen, timeline) = (book.seen(now), book.ledger.timeline());
        let stands = standing(&book.ledger, seen)?;
        let paid = statement(&book.ledger, seen, stands.period)?;
        let terms = timeline.terms_at(now);
        let remaining = match stands.verdict {
            Verdict::Served(left) => left,
            Verdict::QuotaExhausted(_) | Verdict::Suspended => Some(Units::ZERO),
        };
        let (auto_overage, cap) = match timeline.setting_at(now) {
            OverageSetting::Off => (false, None),
            OverageSetting::On { cap } => (true, cap),
        };
        Ok(Self {
            project: book.project.id.clone(),
            plan: stands.plan,
            catalogue: terms.catalogue,
            period: stands.period,
            resets_at: stands.resets_at.to_string(),
            quota: stands.quota,
            used: stands.used,
            included: paid.included,
            remaining,
            lots: LotsView { left: stands.lots_left, used: paid.lots },
            auto_overage,
            overage_cap: cap.map(Money::as_cap),
            auto_top_up: None,
            overage: OverageView {
                state: overage_word(&timeline.overage_at(now)),
                units: paid.overage,
                uncovered: paid.uncovered,
            },
            currency: book.ledger.currency(),
            bill: paid.bill,
            total: paid.total,
            forecast: forecast(daily, now.day(), book.project.created.day(), remaining).into(),
            thresholds: book.project.levels(&terms.limits).clone().into(),
            crossings: crossed.into_iter().map(CrossingView::from).collect(),
            limits: LimitsView {
                rpm: book.project.rpm(&terms.limits),
                agents_max: terms.limits.agents_max,
                members_max: terms.limits.members_max,
            },
            falls_at: timeline.falls_at(now).filter(|at| *at > now).map(|at| at.to_string()),
            planned: timeline
                .planned_after(now)
                .map(|(at, terms)| PlannedView {
                    plan: terms.plan,
                    quota: terms.included,
                    at: at.to_string(),
                })
                .collect(),
        })
    }
}

impl PlanView {
    /// With the packs that are bought by themselves.
    #[must_use]
    pub fn topping_up(self, auto_top_up: Option<AutoTopUpView>) -> Self {
        Self { auto_top_up, ..self }
    }
}

fn overage_word(state: &OverageState) -> &'static str {
    match state {
        OverageState::NotOffered => "not_offered",
        OverageState::Off => "off",
        OverageState::PastDue => "past_due",
        OverageState::On { .. } => "on",
    }
}

impl From<Forecast> for ForecastView {
    fn from(forecast: Forecast) -> Self {
        let (outcome, date) = match forecast {
            Forecast::EndsOn(day) => ("ends_on", Some(day)),
            Forecast::Lasts => ("lasts", None),
            Forecast::Ended => ("ended", None),
            Forecast::NoPace => ("no_pace", None),
        };
        Self { outcome, date }
    }
}

impl From<(Crossed, Timestamp)> for CrossingView {
    fn from((Crossed { crossing, quota, used }, at): (Crossed, Timestamp)) -> Self {
        let (percent, quota_version) = (crossing.percent, crossing.quota_version);
        Self { percent, quota_version, quota, used, at: at.to_string() }
    }
}

/// The body of `GET /api/v1/billing/top-ups`: every lot, the oldest first.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TopUps {
    project: ProjectId,
    lots: Vec<LotView>,
}

/// One lot, bought or given.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LotView {
    lot: LotId,
    kind: &'static str,
    at: String,
    units: Units,
    left: Units,
    order: Option<String>,
    paid: Option<Money>,
    reason: Option<String>,
    paid_for: Vec<PaidFor>,
    history: Vec<EventView>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct PaidFor {
    period: Period,
    units: Units,
    provisional: bool,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct EventView {
    entry: EntryNumber,
    at: String,
    movements: Vec<Movement>,
}

impl TopUps {
    /// Every lot of a project, and which months it paid for.
    ///
    /// # Errors
    /// When an amount is too large.
    pub fn new(book: &Book, now: Timestamp) -> Result<Self, Refusal> {
        let seen = book.seen(now);
        let left = free(&book.ledger, seen)?;
        let mut paid: BTreeMap<LotId, Vec<PaidFor>> = BTreeMap::new();
        let mut period = book.project.created.period();
        while period <= now.period() {
            let figures = month(&book.ledger, seen, period)?;
            for (lot, units) in figures.allocation.lots {
                let part = PaidFor { period, units, provisional: figures.provisional };
                paid.entry(lot).or_default().push(part);
            }
            period = period.next();
        }
        let view = |(id, lot): (&LotId, &crate::ledger::state::Lot)| LotView {
            lot: *id,
            kind: if lot.paid.is_some() { "top_up" } else { "credit" },
            at: lot.since.to_string(),
            units: lot.units,
            left: left.get(id).copied().unwrap_or_default(),
            order: lot.order.clone(),
            paid: lot.paid,
            reason: reason(book, *id),
            paid_for: paid.remove(id).unwrap_or_default(),
            history: lot_history(&book.ledger, *id)
                .into_iter()
                .map(|event| EventView {
                    entry: event.entry,
                    at: event.at.to_string(),
                    movements: event.movements,
                })
                .collect(),
        };
        Ok(Self { project: book.project.id.clone(), lots: book.ledger.lots().iter().map(view).collect() })
    }

    /// The lot of that id.
    #[must_use]
    pub fn into_lot(self, id: LotId) -> Option<LotView> {
        self.lots.into_iter().find(|lot| lot.lot == id)
    }
}

impl LotView {
    /// The lot in one line, for people.
    #[must_use]
    pub fn line(&self) -> String {
        format!("lot {}: {} of {} units left, {} of {}", self.lot, self.left, self.units, self.kind, self.at)
    }
}

fn reason(book: &Book, lot: LotId) -> Option<String> {
    let entry = book.ledger.entries().iter().find(|entry| entry.number == lot.0)?;
    if let Fact::CreditGiven { reason, .. } = &entry.fact { Some(reason.clone()) } else { None }
}

/// The body of `GET /api/v1/explain`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Explanation {
    project: ProjectId,
    /// What would happen to the next request, now.
    now: NowView,
    /// Why the period is billed as it is.
    billed: BilledView,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct NowView {
    period: Period,
    plan: Plan,
    quota: Units,
    used: Units,
    lots_left: Units,
    verdict: Verdict,
    rests_on: Vec<EntryNumber>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct BilledView {
    statement: Statement,
    reasons: Vec<Reason>,
}

impl Explanation {
    /// Why the next request would be denied, and why `period` is billed as it is.
    ///
    /// # Errors
    /// When an amount is too large.
    pub fn new(book: &Book, period: Period, now: Timestamp) -> Result<Self, Refusal> {
        let seen = book.seen(now);
        let stands = standing(&book.ledger, seen)?;
        let reasons = why_billed(&book.ledger, seen, period)?;
        Ok(Self {
            project: book.project.id.clone(),
            now: NowView {
                period: stands.period,
                plan: stands.plan,
                quota: stands.quota,
                used: stands.used,
                lots_left: stands.lots_left,
                verdict: stands.verdict,
                rests_on: stands.rests_on,
            },
            billed: BilledView { statement: statement(&book.ledger, seen, period)?, reasons },
        })
    }
}
