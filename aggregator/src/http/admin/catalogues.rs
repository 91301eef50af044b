//! `/api/v1/admin/plans`: the versions of the plan catalogue, and a new one.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use shared::openapi::AnyObject;
use shared::plan::Catalogue;

use crate::app::App;
use crate::http::access::Operator;
use crate::http::body::Fields;
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::Field;
use crate::http::route::{Route, Who};
use crate::store::Applied;

const PATH: &str = "/api/v1/admin/plans";

const CATALOGUE: &str = "a plan catalogue, as `meter plans apply` reads it from a file";

const NEW: &[Field] =
    &[Field::required::<AnyObject>("catalogue", CATALOGUE).such_as(Catalogue::DEFAULT_JSON)];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(PATH, Who::Operator, "List versions of the plan catalogue", list)
            .answers::<CatalogueList>(200, "Every version that was applied, the oldest first"),
        Route::post(PATH, Who::Operator, "Apply a plan catalogue", apply).body(NEW).answers::<AppliedView>(
            200,
            "It is the newest, for new projects and changes of plan from now on",
        ),
    ]
}

/// Every version that was applied.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CatalogueList {
    versions: Vec<VersionView>,
}

/// A version of the plan catalogue.
#[derive(Debug, Serialize, JsonSchema)]
struct VersionView {
    version: u32,
    applied_at: String,
    /// How many projects are on it.
    projects: u64,
    #[schemars(with = "AnyObject")]
    catalogue: Catalogue,
}

/// What came of applying a catalogue.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AppliedView {
    version: u32,
    /// Whether it was applied now; false where it was the newest already.
    applied: bool,
}

/// A catalogue in the body's field of that name.
pub(super) fn catalogue(fields: &mut Fields, accepts: &str) -> Result<Catalogue, Failure> {
    let written: Value = fields.required("catalogue", accepts)?;
    Catalogue::from_json(&written.to_string()).map_err(|why| Failure::field("catalogue", &why, accepts))
}

async fn list(_: Operator, State(app): State<App>) -> Result<Json<CatalogueList>, Failure> {
    let projects = app.store.projects_by_catalogue().await?;
    let view = |(catalogue, applied): (Catalogue, shared::time::Timestamp)| VersionView {
        version: catalogue.version,
        applied_at: applied.to_string(),
        projects: projects.get(&catalogue.version).copied().unwrap_or(0),
        catalogue,
    };
    Ok(Json(CatalogueList { versions: app.store.catalogues().await?.into_iter().map(view).collect() }))
}

async fn apply(Operator(token): Operator, State(app): State<App>, call: Call) -> Result<Response, Failure> {
    let catalogue = catalogue(&mut call.fields()?.of(NEW)?, CATALOGUE)?;
    let version = catalogue.version;
    let mut change = call.begin(&app).await?;
    let applied = match change.apply_catalogue(&catalogue, app.clock.now()).await? {
        Applied::Now => true,
        Applied::Before => false,
        Applied::Outrun(newest) => {
            let accepts = format!("more than {newest}, which is applied and differs; projects are on it");
            return Err(Failure::field("version", &version.to_string(), &accepts));
        }
    };
    tracing::info!(token.id = token.id, version, applied, "plan catalogue applied");
    change.answer(StatusCode::OK, &AppliedView { version, applied }).await
}
