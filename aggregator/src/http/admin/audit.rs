//! `GET /api/v1/admin/audit`: who changed what, the newest first.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use shared::ids::ProjectId;
use shared::whole::whole;

use crate::access::{Permission, Scope};
use crate::app::App;
use crate::http::access::Caller;
use crate::http::failure::Failure;
use crate::http::field::{Field, Number};
use crate::http::query::Query;
use crate::http::route::{Route, Who};
use crate::store::{Noted, TrailQuery};

/// Lines in one answer.
const PAGE_MAX: u32 = 100;

/// The largest number that a line can have.
const NUMBER_MAX: u64 = (1 << 53) - 1;

const BEFORE: &str = "the number that the page before ended with, as its `next` says";

const QUERY: &[Field] = &[
    Field::optional::<ProjectId>(
        "project",
        "a project id; a project's token has its own, operators see all projects without one",
    )
    .such_as("\"demo\""),
    Field::optional::<Number<1, NUMBER_MAX>>("before", BEFORE),
];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/admin/audit", Who::InProject(Permission::ReadAudit), "Read the audit log", read)
            .query(QUERY)
            .answers::<AuditPage>(200, "Who changed what, the newest first"),
    ]
}

/// One page of the audit log.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AuditPage {
    entries: Vec<AuditView>,
    /// What to send as `before` for the next page.
    next: Option<u64>,
}

/// One line of the audit log.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AuditView {
    number: u64,
    at: String,
    actor: ActorView,
    project: Option<String>,
    /// What was done, such as `key.revoked`.
    action: String,
    /// The id of what it was done to.
    target: String,
    /// The e-mail address of the account that it was done to, where it was one that is not erased.
    target_person: Option<String>,
    /// What was before; null where there was nothing.
    was: Value,
    /// What is since; null where there is nothing.
    became: Value,
}

/// Who did it.
#[derive(Debug, Serialize, JsonSchema)]
struct ActorView {
    /// `token`, `person`, `command` or `job`.
    kind: String,
    /// The token's id, the person's e-mail address now (`erased` where the account is), the user at the command line, or the
    /// job's name.
    name: String,
    /// The person's account; absent of others, and of what releases before have noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    role: String,
}

/// What an account is called that is not there any more.
const ERASED: &str = "erased";

/// Who acted. Releases before noted a person's address; no id has such a sign in it.
fn actor(kind: String, actor: String, person: Option<String>, role: String) -> ActorView {
    if kind != "person" || actor.contains('@') {
        return ActorView { kind, name: actor, account: None, role };
    }
    ActorView { kind, name: person.unwrap_or_else(|| ERASED.to_owned()), account: Some(actor), role }
}

impl From<Noted> for AuditView {
    fn from(noted: Noted) -> Self {
        let value = |text: Option<String>| {
            text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null)
        };
        Self {
            number: noted.number,
            at: noted.at.to_string(),
            actor: actor(noted.actor_kind, noted.actor, noted.person, noted.role),
            project: noted.project,
            action: noted.action,
            target: noted.target,
            target_person: noted.target_person,
            was: value(noted.was),
            became: value(noted.became),
        }
    }
}

/// Shows a page.
pub(crate) async fn read(
    caller: Caller,
    State(app): State<App>,
    uri: Uri,
) -> Result<Json<AuditPage>, Failure> {
    let query = Query::of(&uri, QUERY)?;
    let before = query.optional("before", BEFORE, number)?;
    let everywhere = caller.token.scope == Scope::Operator && query.get("project").is_none();
    let project = if everywhere {
        None
    } else {
        Some(caller.named_project(&app, &query, Permission::ReadAudit).await?.id)
    };
    let trail = TrailQuery { project: project.as_ref(), before, limit: PAGE_MAX.saturating_add(1) };
    let mut entries = app.store.trail(trail).await?;
    let page = usize::try_from(PAGE_MAX).unwrap_or(usize::MAX);
    let more = entries.len() > page;
    entries.truncate(page);
    let next = entries.last().filter(|_| more).map(|noted| noted.number);
    Ok(Json(AuditPage { entries: entries.into_iter().map(AuditView::from).collect(), next }))
}

fn number(text: &str) -> Option<u64> {
    whole(text).filter(|number| (1..=NUMBER_MAX).contains(number))
}
