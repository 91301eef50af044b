//! The overview: where a project stands now, in one answer of one state of the books.
//!
//! Its figures are the ledger's and the sums of cells; nothing is estimated but the day on which the month's units end.

pub mod limit;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use shared::denials::Denials;
use shared::ids::ProjectId;
use shared::kind::Kind;
use shared::plan::Plan;
use shared::time::{Day, Period, Timestamp};
use shared::units::Units;

use self::limit::{Beyond, LimitView, Room, limit, percent};
use super::usage::Denied;
use crate::ledger::entry::LotId;
use crate::ledger::explain::{NoOverage, Verdict};
use crate::ledger::forecast::{Forecast, forecast};
use crate::ledger::month::free;
use crate::ledger::refusal::Refusal;
use crate::ledger::statement::statement;
use crate::ledger::timeline::OverageState;
use crate::projects::book::Book;

/// What the books know of a project, all of one state of them.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its book.
    pub book: Book,
    /// The number of the last event of its live stream.
    pub watermark: u64,
    /// Live units of each day that the forecast's pace is taken from.
    pub daily: BTreeMap<Day, Units>,
    /// Live units of today.
    pub today: BTreeMap<Kind, Units>,
    /// Live requests that were refused today, and in this month.
    pub denials: (Denials, Denials),
    /// Live units that were counted in the last minute.
    pub last_minute: u64,
    /// Named agents of this month.
    pub agents: u64,
    /// When a home was last heard of.
    pub last_flush: Option<Timestamp>,
    /// How its webhooks are.
    pub webhooks: WebhookHealth,
    /// Whether packs are bought by themselves.
    pub tops_up: bool,
}

/// How many webhooks are how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WebhookHealth {
    /// Those whose last delivery arrived, or that have had none.
    pub well: u64,
    /// Those that nothing has arrived at since a failure.
    pub failing: u64,
    /// Those that get nothing until somebody turns them on.
    pub disabled: u64,
    /// Deliveries that wait for their next try.
    pub waiting: u64,
}

