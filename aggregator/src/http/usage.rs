//! `GET /api/v1/usage`: what a project used, by day and by agent.

use std::borrow::Cow;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use shared::ids::{AgentId, Mode};
use shared::time::{Day, Timestamp};
use shared::whole::whole;
use tokio::sync::mpsc;

use super::access::Caller;
use super::download;
use super::failure::Failure;
use super::field::{Field, Number, OneOf, PROJECT, Words};
use super::query::Query;
use super::route::{Route, Who};
use crate::access::Permission;
use crate::app::App;
use crate::metering::usage::agents::{self, AGENTS, AgentDays};
use crate::metering::usage::groups::{GroupBy, Groups};
use crate::metering::usage::page::{LinePlace, Lines, Order, Page, Place, UsageLine};
use crate::metering::usage::paid::PaidDays;
use crate::metering::usage::{DAYS_MAX, Span, SpanError, Usage, UsageAgent};
use crate::store::Exported;

/// The number of the last event of the live stream that a report includes, where all of it is of one state of the books.
const WATERMARK_HEADER: &str = "palveron-watermark";

/// When a report was read.
const AS_OF_HEADER: &str = "palveron-as-of";

const DATE: &str = "a date such as 2026-05-01";

/// How a report is written.
#[derive(Debug)]
enum Format {}

impl Words for Format {
    const WORDS: &'static [&'static str] = &["json", "csv"];
}

/// What a report is grouped by.
#[derive(Debug)]
enum Grouping {}

impl Words for Grouping {
    const WORDS: &'static [&'static str] =
        &["day", "agent", "kind", AgentDays::NAME, PaidDays::NAME, Lines::NAME];
}

/// In which order agents are told.
#[derive(Debug)]
enum Ordering {}

impl Words for Ordering {
    const WORDS: &'static [&'static str] = &["units", "agent"];
}

/// Agents, for descriptions.
#[derive(Debug)]
enum AgentList {}

impl JsonSchema for AgentList {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AgentList".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[!-}][!-~]{0,127}( [!-}][!-~]{0,127}){0,49}$" })
    }
}

const CSV: &str = "text/csv";

/// The most agents or lines in a page.
const LIMIT_MAX: u64 = 10_000;

const LIMIT: &str = "1 to 10000 agents or lines a page; 10000 where it is absent";

const GROUP_BY: &str =
    "day, agent, kind, day,agent (of some agents), day,source (of live keys), or day,agent,kind";

const ONLY_LIVE: &str = "live with group_by=day,source: test keys are never billed";

const ONLY_BY_DAY_AND_AGENT: &str = "agents only with group_by=day,agent";

const ORDER: &str = "units (most first) or agent (by name); units where it is absent";

const CURSOR: &str = "the `next` of the page before, in the same order";

const QUERY: &[Field] = &[
    Field::required::<Day>("from", DATE).such_as("\"2026-05-01\""),
    Field::required::<Day>("to", DATE).such_as("\"2026-05-31\""),
    Field::optional::<Mode>("mode", "live or test; live where it is absent"),
    PROJECT,
    Field::optional::<OneOf<Grouping>>("group_by", GROUP_BY),
    Field::optional::<AgentList>("agents", AGENTS).such_as("\"support-bot search-bot\""),
    Field::optional::<OneOf<Format>>("format", "json or csv; json where it is absent"),
    Field::optional::<OneOf<Ordering>>("order", ORDER),
    Field::optional::<Number<1, LIMIT_MAX>>("limit", LIMIT),
    Field::optional::<String>("cursor", CURSOR),
];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/usage", Who::InProject(Permission::Read), "Report usage", report)
            .query(QUERY)
            .answers::<Usage>(200, "What was used, by day, kind and agent")
            .answers::<Groups>(200, "What was used, by one of them")
            .answers::<AgentDays>(200, "What some agents used, by day")
            .answers::<PaidDays>(200, "What paid for each day")
            .answers::<Lines>(200, "What was used, by all three")
            .answers_text(200, "What was used, by one of them", CSV),
    ]
}

