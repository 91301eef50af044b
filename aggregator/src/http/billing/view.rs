//! What customers and operators are shown of a ledger. Figures are the ledger's; nothing is computed here
//! that it could say itself.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use shared::denials::Denials;
use shared::ids::ProjectId;
use shared::plan::Plan;
use shared::time::{Day, Period, Timestamp};
use shared::units::Units;

use crate::ledger::bill::Bill;
use crate::ledger::entry::{EntryNumber, Fact, LotId, Movement, OverageSetting};
use crate::ledger::explain::{Reason, Verdict, why_billed};
use crate::ledger::forecast::{Forecast, forecast};
use crate::ledger::money::{Currency, Money};
use crate::ledger::month::{free, month};
use crate::ledger::refusal::Refusal;
use crate::ledger::statement::{LotPart, Statement, lot_history, statement};
use crate::ledger::terms::{Interval, Limits};
use crate::ledger::timeline::Timeline;
use crate::metering::usage::Denied;
use crate::payments::goods::Good;
use crate::payments::paying::{OverdueView, Paying};
use crate::payments::schedule::ComingChange;
use crate::payments::top_up::AutoTopUpView;
use crate::projects::book::{Book, Crossed};
use crate::projects::project::Project;

/// The body of `GET /api/v1/billing/plan`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct PlanView {
    project: ProjectId,
    plan: Plan,
    catalogue: u32,
    period: Period,
    resets_at: String,
    /// The month's units as they are enforced, what `/v1/quota` calls `included`; the same as `enforced.quota`.
    quota: Units,
    used: Units,
    /// Deprecated: `billed.from_quota`, under a word that means the whole quota at `/v1/quota`.
    included: Units,
    /// What is left before requests are denied, `null` is without a limit; the same as `enforced.remaining`.
    remaining: Option<Units>,
    /// What the edge decides by.
    enforced: EnforcedView,
    /// What the month is billed by.
    billed: BilledUnits,
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
    /// The plan that is subscribed to; `plan` is another while what is overdue was not paid within its grace.
    subscribed: Plan,
    /// When the project falls to community unless what is overdue is paid; `null` where nothing is, or it has fallen.
    falls_at: Option<String>,
    /// When the project fell to community because of what is overdue; `null` where it has not.
    fell_at: Option<String>,
    /// Since when a payment is overdue; `null` where none is.
    overdue_since: Option<String>,
    /// What is overdue, the oldest first: how much, and where it is paid.
    overdue: Vec<OverdueView>,
    /// What will go wrong unless something is done.
    warnings: Vec<WarningView>,
    /// Changes of plan or interval that come by themselves, such as a cancellation at the end of paid time.
    planned: Vec<PlannedView>,
    /// Until when the subscription is paid: a smaller plan, and the end of it, begin then. `null` where nothing is paid
    /// ahead, so that they begin at once.
    paid_until: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
struct EnforcedView {
    /// The project's own quota where an operator has set one, else that of its plan.
    quota: Units,
    /// What is left of it, of lots and of overage; `null` is without a limit.
    remaining: Option<Units>,
}

/// Which source pays for which units; together they are what was used.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct BilledUnits {
    /// The largest quota that was in force in the month.
    quota: Units,
    from_quota: Units,
    from_lots: Units,
    from_overage: Units,
    /// Units that nothing pays for, and that are not billed.
    uncovered: Units,
}

impl From<&Statement> for BilledUnits {
    fn from(paid: &Statement) -> Self {
        let from_lots = paid.lots.iter().fold(Units::ZERO, |sum, part| sum.saturating_add(part.units));
        let (from_overage, uncovered) = (paid.overage, paid.uncovered);
        Self { quota: paid.quota, from_quota: paid.included, from_lots, from_overage, uncovered }
    }
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct WarningView {
    /// `no_payment_method`.
    code: &'static str,
    /// What is wrong, and what to do.
    detail: &'static str,
}

impl WarningView {
    fn all(timeline: &Timeline, paying: &Paying, now: Timestamp) -> Vec<Self> {
        // Contracts are invoiced apart, and community has no overage.
        let is_charged = matches!(timeline.terms_at(now).plan, Plan::Pro | Plan::Business);
        let is_on = timeline.setting_at(now) != OverageSetting::Off;
        let unpayable = is_on && is_charged && !paying.has_method;
        unpayable.then_some(Self::NO_PAYMENT_METHOD).into_iter().collect()
    }

