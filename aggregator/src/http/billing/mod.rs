//! `/api/v1/billing/…` and `/api/v1/explain`: where a project stands, what paid for what, why, and what if.

pub(super) mod view;
mod what_if;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use shared::ids::Mode;
use shared::problem::ErrorCode;
use shared::time::{Period, Timestamp};
use shared::units::Units;

use crate::access::Permission;
use crate::app::App;
use crate::http::access::Caller;
use crate::http::billing::view::{Explanation, PlanView, TopUps};
use crate::http::body::Fields;
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::{Field, Number, OneOf, PROJECT, Words};
use crate::http::query::Query;
use crate::http::route::{Route, Who};
use crate::ledger::crossing::Levels;
use crate::ledger::entry::OverageSetting;
use crate::ledger::lots;
use crate::ledger::money::Money;
use crate::ledger::refusal::Refusal;
use crate::ledger::timeline::OverageState;
use crate::metering::usage::Span;
use crate::payments::top_up::{MONTHLY_LIMIT_MAX, Rule};
use crate::projects::book::Book;
use crate::projects::project::{ProjectChange, Setting};
use crate::store::{Exported, Post};

const MONTH: &str = "a month such as 2026-05";

/// The largest cap in minor units: what JavaScript still counts exactly.
const CAP_MINOR_MAX: u64 = (1 << 53) - 1;

const QUERY: &[Field] = &[PROJECT];

const EXPLAIN: &[Field] = &[
    PROJECT,
    Field::optional::<Period>("period", "a month such as 2026-05; the present one where it is absent"),
];

/// What is accepted as levels.
pub(super) const LEVELS_WORDS: &str = "1 to 10 percentages from 1 to 100, or null for the plan's";

/// What is accepted as automatic top-ups.
const TOP_UP_WORDS: &str = "pack small, medium or large, below 1 or more units, monthly_limit 1 to 100, and nothing else; or null for none";

const _: () = assert!(MONTHLY_LIMIT_MAX == 100, "what is described is what is accepted");

/// A rule of automatic top-ups, for descriptions.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it only describes; what is read is `Rule`")]
struct TopUpRule {
    /// Which pack is bought.
    pack: OneOf<Packs>,
    /// When fewer units than these are left of quota and lots.
    below: Number<1, { Units::MAX.get() }>,
    /// How many in a calendar month (UTC) at most.
    monthly_limit: Number<1, 100>,
}

#[derive(Debug)]
struct Packs;

impl Words for Packs {
    const WORDS: &'static [&'static str] = &["small", "medium", "large"];
}

const SETTING: &[Field] = &[
    Field::optional::<Option<Vec<u8>>>("thresholds", LEVELS_WORDS).such_as("[50,80,100]"),
    Field::optional::<bool>("auto_overage", "true or false").such_as("true"),
    Field::optional::<Option<Number<0, CAP_MINOR_MAX>>>(
        "overage_cap",
        "minor units, or null for no cap; only while auto_overage is true",
    ),
    Field::optional::<Option<TopUpRule>>("auto_top_up", TOP_UP_WORDS),
];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let read = Who::InProject(Permission::Read);
    let manage = Who::InProject(Permission::ManageBilling);
    vec![
        Route::get("/api/v1/billing/plan", read, "Show where a project stands", plan)
            .query(QUERY)
            .answers::<PlanView>(200, "Plan, quota, what was used and what is left"),
        Route::put("/api/v1/billing/plan", manage, "Set overage, top-ups and thresholds", set_plan)
            .query(QUERY)
            .body(SETTING)
            .answers::<PlanView>(200, "Where the project stands now")
            .refuses(&[ErrorCode::OverageNotOffered, ErrorCode::NotBillable, ErrorCode::PaymentsUnavailable]),
        Route::get("/api/v1/billing/top-ups", read, "List lots", top_ups)
            .query(QUERY)
            .answers::<TopUps>(200, "Every lot, and what it paid for"),
        what_if::route(),
        Route::get("/api/v1/explain", read, "Explain a bill", explain).query(EXPLAIN).answers::<Explanation>(
            200,
            "Why the next request is served or not, and why a month costs what it does",
        ),
    ]
}

