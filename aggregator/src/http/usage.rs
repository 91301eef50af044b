//! `GET /api/v1/usage`: what a project used, by day and by agent.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use shared::ids::Mode;
use shared::time::Day;

use super::access::Caller;
use super::failure::Failure;
use super::query::Query;
use crate::access::{Permission, Scope};
use crate::app::App;
use crate::usage::{DAYS_MAX, Span, SpanError, Usage};

const DATE: &str = "a date such as 2026-05-01";

/// Answers the report of a token's own project, or of any project for operators.
pub(super) async fn report(caller: Caller, State(app): State<App>, uri: Uri) -> Result<Json<Usage>, Failure> {
    let query = Query::parse(uri.query(), &["from", "to", "mode", "project"])?;
    let own = match &caller.0.scope {
        Scope::Operator => None,
        Scope::Project { project, .. } => Some(project.as_str()),
    };
    let named = query.get("project").or(own);
    let named = named
        .ok_or_else(|| Failure::field("project", "nothing", "a project id, which operators have to name"))?;
    let project = caller.project(&app, named, Permission::Read).await?;
    let mode = match query.get("mode") {
        None => Mode::Live,
        Some(text) => Mode::parse(text).map_err(|_| Failure::field("mode", text, "live or test"))?,
    };
    let span = span(&query)?;
    let sums = app.store.usage(&project.id, mode, span).await?;
    Ok(Json(Usage::report(project.id, mode, span, sums)))
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
