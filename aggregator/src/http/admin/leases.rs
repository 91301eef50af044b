//! `/api/v1/admin/projects/{project}/leases`: who has what of a project's units.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use shared::ids::Mode;

use crate::access::Permission;
use crate::app::App;
use crate::http::access::{Operate, Permitted};
use crate::http::failure::Failure;
use crate::http::route::{Route, Who};
use crate::metering::leases::LeaseMap;
use crate::metering::usage::Span;
use crate::store::Exported;

/// The endpoint of this module.
pub(super) fn routes() -> Vec<Route> {
    let operate = Who::InProject(Permission::Operate);
    vec![
        Route::get(
            "/api/v1/admin/projects/{project}/leases",
            operate,
            "Show who has a project's units",
            show,
        )
        .answers::<LeaseMap>(200, "What the homes tell now, or why they could not be asked"),
    ]
}

async fn show(on: Permitted<Operate>, State(app): State<App>) -> Result<Json<LeaseMap>, Failure> {
    let (project, now) = (&on.project.id, app.clock.now());
    let told = app.homes.leases(&on.project, &app.signing_keys, now).await;
    if let Err(why) = &told {
        tracing::warn!(project.id = %project, why, "the homes could not be asked for their leases");
    }
    let mut denied = BTreeMap::new();
    for mode in Mode::ALL {
        let month = Exported { project: project.clone(), mode, span: Span::of(now.period()) };
        denied.insert(mode, app.store.denials(&month).await?);
    }
    Ok(Json(LeaseMap::new((project, now), told, &denied)))
}