/// Answers the report of a token's own project, or of any project for operators.
pub(super) async fn report(
    caller: Caller,
    State(app): State<App>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Failure> {
    let query = Query::of(&uri, QUERY)?;
    let project = caller.named_project(&app, &query, Permission::Read).await?;
    let mode = match query.get("mode") {
        None => Mode::Live,
        Some(text) => Mode::parse(text).map_err(|_| Failure::field("mode", text, "live or test"))?,
    };
    let by = by(&query)?;
    let csv = wants_csv(&query, &headers)?;
    let of = Exported { project: project.id.clone(), mode, span: span(&query)? };
    let paged = query.get("limit").is_some() || query.get("cursor").is_some();
    let (order, limit) = (order(&query)?, limit(&query)?);
    if query.get("agents").is_some() && !matches!(by, By::AgentDays) {
        return Err(Failure::field("agents", "agents with another group_by", ONLY_BY_DAY_AND_AGENT));
    }
    match (by, csv && !paged) {
        (By::AgentDays, _) => {
            let agents = query.required("agents", AGENTS, agents::parse)?;
            return agent_days(&app, of, agents, csv).await;
        }
        (By::PaidDays, _) if mode == Mode::Test => return Err(Failure::field("mode", "test", ONLY_LIVE)),
        (By::PaidDays, _) => return paid_days(&app, of, csv).await,
        (By::Lines, true) => return lines_as_csv(&app, of).await,
        (By::One(GroupBy::Agent), true) => return agents_as_csv(&app, of, order).await,
        (By::Lines, false) => {
            let after = cursor(&query, LinePlace::parse)?;
            let lines = app.store.usage_lines(&of, after.as_ref(), limit).await?;
            let lines = Lines::page((of.project, of.mode, of.span), lines, limit);
            return Ok(if csv { download::whole(lines.to_csv()) } else { Json(lines).into_response() });
        }
        (By::Nothing | By::One(_), _) => {}
    }
    let page = Page { order, after: cursor(&query, |text| Place::parse(text, order))?, limit };
    let now = app.clock.now();
    // Days and kinds are sums of their own: whoever asks for these alone does not wait for every agent.
    let asks_agents = matches!(by, By::Nothing | By::One(GroupBy::Agent));
    let sums = app.store.usage(&of, asks_agents.then_some(&page)).await?;
    let watermark = sums.watermark;
    let catalogue = app.store.catalogue(project.catalogue).await?;
    let usage = Usage::report(of.project, (of.mode, of.span), (sums, &page), &catalogue);
    let usage = usage.map_err(|error| Failure::internal(&error))?;
    let answer = match (by, csv) {
        (By::One(by), false) => Json(Groups::new(&usage, by)).into_response(),
        (By::One(by), true) => download::whole(Groups::new(&usage, by).to_csv()),
        (By::Nothing | By::AgentDays | By::PaidDays | By::Lines, false) => Json(usage).into_response(),
        (By::Nothing | By::AgentDays | By::PaidDays | By::Lines, true) => {
            download::whole(Groups::new(&usage, GroupBy::Day).to_csv())
        }
    };
    as_of(answer, watermark, now)
}

/// The answer with what it is as of.
fn as_of(mut answer: Response, watermark: u64, now: Timestamp) -> Result<Response, Failure> {
    let at = HeaderValue::try_from(now.to_string()).map_err(|error| Failure::internal(&error))?;
    answer.headers_mut().insert(WATERMARK_HEADER, HeaderValue::from(watermark));
    answer.headers_mut().insert(AS_OF_HEADER, at);
    Ok(answer)
}

async fn agent_days(app: &App, of: Exported, agents: Vec<AgentId>, csv: bool) -> Result<Response, Failure> {
    let now = app.clock.now();
    let (counted, watermark) = app.store.usage_of_agents(&of, &agents).await?;
    let days = AgentDays::new((of.project, of.mode, of.span), agents, counted);
    let answer = if csv { download::whole(days.to_csv()) } else { Json(days).into_response() };
    as_of(answer, watermark, now)
}

async fn paid_days(app: &App, of: Exported, csv: bool) -> Result<Response, Failure> {
    let now = app.clock.now();
    let found = app.store.usage_paid(&of).await?;
    let (book, daily, watermark) = found.ok_or_else(Failure::project_unknown)?;
    let days = PaidDays::new(&book, of.span, &daily, now).map_err(|refusal| Failure::internal(&refusal))?;
    let answer = if csv { download::whole(days.to_csv()) } else { Json(days).into_response() };
    as_of(answer, watermark, now)
}

async fn lines_as_csv(app: &App, of: Exported) -> Result<Response, Failure> {
    let (to, pieces) = mpsc::channel(download::PIECES_MAX);
    let store = app.store.clone();
    let now = app.clock.now();
    tokio::spawn(async move { store.export_lines(of, to).await });
    let (answer, watermark) = download::pieces(UsageLine::CSV_HEAD, pieces, UsageLine::csv).await?;
    as_of(answer, watermark, now)
}

async fn agents_as_csv(app: &App, of: Exported, order: Order) -> Result<Response, Failure> {
    let (to, pieces) = mpsc::channel(download::PIECES_MAX);
    let store = app.store.clone();
    let now = app.clock.now();
    tokio::spawn(async move { store.export_agents(of, order, to).await });
    let (answer, watermark) = download::pieces(UsageAgent::CSV_HEAD, pieces, UsageAgent::csv).await?;
    as_of(answer, watermark, now)
}

/// What units are added up by.
#[derive(Debug, Clone, Copy)]
enum By {
    /// The report itself.
    Nothing,
    One(GroupBy),
    AgentDays,
    PaidDays,
    Lines,
}

fn by(query: &Query) -> Result<By, Failure> {
    match query.get("group_by") {
        None => Ok(By::Nothing),
        Some(Lines::NAME) => Ok(By::Lines),
        Some(AgentDays::NAME) => Ok(By::AgentDays),
        Some(PaidDays::NAME) => Ok(By::PaidDays),
        Some(_) => query.required("group_by", GROUP_BY, GroupBy::parse).map(By::One),
    }
}

fn order(query: &Query) -> Result<Order, Failure> {
    Ok(query.optional("order", ORDER, Order::parse)?.unwrap_or(Order::Units))
}

/// How many agents or lines a page has.
fn limit(query: &Query) -> Result<usize, Failure> {
    let within = |text: &str| whole(text).filter(|limit| (1..=LIMIT_MAX).contains(limit));
    let limit = match query.get("limit") {
        None => LIMIT_MAX,
        Some(text) => within(text).ok_or_else(|| Failure::field("limit", text, LIMIT))?,
    };
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

fn cursor<T>(query: &Query, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Failure> {
    let read = |text| parse(text).ok_or_else(|| Failure::field("cursor", text, CURSOR));
    query.get("cursor").map(read).transpose()
}

/// CSV where the query says so; else where CSV is the one thing that is accepted.
fn wants_csv(query: &Query, headers: &HeaderMap) -> Result<bool, Failure> {
    match query.get("format") {
        Some("csv") => Ok(true),
        Some("json") => Ok(false),
        Some(other) => Err(Failure::field("format", other, "json or csv")),
        None => {
            let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
            Ok(accept.is_some_and(|accept| accept.trim().eq_ignore_ascii_case("text/csv")))
        }
    }
}

fn span(query: &Query) -> Result<Span, Failure> {
    let (from, to) = (query.required("from", DATE, Day::parse)?, query.required("to", DATE, Day::parse)?);
    Span::new(from, to).map_err(|error| match error {
        SpanError::Reversed => {
            Failure::field("to", &to.to_string(), &format!("a date not before from, which is {from}"))
        }
        SpanError::TooLong => Failure::field(
            "to",
            &to.to_string(),
            &format!("a date at most {DAYS_MAX} days after from, both counted"),
        ),
    })
}
