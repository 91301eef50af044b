//! `POST /api/v1/admin/plans/migrate`: brings projects to the newest version of the plan catalogue, or says what that
//! would change. Each project is a change of its own, and one that is there already is left as it is, so that whoever
//! was interrupted asks again.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::ProjectId;
use shared::plan::{Catalogue, Plan};
use shared::problem::ErrorCode;
use shared::time::Timestamp;

use super::plans::DifferenceView;
use crate::app::App;
use crate::http::access::Operator;
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::Field;
use crate::http::route::{Route, Who};
use crate::ledger::catalogue::terms_differences;
use crate::ledger::entry::Fact;
use crate::projects::book::Book;
use crate::store::{Post, Store};

/// The most projects that one call looks at.
const PAGE: u32 = 200;

const PROJECT: &str = "the id of the one project that is meant";
const PLAN: &str = "community, pro, business or enterprise: only projects on this plan";
const AFTER: &str = "the `next` of the answer before, to go on there";
const DO: &str = "true to bring them there, false to say what that would change";

const ASKED: &[Field] = &[
    Field::optional::<ProjectId>("project", PROJECT),
    Field::optional::<Plan>("plan", PLAN),
    Field::optional::<ProjectId>("after", AFTER),
    Field::required::<bool>("do", DO).such_as("true"),
];

/// The endpoint of this module.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/api/v1/admin/plans/migrate",
            Who::Operator,
            "Bring projects to the newest plan catalogue",
            migrate,
        )
        .body(ASKED)
        .answers::<MigrationView>(200, "What differs for whom, and whether it was done")
        .refuses(&[ErrorCode::ProjectUnknown]),
    ]
}

/// What a migration changes.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct MigrationView {
    /// The newest version.
    to: u32,
    /// The projects that differ from it, among those that this call looked at.
    projects: Vec<MigratedView>,
    /// Where the next call goes on; `null` after the last project.
    next: Option<ProjectId>,
}

/// What a migration changes for a project.
#[derive(Debug, Serialize, JsonSchema)]
struct MigratedView {
    project: ProjectId,
    plan: Plan,
    from: u32,
    to: u32,
    differences: Vec<DifferenceView>,
    /// Why it stays as it is, where the ledger refuses.
    refused: Option<String>,
    done: bool,
}

async fn migrate(Operator(token): Operator, State(app): State<App>, call: Call) -> Result<Response, Failure> {
    let mut fields = call.fields()?.of(ASKED)?;
    let project: Option<ProjectId> = fields.optional("project", PROJECT)?;
    let plan: Option<Plan> = fields.optional("plan", PLAN)?;
    let after: Option<ProjectId> = fields.optional("after", AFTER)?;
    let is_done = fields.required("do", DO)?;
    call.answered(&app).await?;
    let (books, next) = page(&app, project, after).await?;
    let (newest, now) = (app.store.newest_catalogue().await?, app.clock.now());
    let mut projects: Vec<MigratedView> =
        books.iter().filter_map(|book| preview(book, &newest, now)).collect();
    projects.retain(|one| plan.is_none_or(|plan| plan == one.plan));
    if is_done {
        let store = call.store(&app);
        for one in projects.iter_mut().filter(|one| one.refused.is_none()) {
            bring(&store, one, now).await?;
        }
        let done = projects.iter().filter(|one| one.done).count();
        tracing::info!(token.id = token.id, version = newest.version, done, "projects migrated");
    }
    let told = MigrationView { to: newest.version, projects, next };
    call.begin(&app).await?.answer(StatusCode::OK, &told).await
}

/// The books that one call looks at, and where the next one goes on.
async fn page(
    app: &App,
    project: Option<ProjectId>,
    after: Option<ProjectId>,
) -> Result<(Vec<Book>, Option<ProjectId>), Failure> {
    if let Some(id) = project {
        let book = app.store.book(&id).await?.ok_or_else(Failure::project_unknown)?;
        return Ok((vec![book], None));
    }
    let books = app.store.books(after.as_ref().map_or("", ProjectId::as_str), PAGE).await?;
    let is_full = books.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
    let next = books.last().map(|book| book.project.id.clone()).filter(|_| is_full);
    Ok((books, next))
}

/// Brings one project to the newest version, and notes what became of it.
async fn bring(store: &Store, one: &mut MigratedView, now: Timestamp) -> Result<(), Failure> {
    match store.migrate_project(&one.project, now).await? {
        Post::Posted(posted) => one.done = posted.differs,
        Post::Refused(refusal) => one.refused = Some(refusal.to_string()),
        Post::ProjectUnknown => {}
    }
    Ok(())
}

/// What migrating one project would change; nothing where nothing differs.
fn preview(book: &Book, newest: &Catalogue, now: Timestamp) -> Option<MigratedView> {
    let before = book.ledger.timeline().subscribed_at(now);
    let told = |differences, refused| MigratedView {
        project: book.project.id.clone(),
        plan: before.plan,
        from: before.catalogue,
        to: newest.version,
        differences,
        refused,
        done: false,
    };
    match book.migration(newest, now) {
        Ok(postings) if postings.is_empty() => None,
        Ok(postings) => {
            let terms_of = |fact| if let Fact::PlanChanged { terms, .. } = fact { Some(terms) } else { None };
            let after = postings.into_iter().find_map(|posting| terms_of(posting.fact))?;
            let differences = terms_differences(before, &after).into_iter().map(DifferenceView::from);
            Some(told(differences.collect(), None))
        }
        Err(refusal) => Some(told(vec![], Some(refusal.to_string()))),
    }
}