/// `GET /api/v1/billing/plan`.
pub(super) async fn plan(
    caller: Caller,
    State(app): State<App>,
    uri: Uri,
) -> Result<Json<PlanView>, Failure> {
    let query = Query::of(&uri, QUERY)?;
    let project = caller.named_project(&app, &query, Permission::Read).await?;
    let book = app.store.book(&project.id).await?.ok_or_else(Failure::project_unknown)?;
    view(&app, &book).await
}

/// `PUT /api/v1/billing/plan`: auto-overage and its cap, automatic top-ups, thresholds.
pub(super) async fn set_plan(
    caller: Caller,
    State(app): State<App>,
    uri: Uri,
    call: Call,
) -> Result<Response, Failure> {
    let query = Query::of(&uri, QUERY)?;
    let project = caller.named_project(&app, &query, Permission::ManageBilling).await?;
    let now = app.clock.now();
    let book = app.store.book(&project.id).await?.ok_or_else(Failure::project_unknown)?;
    let mut fields = call.fields()?.of(SETTING)?;
    let levels = levels(&mut fields)?;
    let top_up = top_up(&mut fields)?;
    if let Some(Some(_)) = top_up {
        may_top_up(&app, &book, now)?;
    }
    let setting = setting(fields, &book, book.ledger.timeline().setting_at(now))?;
    let is_on = setting != OverageSetting::Off;
    if is_on && book.ledger.timeline().overage_at(now) == OverageState::NotOffered {
        return Err(Failure::new(
            ErrorCode::OverageNotOffered,
            "The project's plan has no overage. Change the plan, or buy a top-up pack where the plan has them.",
        ));
    }
    let mut change = call.begin_in(&app, &project.id).await?;
    let mut crossings = 0_usize;
    if levels.is_some() {
        let wanted = ProjectChange { levels, ..ProjectChange::default() };
        let changed = change.change_project(&project.id, wanted, now).await?;
        crossings = changed.ok_or_else(Failure::project_unknown)?.crossings;
    }
    if let Some(rule) = top_up {
        change.set_auto_top_up(&project.id, rule, now).await?;
    }
    let posted = match change.set_overage(&project.id, setting, now).await? {
        Post::Posted(posted) => posted,
        Post::ProjectUnknown => return Err(Failure::project_unknown()),
        Post::Refused(refusal) => return Err(refused(&refusal)),
    };
    app.metrics.crossed(crossings.saturating_add(posted.crossings));
    tracing::info!(project.id = %project.id, token.id = caller.token.id, auto_overage = is_on, "overage set");
    let daily = app.store.daily_units(&project.id, now.day()).await?;
    let crossed = change.crossed(&project.id, now.period()).await?;
    let topping_up = change.auto_top_up(&project.id, now).await?;
    let paying = app.store.paying(&project.id).await?;
    let view = PlanView::new(&posted.book, &daily, crossed, paying, now);
    let view = view.map_err(|refusal| refused(&refusal))?;
    let view = view.topping_up(topping_up);
    change.answer(StatusCode::OK, &view).await
}

/// `GET /api/v1/billing/top-ups`: every lot, and what it paid for.
pub(super) async fn top_ups(
    caller: Caller,
    State(app): State<App>,
    uri: Uri,
) -> Result<Json<TopUps>, Failure> {
    let query = Query::of(&uri, QUERY)?;
    let project = caller.named_project(&app, &query, Permission::Read).await?;
    let book = app.store.book(&project.id).await?.ok_or_else(Failure::project_unknown)?;
    TopUps::new(&book, app.clock.now()).map(Json).map_err(|refusal| refused(&refusal))
}

