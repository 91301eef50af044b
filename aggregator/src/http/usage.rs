//! `GET /api/v1/usage`: what a project used, by day and by agent.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use shared::ids::Mode;
use shared::time::Day;

use super::access::Caller;
use super::failure::Failure;
use super::field::{Field, Number, OneOf, PROJECT, Words};
use super::query::Query;
use super::route::{Route, Who};
use crate::access::Permission;
use crate::app::App;
use crate::usage::{Cursor, DAYS_MAX, Span, SpanError, Usage};
use crate::usage_groups::{GroupBy, Groups};

const DATE: &str = "a date such as 2026-05-01";

/// How a report is written.
#[derive(Debug)]
enum Format {}

impl Words for Format {
    const WORDS: &'static [&'static str] = &["json", "csv"];
}

const CSV: &str = "text/csv";

/// The most agents in a page.
const LIMIT_MAX: u64 = 10_000;

const LIMIT: &str = "1 to 10000 agents a page; all of them where it is absent";

const CURSOR: &str = "the `next` of the page before";

const QUERY: &[Field] = &[
    Field::required::<Day>("from", DATE).such_as("\"2026-05-01\""),
    Field::required::<Day>("to", DATE).such_as("\"2026-05-31\""),
    Field::optional::<Mode>("mode", "live or test; live where it is absent"),
    PROJECT,
    Field::optional::<GroupBy>("group_by", "day, agent or kind"),
    Field::optional::<OneOf<Format>>("format", "json or csv; json where it is absent"),
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
    let by = match query.get("group_by") {
        None => None,
        Some(_) => Some(query.required("group_by", "day, agent or kind", GroupBy::parse)?),
    };
    let csv = wants_csv(&query, &headers)?;
    let span = span(&query)?;
    let sums = app.store.usage(&project.id, mode, span).await?;
    let (limit, cursor) = (limit(&query)?, cursor(&query)?);
    let catalogue = app.store.catalogue(project.catalogue).await?;
    let usage = Usage::report(project.id, mode, span, sums, &catalogue);
    let usage = usage.map_err(|error| Failure::internal(&error))?.page(cursor.as_ref(), limit);
    Ok(match (by, csv) {
        (None, false) => Json(usage).into_response(),
        (Some(by), false) => Json(Groups::new(&usage, by)).into_response(),
        (by, true) => {
            let groups = Groups::new(&usage, by.unwrap_or(GroupBy::Day));
            ([(header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present")], groups.to_csv())
                .into_response()
        }
    })
}

/// How many agents a page has; all of them where it is not said.
fn limit(query: &Query) -> Result<Option<usize>, Failure> {
    let within = |text: &str| text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    let limit =
        query.get("limit").map(|text| within(text).ok_or_else(|| Failure::field("limit", text, LIMIT)));
    Ok(limit.transpose()?.and_then(|limit| usize::try_from(limit).ok()))
}

fn cursor(query: &Query) -> Result<Option<Cursor>, Failure> {
    let read = |text| Cursor::parse(text).ok_or_else(|| Failure::field("cursor", text, CURSOR));
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
