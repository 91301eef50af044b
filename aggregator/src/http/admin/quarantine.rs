//! `/api/v1/admin/projects/{project}/quarantine`: cells that could not be true, for people to decide about.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::{AgentId, Incarnation, Mode, SourceId};
use shared::kind::Kind;
use shared::problem::ErrorCode;
use shared::time::Day;
use shared::units::Units;

use crate::access::Permission;
use crate::app::App;
use crate::http::access::{NamedInPath, Operate, Permitted};
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::route::{Route, Who};
use crate::store::{Decided, Quarantined};

/// Cells in one answer; whoever has decided about these sees the next.
const CELLS_MAX: usize = 500;

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let operate = Who::InProject(Permission::Operate);
    vec![
        Route::get("/api/v1/admin/projects/{project}/quarantine", operate, "List quarantined cells", list)
            .answers::<QuarantineList>(200, "Cells that were not believed, the first 500"),
        Route::post(
            "/api/v1/admin/projects/{project}/quarantine/{name}/accept",
            operate,
            "Accept a quarantined cell",
            accept,
        )
        .answers::<QuarantinedView>(200, "The cell, which is counted and billed now")
        .refuses(&[ErrorCode::NotFound]),
        Route::delete(
            "/api/v1/admin/projects/{project}/quarantine/{name}",
            operate,
            "Drop a quarantined cell",
            discard,
        )
        .answers::<QuarantinedView>(200, "The cell, which is gone now")
        .refuses(&[ErrorCode::NotFound]),
    ]
}

/// Cells that are set aside.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QuarantineList {
    cells: Vec<QuarantinedView>,
    /// How many there are in all.
    total: usize,
}

/// A cell that is set aside.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QuarantinedView {
    id: String,
    mode: Mode,
    source: SourceId,
    incarnation: Incarnation,
    day: Day,
    kind: Kind,
    agent: AgentId,
    units: Units,
    tokens_in: Units,
    tokens_out: Units,
    anchors: Units,
    /// `above_rate` or `in_future`.
    reason: &'static str,
    first_seen_at: String,
}

impl From<Quarantined> for QuarantinedView {
    fn from(found: Quarantined) -> Self {
        let (key, counts) = (found.cell.key, found.cell.counts);
        Self {
            id: found.id,
            mode: found.mode,
            source: found.source,
            incarnation: found.incarnation,
            day: key.day,
            kind: key.kind,
            agent: key.agent,
            units: counts.units,
            tokens_in: counts.tokens_in,
            tokens_out: counts.tokens_out,
            anchors: counts.anchors,
            reason: found.reason.as_str(),
            first_seen_at: found.first_seen.to_string(),
        }
    }
}

/// Lists what is set aside.
pub(crate) async fn list(
    on: Permitted<Operate>,
    State(app): State<App>,
) -> Result<Json<QuarantineList>, Failure> {
    let cells = app.store.quarantine(&on.project.id).await?;
    let total = cells.len();
    let cells = cells.into_iter().take(CELLS_MAX).map(QuarantinedView::from).collect();
    Ok(Json(QuarantineList { cells, total }))
}

/// Merges a cell after all.
pub(crate) async fn accept(
    on: Permitted<Operate>,
    NamedInPath(id): NamedInPath,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let decided = change.accept_quarantined(&on.project.id, &id, app.clock.now()).await?;
    let Decided::Cell(found, crossings) = decided else { return Err(Failure::cell_unknown()) };
    app.metrics.crossed(crossings);
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, cell.id = id, "quarantined cell accepted");
    change.answer(StatusCode::OK, &QuarantinedView::from(*found)).await
}

/// Throws a cell away.
pub(crate) async fn discard(
    on: Permitted<Operate>,
    NamedInPath(id): NamedInPath,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let decided = change.drop_quarantined(&on.project.id, &id, app.clock.now()).await?;
    let Decided::Cell(found, _) = decided else { return Err(Failure::cell_unknown()) };
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, cell.id = id, "quarantined cell dropped");
    change.answer(StatusCode::OK, &QuarantinedView::from(*found)).await
}