/// `GET /api/v1/explain`: why the next request would be denied, and why a month is billed as it is.
pub(super) async fn explain(
    caller: Caller,
    State(app): State<App>,
    uri: Uri,
) -> Result<Json<Explanation>, Failure> {
    let query = Query::of(&uri, EXPLAIN)?;
    let project = caller.named_project(&app, &query, Permission::Read).await?;
    let now = app.clock.now();
    let period = query.optional("period", MONTH, Period::parse)?.unwrap_or_else(|| now.period());
    let book = app.store.book(&project.id).await?.ok_or_else(Failure::project_unknown)?;
    let days = Span::of(period);
    let denials = app.store.denials(&Exported { project: project.id, mode: Mode::Live, span: days }).await?;
    Explanation::new(&book, (period, denials), now).map(Json).map_err(|refusal| refused(&refusal))
}

async fn view(app: &App, book: &Book) -> Result<Json<PlanView>, Failure> {
    let now = app.clock.now();
    let daily = app.store.daily_units(&book.project.id, now.day()).await?;
    let crossed = app.store.crossed(&book.project.id, now.period()).await?;
    let topping_up = app.store.auto_top_up(&book.project.id, now).await?;
    let paying = app.store.paying(&book.project.id).await?;
    let view = PlanView::new(book, &daily, crossed, paying, now).map_err(|refusal| refused(&refusal))?;
    Ok(Json(view.topping_up(topping_up)))
}

/// The automatic top-ups that are asked for, `Some(None)` for none.
fn top_up(fields: &mut Fields) -> Result<Option<Option<Rule>>, Failure> {
    let rule: Option<Option<Rule>> = fields.optional("auto_top_up", TOP_UP_WORDS)?;
    match rule {
        Some(Some(Rule { below: Units::ZERO, .. })) => {
            Err(Failure::field("auto_top_up", "below 0", TOP_UP_WORDS))
        }
        Some(Some(Rule { monthly_limit, .. })) if !(1..=MONTHLY_LIMIT_MAX).contains(&monthly_limit) => {
            Err(Failure::field("auto_top_up", &format!("monthly_limit {monthly_limit}"), TOP_UP_WORDS))
        }
        other => Ok(other),
    }
}

/// Refuses automatic top-ups that could never be bought.
fn may_top_up(app: &App, book: &Book, now: Timestamp) -> Result<(), Failure> {
    crate::http::stripe::account(app)?;
    if lots::may_buy(&book.ledger, now) {
        return Ok(());
    }
    let plan = book.ledger.timeline().terms_at(now).plan;
    let why = format!("The plan {plan} has no top-up packs. Upgrade to pro or business.");
    Err(Failure::new(ErrorCode::NotBillable, why))
}

/// The project's own levels that are asked for, `Setting::Plan` for null.
pub(super) fn levels(fields: &mut Fields) -> Result<Option<Setting<Levels>>, Failure> {
    let levels: Option<Option<Levels>> = fields.optional("thresholds", LEVELS_WORDS)?;
    Ok(levels.map(|levels| levels.map_or(Setting::Plan, Setting::Own)))
}

/// What is asked for; fields that are absent stay as they are.
fn setting(mut fields: Fields, book: &Book, before: OverageSetting) -> Result<OverageSetting, Failure> {
    let accepts = format!("0 to {CAP_MINOR_MAX} minor units, or null for no cap");
    let on: Option<bool> = fields.optional("auto_overage", "true or false")?;
    let cap: Option<Option<u64>> = fields.optional("overage_cap", &accepts)?;
    if let Some(Some(cap)) = cap
        && cap > CAP_MINOR_MAX
    {
        return Err(Failure::field("overage_cap", &cap.to_string(), &accepts));
    }
    let (was_on, old_cap) = match before {
        OverageSetting::Off => (false, None),
        OverageSetting::On { cap } => (true, cap),
    };
    let is_on = on.unwrap_or(was_on);
    if let Some(Some(cap)) = cap
        && !is_on
    {
        return Err(Failure::field("overage_cap", &cap.to_string(), "a cap only while auto_overage is true"));
    }
    let money = |minor: u64| Money::new(i128::from(minor), book.ledger.currency());
    let cap = cap.map_or(old_cap, |cap| cap.map(money));
    Ok(if is_on { OverageSetting::On { cap } } else { OverageSetting::Off })
}

/// A refusal of the ledger where what was sent had been checked.
pub(super) fn refused(refusal: &Refusal) -> Failure {
    Failure::internal(refusal)
}