/// The body of `GET /api/v1/overview`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Overview {
    project: ProjectId,
    plan: Plan,
    /// When all of these figures were true.
    as_of: String,
    /// The number of the last event of the live stream that they include.
    watermark: u64,
    today: TodayView,
    month: MonthView,
    /// The limit that is reached first; `null` where there is none.
    limit: Option<LimitView>,
    denied: DeniedView,
    /// What shadow mode served, though it would have been refused; never billed.
    would_have_denied: DeniedView,
    rpm: RpmView,
    flush: FlushView,
    webhooks: WebhookHealth,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct TodayView {
    date: Day,
    units: Units,
    /// Units of each kind; all kinds are named.
    kinds: BTreeMap<Kind, Units>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct MonthView {
    period: Period,
    resets_at: String,
    used: Units,
    /// What pays, in the order in which it does: quota, lots, overage. Their `used` and `uncovered` are what was used.
    parts: Vec<Part>,
    /// Units that nothing pays for, and that are not billed.
    uncovered: Units,
    /// When what is left ends, at the pace of the last days.
    forecast: MonthForecast,
}

/// What pays for units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Source {
    Included,
    Lot,
    Overage,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
struct Part {
    source: Source,
    /// Which lot.
    #[serde(skip_serializing_if = "Option::is_none")]
    lot: Option<LotId>,
    /// How many it has for this month; `null` is without a limit.
    units: Option<Units>,
    used: Units,
    /// `null` is without a limit.
    left: Option<Units>,
    /// Of overage: `on`, `off`, `past_due` or `not_offered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct MonthForecast {
    /// `ends_on`, `lasts`, `ended` or `no_pace`.
    outcome: &'static str,
    date: Option<Day>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct DeniedView {
    today: Denied,
    month: Denied,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct RpmView {
    limit: u32,
    /// Units that reached the books in the last minute; a home sends them every few seconds.
    last_minute: u64,
    /// Of the limit, in whole percent, rounded down.
    percent: u64,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct FlushView {
    /// When a home was last heard of; `null` where none was.
    last_at: Option<String>,
    /// How long ago that is. A project without requests is silent.
    age_ms: Option<u64>,
}

impl Overview {
    /// Where the project stands; `rpm` and `agents_max` are the limits in force.
    ///
    /// # Errors
    /// When an amount is too large.
    pub fn new(
        known: &Known,
        (rpm, agents_max): (u32, Option<u32>),
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let book = &known.book;
        let stands = book.standing(now)?;
        let timeline = book.ledger.timeline();
        let state = timeline.overage_at(now);
        let (left, beyond) = match stands.verdict {
            Verdict::Served(left) => (left, beyond(&state)),
            Verdict::QuotaExhausted(why) => (Some(Units::ZERO), Beyond::Nothing(why)),
            Verdict::Suspended => (Some(Units::ZERO), beyond(&state)),
        };
        let room = Room {
            suspended: stands.verdict == Verdict::Suspended,
            used: stands.used,
            left,
            beyond,
            contract: stands.plan == Plan::Enterprise,
            agents: (known.agents, agents_max),
            rpm: (known.last_minute, rpm),
            tops_up: known.tops_up,
            resets_at: stands.resets_at,
        };
        let (parts, uncovered) = parts(book, (stands.quota, left, &state), now)?;
        let kinds: BTreeMap<Kind, Units> =
            Kind::ALL.map(|kind| (kind, known.today.get(&kind).copied().unwrap_or_default())).into();
        Ok(Self {
            project: book.project.id.clone(),
            plan: stands.plan,
            as_of: now.to_string(),
            watermark: known.watermark,
            today: TodayView {
                date: now.day(),
                units: kinds.values().fold(Units::ZERO, |sum, units| sum.saturating_add(*units)),
                kinds,
            },
            month: MonthView {
                period: stands.period,
                resets_at: stands.resets_at.to_string(),
                used: stands.used,
                parts,
                uncovered,
                forecast: forecast(&known.daily, now.day(), book.project.created.day(), left).into(),
            },
            limit: limit(&room),
            denied: DeniedView { today: known.denials.0.into(), month: known.denials.1.into() },
            would_have_denied: DeniedView {
                today: known.denials.0.let_through().into(),
                month: known.denials.1.let_through().into(),
            },
            rpm: RpmView {
                limit: rpm,
                last_minute: known.last_minute,
                percent: percent(known.last_minute, u64::from(rpm)),
            },
            flush: FlushView {
                last_at: known.last_flush.map(|at| at.to_string()),
                age_ms: known.last_flush.map(|at| now.ms_since(at)),
            },
            webhooks: known.webhooks,
        })
    }
}

/// What pays for this month, and what nothing pays for.
fn parts(
    book: &Book,
    (quota, left, state): (Units, Option<Units>, &OverageState),
    now: Timestamp,
) -> Result<(Vec<Part>, Units), Refusal> {
    let seen = book.seen(now);
    let paid = statement(&book.ledger, seen, now.period())?;
    let part = |source, used: Units, left: Units| Part {
        source,
        lot: None,
        units: Some(used.saturating_add(left)),
        used,
        left: Some(left),
        state: None,
    };
    let left_of_quota = quota.saturating_sub(paid.included);
    let mut parts = vec![part(Source::Included, paid.included, left_of_quota)];
    let used_of: BTreeMap<LotId, Units> = paid.lots.iter().map(|part| (part.lot, part.units)).collect();
    let mut left_of_lots = Units::ZERO;
    // In the order of their ids, which is that in which they pay.
    for (lot, left) in free(&book.ledger, seen)? {
        let used = used_of.get(&lot).copied().unwrap_or_default();
        left_of_lots = left_of_lots.saturating_add(left);
        if used > Units::ZERO || left > Units::ZERO {
            parts.push(Part { lot: Some(lot), ..part(Source::Lot, used, left) });
        }
    }
    let left_of_overage = left.map(|left| left.saturating_sub(left_of_quota).saturating_sub(left_of_lots));
    parts.push(Part {
        units: left_of_overage.map(|left| paid.overage.saturating_add(left)),
        left: left_of_overage,
        state: Some(state.as_str()),
        ..part(Source::Overage, paid.overage, Units::ZERO)
    });
    Ok((parts, paid.uncovered))
}

fn beyond(state: &OverageState) -> Beyond {
    match state {
        OverageState::NotOffered => Beyond::Nothing(NoOverage::NotOffered),
        OverageState::Off => Beyond::Nothing(NoOverage::Off),
        OverageState::PastDue => Beyond::Nothing(NoOverage::PastDue),
        OverageState::On { cap: None, .. } => Beyond::Open,
        OverageState::On { cap: Some(_), .. } => Beyond::Capped,
    }
}

impl From<Forecast> for MonthForecast {
    fn from(forecast: Forecast) -> Self {
        let (outcome, date) = forecast.told();
        Self { outcome, date }
    }
}
