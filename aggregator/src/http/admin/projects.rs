//! `/api/v1/admin/projects`: projects and their limits.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::ProjectId;
use shared::plan::Plan;
use shared::policy::Status;
use shared::problem::ErrorCode;
use shared::time::Timestamp;
use shared::units::Units;

use crate::access::Permission;
use crate::app::App;
use crate::http::access::{Operate, Operator, Permitted, Read};
use crate::http::billing::{LEVELS_WORDS, levels};
use crate::http::body::Fields;
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::{Field, List, Number};
use crate::http::query::Query;
use crate::http::route::{Route, Who};
use crate::projects::book::Book;
use crate::projects::policy::Basis;
use crate::projects::project::{NewProject, ProjectChange, RPM_MAX, Setting};

/// Projects in one answer.
const PAGE_MAX: u32 = 100;

const PLANS: &str = "community, pro, business or enterprise";

const RPM_WORDS: &str = "1 to 1000000, or null for the plan's";

const INCLUDED_WORDS: &str = "0 to 9007199254740991, or null for the plan's";

/// Requests per minute, or the plan's.
type Rpm = Option<Number<1, 1_000_000>>;

const PAGE: &[Field] =
    &[Field::optional::<String>("after", "the id that the page before ended with, as its `next` says")];

const NEW: &[Field] = &[
    Field::required::<ProjectId>("id", "1 to 48 of a-z, 0-9 and inner hyphens").such_as("\"demo\""),
    Field::required::<Plan>("plan", PLANS).such_as("\"pro\""),
    Field::optional::<Rpm>("rpm", RPM_WORDS),
    Field::optional::<Option<Units>>("included", INCLUDED_WORDS),
];

const CHANGE: &[Field] = &[
    Field::optional::<Plan>("plan", PLANS),
    Field::optional::<Rpm>("rpm", RPM_WORDS).such_as("61"),
    Field::optional::<Option<Units>>("included", INCLUDED_WORDS),
    Field::optional::<bool>("suspended", "true or false"),
    Field::optional::<Option<List<Number<1, 100>, 1, 10>>>("thresholds", LEVELS_WORDS).such_as("[50,80,100]"),
];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let (read, operate) = (Who::InProject(Permission::Read), Who::InProject(Permission::Operate));
    vec![
        Route::get("/api/v1/admin/projects", Who::Operator, "List projects", list)
            .query(PAGE)
            .answers::<ProjectPage>(200, "A page of projects, in the order of their ids"),
        Route::post("/api/v1/admin/projects", Who::Operator, "Make a project", create)
            .body(NEW)
            .answers::<ProjectView>(201, "The project")
            .refuses(&[ErrorCode::ProjectExists]),
        Route::get("/api/v1/admin/projects/{project}", read, "Show a project", show)
            .answers::<ProjectView>(200, "The project with the limits that are in force"),
        Route::patch("/api/v1/admin/projects/{project}", operate, "Change a project", change)
            .body(CHANGE)
            .answers::<ProjectView>(200, "The project as it is now"),
    ]
}

/// A project as administrators see it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProjectView {
    id: ProjectId,
    plan: Plan,
    rpm: u32,
    included: Units,
    suspended: bool,
    catalogue: u32,
    auto_overage: bool,
    /// How many agents may be used in a month; `null` is unlimited.
    agents_max: Option<u32>,
    /// How many members the project may have; `null` is unlimited.
    members_max: Option<u32>,
    /// At which percentages of the quota `usage.threshold_reached` is told.
    thresholds: Vec<u8>,
    own: OwnLimits,
    policy_version: u64,
    created_at: String,
}

/// Limits that are the project's own; `null` is the plan's.
#[derive(Debug, Serialize, JsonSchema)]
struct OwnLimits {
    rpm: Option<u32>,
    included: Option<Units>,
    thresholds: Option<Vec<u8>>,
}

impl ProjectView {
    /// The project with the limits that are in force.
    #[must_use]
    pub fn new(book: Book, basis: &Basis, now: Timestamp) -> Self {
        let Book { project, ledger, .. } = book;
        let in_force = basis.in_force(&project, &ledger, now);
        Self {
            plan: in_force.plan,
            rpm: in_force.rpm,
            included: in_force.included,
            suspended: in_force.status == Status::Suspended,
            catalogue: project.catalogue,
            auto_overage: project.auto_overage,
            agents_max: in_force.agents_max,
            members_max: in_force.members_max,
            thresholds: in_force.levels.into(),
            own: OwnLimits {
                rpm: project.rpm_own,
                included: project.included_own,
                thresholds: project.levels_own.map(Vec::from),
            },
            policy_version: project.policy_version,
            created_at: project.created.to_string(),
            id: project.id,
        }
    }
}

