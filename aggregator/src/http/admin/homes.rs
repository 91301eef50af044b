//! `/api/v1/admin/projects/{project}/homes`: at which place a project's homes are, and having them move.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::home::HomeName;
use shared::ids::{Mode, ProjectId};
use shared::policy::Place;
use shared::problem::ErrorCode;

use crate::access::Permission;
use crate::app::{App, NotThere};
use crate::http::access::{Operate, Permitted};
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::Field;
use crate::http::route::{Route, Who};
use crate::projects::stay::Stay;

const PATH: &str = "/api/v1/admin/projects/{project}/homes";

const PLACES: &str = "durable_object or redis";

const MOVE: &[Field] = &[Field::required::<Place>("to", PLACES).such_as("\"redis\"")];

/// When to ask again where a place does not answer.
const AGAIN_S: u64 = 2;

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let operate = Who::InProject(Permission::Operate);
    vec![
        Route::get(PATH, operate, "Show where a project's homes are", show)
            .answers::<HomesView>(200, "The place, and how far a move is"),
        Route::post(PATH, operate, "Move a project's homes", leave)
            .body(MOVE)
            .answers::<HomesView>(200, "The place, and how far the move is; asked again, it changes nothing")
            .refuses(&[ErrorCode::HomeUnavailable]),
    ]
}

/// Where a project's homes are.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct HomesView {
    project: ProjectId,
    /// The place that has them, or that they are leaving.
    place: Place,
    /// Where they are to be; `null` where they are not leaving.
    moving_to: Option<Place>,
    /// How many steps there were: each move has two.
    term: u64,
    /// While they are leaving: which have ended. Once both have, the other place has them.
    ended: BTreeMap<Mode, bool>,
}

impl HomesView {
    fn of(project: &ProjectId, stay: Stay, ended: BTreeMap<Mode, bool>) -> Self {
        let Stay { place, term, moving_to } = stay;
        Self { project: project.clone(), place, moving_to, term, ended }
    }
}

/// Which have ended, of homes that are leaving.
async fn ended(app: &App, project: &ProjectId, stay: Stay) -> Result<BTreeMap<Mode, bool>, Failure> {
    match stay.moving_to {
        Some(_) => Ok(app.store.ended_homes(project, stay).await?),
        None => Ok(BTreeMap::new()),
    }
}

/// Shows where they are.
pub(crate) async fn show(on: Permitted<Operate>, State(app): State<App>) -> Result<Json<HomesView>, Failure> {
    let stay = app.homes.stay(&on.project);
    let ended = ended(&app, &on.project.id, stay).await?;
    Ok(Json(HomesView::of(&on.project.id, stay, ended)))
}

/// Has them leave.
pub(crate) async fn leave(
    on: Permitted<Operate>,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut fields = call.fields()?.of(MOVE)?;
    let to: Place = fields.required("to", PLACES)?;
    let project = &on.project.id;
    // Whoever asks again is not to be held up by a place that is away for the moment.
    if app.homes.stay(&on.project).leaving_for(to) != app.homes.stay(&on.project) {
        check(&app, project, to).await?;
    }
    let mut change = call.begin_in(&app, project).await?;
    let stay = change.move_homes(project, (app.homes.first(), to), app.clock.now()).await?;
    let stay = stay.ok_or_else(Failure::project_unknown)?;
    if let Some(to) = stay.moving_to {
        tracing::info!(project.id = %project, token.id = on.token.id, from = %stay.place, to = %to, "homes are to move");
    }
    let ended =
        Mode::ALL.into_iter().filter(|_| stay.moving_to.is_some()).map(|mode| (mode, false)).collect();
    change.answer(StatusCode::OK, &HomesView::of(project, stay, ended)).await
}

/// Refuses a place that homes could not be at.
async fn check(app: &App, project: &ProjectId, to: Place) -> Result<(), Failure> {
    let (book, keys) = app.store.policy_parts(project).await?.ok_or_else(Failure::project_unknown)?;
    let signed = app.signed_policy(&book, keys).map_err(|error| Failure::internal(&error))?;
    let home = HomeName { project: project.clone(), mode: Mode::Live };
    app.homes.check(to, &signed, &home).await.map_err(|why| match why {
        NotThere::Unset(why) => {
            Failure::field("to", to.as_str(), &format!("a place where homes can be, but {why}"))
        }
        NotThere::Away(why) => Failure::wait(
            ErrorCode::HomeUnavailable,
            format!("Homes cannot be at {to} for the moment: {why}. Nothing was changed."),
            AGAIN_S,
        ),
    })
}
