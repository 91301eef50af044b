//! `/api/v1/admin/projects/{project}/tokens`: tokens of a project's members, shown once when they are made.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::problem::ErrorCode;

use crate::access::token::{TokenRole, TokenText};
use crate::access::{Permission, Scope};
use crate::app::App;
use crate::http::access::{NamedInPath, Operate, Permitted};
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::Field;
use crate::http::route::{Route, Who};
use crate::store::Token;

const NEW: &[Field] = &[Field::required::<TokenRole>("role", TokenRole::ACCEPTS).such_as("\"viewer\"")];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let operate = Who::InProject(Permission::Operate);
    vec![
        Route::get("/api/v1/admin/projects/{project}/tokens", operate, "List tokens", list)
            .answers::<TokenList>(200, "All tokens that the project ever had"),
        Route::post("/api/v1/admin/projects/{project}/tokens", operate, "Make a token", create)
            .body(NEW)
            .answers::<NewTokenView>(201, "The token, with the text that is shown this once"),
        Route::delete("/api/v1/admin/projects/{project}/tokens/{name}", operate, "Revoke a token", revoke)
            .answers::<TokenView>(200, "The token, which is refused from now on")
            .refuses(&[ErrorCode::NotFound]),
    ]
}

/// A token as operators see it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TokenView {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    role: &'static str,
    created_at: String,
    revoked_at: Option<String>,
}

impl From<Token> for TokenView {
    fn from(token: Token) -> Self {
        Self {
            role: token.scope.role_name(),
            project: match token.scope {
                Scope::Operator => None,
                Scope::Project { project, .. } | Scope::Emitter { project } => Some(project.into()),
            },
            id: token.id,
            created_at: token.created.to_string(),
            revoked_at: token.revoked.map(|at| at.to_string()),
        }
    }
}

/// All tokens, revoked ones too.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TokenList {
    tokens: Vec<TokenView>,
}

impl From<Vec<Token>> for TokenList {
    fn from(tokens: Vec<Token>) -> Self {
        Self { tokens: tokens.into_iter().map(TokenView::from).collect() }
    }
}

/// A new token; the only answer that has its text.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NewTokenView {
    #[serde(flatten)]
    view: TokenView,
    token: String,
}

impl NewTokenView {
    pub(super) fn new(token: Token, text: &TokenText) -> Self {
        Self { view: token.into(), token: text.expose().to_owned() }
    }
}

/// Lists a project's tokens, revoked ones too.
pub(crate) async fn list(on: Permitted<Operate>, State(app): State<App>) -> Result<Json<TokenList>, Failure> {
    Ok(Json(TokenList::from(app.store.project_tokens(&on.project.id).await?)))
}

/// Makes a token.
pub(crate) async fn create(
    on: Permitted<Operate>,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let role: TokenRole = call.fields()?.of(NEW)?.required("role", TokenRole::ACCEPTS)?;
    let scope = role.scope(on.project.id.clone());
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let text = TokenText::generate(&scope)?;
    let token = change.create_token(scope, &text.hash(), app.clock.now()).await?;
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, made.id = token.id, role = %role, "token created");
    change.answer(StatusCode::CREATED, &NewTokenView::new(token, &text)).await
}

/// Revokes a token at once.
pub(crate) async fn revoke(
    on: Permitted<Operate>,
    NamedInPath(name): NamedInPath,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let found = app
        .store
        .token(&name)
        .await?
        .filter(|token| token.scope != Scope::Operator && token.scope.reaches(&on.project.id));
    let found = found.ok_or_else(Failure::token_unknown)?;
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let token = change.revoke_token(&found.id, app.clock.now()).await?.ok_or_else(Failure::token_unknown)?;
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, revoked.id = token.id, "token revoked");
    change.answer(StatusCode::OK, &TokenView::from(token)).await
}