/// One page of projects.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ProjectPage {
    projects: Vec<ProjectView>,
    /// What to send as `after` for the next page.
    next: Option<ProjectId>,
}

/// Lists projects in the order of their ids.
pub(crate) async fn list(
    _: Operator,
    State(app): State<App>,
    uri: Uri,
) -> Result<Json<ProjectPage>, Failure> {
    let query = Query::of(&uri, PAGE)?;
    let mut projects =
        app.store.books(query.get("after").unwrap_or_default(), PAGE_MAX.saturating_add(1)).await?;
    let page = usize::try_from(PAGE_MAX).unwrap_or(usize::MAX);
    let more = projects.len() > page;
    projects.truncate(page);
    let next = projects.last().filter(|_| more).map(|book| book.project.id.clone());
    let projects = projects.into_iter().map(|book| view(&app, book)).collect();
    Ok(Json(ProjectPage { projects, next }))
}

/// Makes a project.
pub(crate) async fn create(
    Operator(token): Operator,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut fields = call.fields()?.of(NEW)?;
    let new = NewProject {
        id: fields.required("id", "1 to 48 of a-z, 0-9 and inner hyphens")?,
        plan: fields.required("plan", PLANS)?,
        rpm: rpm(&mut fields)?.unwrap_or(Setting::Plan),
        included: included(&mut fields)?.unwrap_or(Setting::Plan),
    };
    let mut change = call.begin(&app).await?;
    let book = change.create_project(new, app.clock.now()).await?.ok_or_else(|| {
        Failure::new(
            ErrorCode::ProjectExists,
            "There is already a project of that id. Choose another, or change it with PATCH.",
        )
    })?;
    tracing::info!(project.id = %book.project.id, token.id = token.id, plan = %book.project.plan, "project created");
    change.answer(StatusCode::CREATED, &view(&app, book)).await
}

/// Shows a project.
pub(crate) async fn show(on: Permitted<Read>, State(app): State<App>) -> Result<Json<ProjectView>, Failure> {
    let book = app.store.book(&on.project.id).await?.ok_or_else(Failure::project_unknown)?;
    Ok(Json(view(&app, book)))
}

/// Changes a project's plan, limits or status.
pub(crate) async fn change(
    on: Permitted<Operate>,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut fields = call.fields()?.of(CHANGE)?;
    let wanted = ProjectChange {
        plan: fields.optional("plan", PLANS)?,
        rpm: rpm(&mut fields)?,
        included: included(&mut fields)?,
        status: fields.optional("suspended", "true or false")?.map(status),
        levels: levels(&mut fields)?,
    };
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let changed = change.change_project(&on.project.id, wanted, app.clock.now()).await?;
    let changed = changed.ok_or_else(Failure::project_unknown)?;
    app.metrics.crossed(changed.crossings);
    if changed.differs {
        let version = changed.book.project.policy_version;
        tracing::info!(project.id = %on.project.id, token.id = on.token.id, policy.version = version, "project changed");
    }
    change.answer(StatusCode::OK, &view(&app, changed.book)).await
}

/// Suspended or active.
fn status(suspended: bool) -> Status {
    if suspended { Status::Suspended } else { Status::Active }
}

fn rpm(fields: &mut Fields) -> Result<Option<Setting<u32>>, Failure> {
    let rpm: Option<Option<u32>> = fields.optional("rpm", RPM_WORDS)?;
    match rpm.flatten() {
        Some(rpm) if rpm == 0 || rpm > RPM_MAX => Err(Failure::field("rpm", &rpm.to_string(), RPM_WORDS)),
        Some(_) | None => Ok(rpm.map(|rpm| rpm.map_or(Setting::Plan, Setting::Own))),
    }
}

fn included(fields: &mut Fields) -> Result<Option<Setting<Units>>, Failure> {
    let included: Option<Option<Units>> = fields.optional("included", INCLUDED_WORDS)?;
    Ok(included.map(|included| included.map_or(Setting::Plan, Setting::Own)))
}

fn view(app: &App, book: Book) -> ProjectView {
    ProjectView::new(book, &app.basis, app.clock.now())
}