    const NO_PAYMENT_METHOD: Self = Self {
        code: "no_payment_method",
        detail: "Overage is on, and there is nothing on file that its invoice can be charged to. Subscribe by POST /api/v1/stripe/checkout, or add a payment method in the portal (GET /api/v1/stripe/portal); an invoice that is not paid turns overage off.",
    };
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct LimitsView {
    rpm: u32,
    agents_max: Option<u32>,
    members_max: Option<u32>,
}

impl LimitsView {
    fn of(project: &Project, plan: &Limits) -> Self {
        let (rpm, Limits { agents_max, members_max, .. }) = (project.rpm(plan), plan);
        Self { rpm, agents_max: *agents_max, members_max: *members_max }
    }
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct PlannedView {
    plan: Plan,
    quota: Units,
    /// How often it is paid from then on; `null` where nothing is, or another was agreed.
    interval: Option<Interval>,
    at: String,
}

impl PlannedView {
    /// What comes by itself: what the ledger plans, and what waits at Stripe without a change of quota.
    fn all(timeline: &Timeline, waiting: &[ComingChange], now: Timestamp) -> Vec<Self> {
        let waits =
            waiting.iter().filter(|waits| waits.at > now).map(|ComingChange { at, good }| (*at, *good));
        let waits: BTreeMap<Timestamp, Good> = waits.collect();
        let planned = timeline.planned_after(now).map(|(at, _)| *at);
        let instants: BTreeSet<Timestamp> = planned.chain(waits.keys().copied()).collect();
        let view = |at: Timestamp| {
            let terms = timeline.subscribed_at(at);
            let interval = waits.get(&at).and_then(|good| good.interval());
            Self { plan: terms.plan, quota: terms.included, interval, at: at.to_string() }
        };
        instants.into_iter().map(view).collect()
    }
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
    /// Where the project stands in the present month, with what Stripe has said of its payments.
    ///
    /// # Errors
    /// When an amount is too large.
    pub(crate) fn new(
        book: &Book,
        daily: &BTreeMap<Day, Units>,
        crossed: Vec<(Crossed, Timestamp)>,
        paying: Paying,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let (seen, timeline) = (book.seen(now), book.ledger.timeline());
        let stands = book.standing(now)?;
        let paid = statement(&book.ledger, seen, stands.period)?;
        let terms = timeline.terms_at(now);
        let remaining = match stands.verdict {
            Verdict::Served(left) => left,
            Verdict::QuotaExhausted(_) | Verdict::Suspended => Some(Units::ZERO),
        };
        let falls_at = timeline.falls_at(now);
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
            enforced: EnforcedView { quota: stands.quota, remaining },
            billed: BilledUnits::from(&paid),
            lots: LotsView { left: stands.lots_left, used: paid.lots },
            auto_overage,
            overage_cap: cap.map(Money::as_cap),
            auto_top_up: None,
            overage: OverageView {
                state: timeline.overage_at(now).as_str(),
                units: paid.overage,
                uncovered: paid.uncovered,
            },
            currency: book.ledger.currency(),
            bill: paid.bill,
            total: paid.total,
            forecast: forecast(daily, now.day(), book.project.created.day(), remaining).into(),
            thresholds: book.project.levels(&terms.limits).clone().into(),
            crossings: crossed.into_iter().map(CrossingView::from).collect(),
            limits: LimitsView::of(&book.project, &terms.limits),
            subscribed: timeline.subscribed_at(now).plan,
            falls_at: falls_at.filter(|at| *at > now).map(|at| at.to_string()),
            fell_at: falls_at.filter(|at| *at <= now).map(|at| at.to_string()),
            overdue_since: timeline.overdue_since(now).map(|at| at.to_string()),
            warnings: WarningView::all(timeline, &paying, now),
            planned: PlannedView::all(timeline, &paying.waiting, now),
            paid_until: paying.paid_until.filter(|at| *at > now).map(|at| at.to_string()),
            overdue: paying.overdue.into_iter().map(OverdueView::from).collect(),
        })
    }
}

impl PlanView {
    /// With the packs that are bought by themselves.
    #[must_use]
    pub(crate) fn topping_up(self, auto_top_up: Option<AutoTopUpView>) -> Self {
        Self { auto_top_up, ..self }
    }
}

impl From<Forecast> for ForecastView {
    fn from(forecast: Forecast) -> Self {
        let (outcome, date) = forecast.told();
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
pub(crate) struct TopUps {
    project: ProjectId,
    lots: Vec<LotView>,
}

/// One lot, bought or given.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct LotView {
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
    pub(crate) fn new(book: &Book, now: Timestamp) -> Result<Self, Refusal> {
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
    pub(crate) fn into_lot(self, id: LotId) -> Option<LotView> {
        self.lots.into_iter().find(|lot| lot.lot == id)
    }
}

fn reason(book: &Book, lot: LotId) -> Option<String> {
    let entry = book.ledger.entries().iter().find(|entry| entry.number == lot.0)?;
    if let Fact::CreditGiven { reason, .. } = &entry.fact { Some(reason.clone()) } else { None }
}

/// The body of `GET /api/v1/explain`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Explanation {
    project: ProjectId,
    /// What would happen to the next request, now.
    now: NowView,
    /// Why the period is billed as it is.
    billed: BilledView,
    /// What was refused in the period, by reason; never billed.
    denied: Denied,
    /// What shadow mode served in the period, though it would have been refused, by reason; never billed.
    would_have_denied: Denied,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct NowView {
    period: Period,
    plan: Plan,
    /// The quota that is enforced: the project's own where an operator has set one, else that of its plan.
    quota: Units,
    /// The quota that the month is billed by: the largest that was in force in it.
    billed_quota: Units,
    used: Units,
    lots_left: Units,
    /// By what is enforced.
    verdict: Verdict,
    rests_on: Vec<EntryNumber>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct BilledView {
    statement: Statement,
    reasons: Vec<Reason>,
}

impl Explanation {
    /// Why the next request would be denied, and why `period`, in which so many were, is billed as it is.
    ///
    /// # Errors
    /// When an amount is too large.
    pub(crate) fn new(
        book: &Book,
        (period, denials): (Period, Denials),
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let seen = book.seen(now);
        let stands = book.standing(now)?;
        let reasons = why_billed(&book.ledger, seen, period)?;
        Ok(Self {
            project: book.project.id.clone(),
            now: NowView {
                period: stands.period,
                plan: stands.plan,
                quota: stands.quota,
                billed_quota: stands.billed_quota,
                used: stands.used,
                lots_left: stands.lots_left,
                verdict: stands.verdict,
                rests_on: stands.rests_on,
            },
            billed: BilledView { statement: statement(&book.ledger, seen, period)?, reasons },
            denied: denials.into(),
            would_have_denied: denials.let_through().into(),
        })
    }
}
