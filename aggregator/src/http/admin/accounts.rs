//! `/api/v1/admin/accounts`: people who sign in, as operators see them.
//!
//! No call over a network makes a person an operator, or signs in as one: that is done on the books alone.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::ProjectId;
use shared::problem::ErrorCode;

use super::members::{member, members_max, name};
use crate::access::account::{Account, EMAIL, Email};
use crate::access::member::{NAME, NAME_CHARS_MAX};
use crate::access::session::{Purpose, SecretText};
use crate::access::{ROLES, Role};
use crate::app::App;
use crate::http::access::{NamedInPath, Operator};
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::{EmailText, Field, Text};
use crate::http::route::{Route, Who};
use crate::store::{Erased, NewAccount};

const OPERATOR: &str = "true or false; true on the books themselves only";

const PROJECT: &str = "the id of a project that the person becomes a member of";

const NEW: &[Field] = &[
    Field::required::<EmailText>("email", EMAIL),
    Field::required::<Text<1, NAME_CHARS_MAX>>("name", NAME).such_as("\"Ada Lovelace\""),
    Field::optional::<bool>("operator", OPERATOR).such_as("false"),
    Field::optional::<ProjectId>("project", PROJECT),
    Field::optional::<Role>("role", "as what, where there is a project: owner, admin, finance or viewer"),
];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let unknown = [ErrorCode::NotFound];
    vec![
        Route::get("/api/v1/admin/accounts", Who::Operator, "List accounts", list)
            .answers::<AccountList>(200, "All accounts, the oldest first"),
        Route::post("/api/v1/admin/accounts", Who::Operator, "Make an account", create)
            .body(NEW)
            .answers::<AccountView>(201, "The account, which a link signs in to")
            .refuses(&[ErrorCode::AccountExists, ErrorCode::ProjectUnknown])
            .refuses(&[ErrorCode::MemberLimit, ErrorCode::MemberExists]),
        Route::delete("/api/v1/admin/accounts/{name}", Who::Operator, "Disable an account", disable)
            .answers::<AccountView>(200, "The account, whose sessions are over")
            .refuses(&unknown),
        Route::post("/api/v1/admin/accounts/{name}/erase", Who::Operator, "Erase an account", erase)
            .answers::<ErasedView>(200, "What is left of it")
            .refuses(&[ErrorCode::NotFound, ErrorCode::LastOwner]),
        Route::post("/api/v1/admin/accounts/{name}/links", Who::Operator, "Make a sign-in link", link)
            .answers::<NewLinkView>(
                201,
                "The link's text, which is shown this once; those before are refused",
            )
            .refuses(&unknown),
    ]
}

/// An account as operators see it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AccountView {
    id: String,
    email: String,
    name: String,
    operator: bool,
    created_at: String,
    disabled_at: Option<String>,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        Self {
            id: account.id,
            email: account.email.as_str().to_owned(),
            name: account.name,
            operator: account.operator,
            created_at: account.created.to_string(),
            disabled_at: account.disabled.map(|at| at.to_string()),
        }
    }
}

/// All accounts.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AccountList {
    accounts: Vec<AccountView>,
}

/// A new link; the only answer that has its text.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NewLinkView {
    account: String,
    /// What signs in, once: `/#link=` and this, at this server's address.
    token: String,
    expires_at: String,
}

/// What is left of an account that was erased.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ErasedView {
    /// The id that lines of the audit log go on naming; it is nobody's.
    account: String,
    /// The projects that the person was a member of.
    projects: Vec<ProjectId>,
    erased_at: String,
}

/// Lists all accounts.
async fn list(_: Operator, State(app): State<App>) -> Result<Json<AccountList>, Failure> {
    let accounts = app.store.accounts().await?;
    Ok(Json(AccountList { accounts: accounts.into_iter().map(AccountView::from).collect() }))
}

