//! `GET /api/v1/overview`: where a project stands now, all figures of one state of the books.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;

use super::access::Caller;
use super::failure::Failure;
use super::field::{Field, PROJECT};
use super::query::Query;
use super::route::{Route, Who};
use crate::access::Permission;
use crate::app::App;
use crate::metering::overview::Overview;

const QUERY: &[Field] = &[PROJECT];

/// The endpoint of this module.
pub(super) fn routes() -> Vec<Route> {
    let read = Who::InProject(Permission::Read);
    vec![
        Route::get("/api/v1/overview", read, "Show a project at a glance", show)
            .query(QUERY)
            .answers::<Overview>(200, "Today, this month, its limits and how it goes, as of one instant"),
    ]
}

async fn show(caller: Caller, State(app): State<App>, uri: Uri) -> Result<Json<Overview>, Failure> {
    let query = Query::of(&uri, QUERY)?;
    let project = caller.named_project(&app, &query, Permission::Read).await?;
    let now = app.clock.now();
    let known = app.store.overview(&project.id, now).await?.ok_or_else(Failure::project_unknown)?;
    let limits = app.basis.in_force(&known.book.project, &known.book.ledger, now);
    let overview = Overview::new(&known, (limits.rpm, limits.agents_max), now);
    overview.map(Json).map_err(|refusal| Failure::internal(&refusal))
}