/// Makes an account, and a member of it where a project is named.
async fn create(Operator(token): Operator, State(app): State<App>, call: Call) -> Result<Response, Failure> {
    let mut fields = call.fields()?.of(NEW)?;
    let email: Email = fields.required("email", EMAIL)?;
    let name = name(&mut fields)?;
    let operator = fields.optional("operator", OPERATOR)?.unwrap_or(false);
    if operator && !call.is_commanded() {
        return Err(Failure::field("operator", "true", OPERATOR));
    }
    let place = place(&app, fields.optional("project", PROJECT)?, fields.optional("role", ROLES)?).await?;
    let (mut change, now) = (call.begin(&app).await?, app.clock.now());
    let new = NewAccount { email, name, operator, password: None };
    let account = change.create_account(new, now).await?.ok_or_else(|| {
        let detail = "There is already an account of that address. Invite the person to the project instead.";
        Failure::new(ErrorCode::AccountExists, detail)
    })?;
    if let Some((project, role, max)) = place {
        member(change.add_person(&project, (&account, role), max, now).await?)?;
    }
    tracing::info!(token.id = token.id, account.id = account.id, "account created");
    change.answer(StatusCode::CREATED, &AccountView::from(account)).await
}

/// Where the person becomes a member, and as what.
async fn place(
    app: &App,
    project: Option<ProjectId>,
    role: Option<Role>,
) -> Result<Option<(ProjectId, Role, Option<u32>)>, Failure> {
    match (project, role) {
        (None, None) => Ok(None),
        (Some(id), Some(role)) => {
            let project = app.store.project(&id).await?.ok_or_else(Failure::project_unknown)?;
            Ok(Some((id, role, members_max(app, &project).await?)))
        }
        (Some(_), None) => Err(Failure::missing("role", ROLES)),
        (None, Some(_)) => Err(Failure::missing("project", PROJECT)),
    }
}

/// Disables an account at once.
async fn disable(
    Operator(token): Operator,
    NamedInPath(id): NamedInPath,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut change = call.begin(&app).await?;
    let account = change.disable_account(&id, app.clock.now()).await?.ok_or_else(unknown)?;
    tracing::info!(token.id = token.id, account.id = account.id, "account disabled");
    change.answer(StatusCode::OK, &AccountView::from(account)).await
}

/// Erases an account and all that says whose it was.
async fn erase(
    Operator(token): Operator,
    NamedInPath(id): NamedInPath,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let (mut change, now) = (call.begin(&app).await?, app.clock.now());
    let projects = match change.erase_account(&id, now).await? {
        Erased::Gone(projects) => projects,
        Erased::LastOwner(projects) => return Err(owns(&projects)),
        Erased::Unknown => {
            let detail = "There is no such account. GET /api/v1/admin/accounts lists their ids.";
            return Err(Failure::new(ErrorCode::NotFound, detail));
        }
    };
    tracing::info!(token.id = token.id, account.id = id, "account erased");
    let erased = ErasedView { account: id, projects, erased_at: now.to_string() };
    let answer = change.answer(StatusCode::OK, &erased).await?;
    // It is done and answered for, whatever becomes of the log's old pages.
    match app.store.forget_deleted().await {
        Ok(true) => {}
        Ok(false) => {
            tracing::warn!("the database's log has what was erased until it is closed: it is being read")
        }
        Err(error) => {
            tracing::warn!(error = %error, "the database's log has what was erased until it is closed")
        }
    }
    Ok(answer)
}

fn owns(projects: &[ProjectId]) -> Failure {
    let projects: Vec<&str> = projects.iter().map(ProjectId::as_str).collect();
    let detail = format!(
        "This is the last owner of {}. Make another member an owner there first; nothing was erased.",
        projects.join(", ")
    );
    Failure::new(ErrorCode::LastOwner, detail)
}

/// Makes a link that signs in once.
async fn link(
    Operator(token): Operator,
    NamedInPath(id): NamedInPath,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let is_commanded = call.is_commanded();
    let secret = SecretText::generate(Purpose::Link)?;
    let mut change = call.begin(&app).await?;
    let account = change.account(&id).await?.filter(|account| account.disabled.is_none());
    let account = account.ok_or_else(unknown)?;
    if account.operator && !is_commanded {
        let detail =
            "Links for operators are made on the books themselves: `meter account link` without METER_URL.";
        return Err(Failure::new(ErrorCode::Forbidden, detail));
    }
    let expires = change.create_link(&account, &secret.hash(), app.clock.now()).await?;
    tracing::info!(token.id = token.id, account.id = account.id, "sign-in link created");
    let token = secret.expose().to_owned();
    let new = NewLinkView { account: account.id, token, expires_at: expires.to_string() };
    change.answer(StatusCode::CREATED, &new).await
}

fn unknown() -> Failure {
    let detail = "There is no such account, or it is disabled. GET /api/v1/admin/accounts lists their ids.";
    Failure::new(ErrorCode::NotFound, detail)
}
