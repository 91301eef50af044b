//! `/api/v1/admin/tokens`: tokens of every project and of operators, and how an operator makes another one.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use shared::problem::ErrorCode;

use super::tokens::{NewTokenView, TokenList, TokenView};
use crate::access::Scope;
use crate::access::token::TokenText;
use crate::app::App;
use crate::http::access::{NamedInPath, Operator};
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::route::{Route, Who};

const PATH: &str = "/api/v1/admin/tokens";

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(PATH, Who::Operator, "List all tokens", list)
            .answers::<TokenList>(200, "All tokens that there ever were, of operators and of projects"),
        Route::post(PATH, Who::Operator, "Make an operator's token", create)
            .answers::<NewTokenView>(201, "The token, with the text that is shown this once"),
        Route::delete("/api/v1/admin/tokens/{name}", Who::Operator, "Revoke any token", revoke)
            .answers::<TokenView>(200, "The token, which is refused from now on")
            .refuses(&[ErrorCode::NotFound]),
    ]
}

async fn list(_: Operator, State(app): State<App>) -> Result<Json<TokenList>, Failure> {
    Ok(Json(TokenList::from(app.store.all_tokens().await?)))
}

async fn create(Operator(token): Operator, State(app): State<App>, call: Call) -> Result<Response, Failure> {
    let mut change = call.begin(&app).await?;
    let text = TokenText::generate(&Scope::Operator)?;
    let made = change.create_token(Scope::Operator, &text.hash(), app.clock.now()).await?;
    tracing::info!(token.id = token.id, made.id = made.id, "an operator's token created");
    change.answer(StatusCode::CREATED, &NewTokenView::new(made, &text)).await
}

/// Revokes a token at once, but not the one that asks, so that nobody locks themselves out by mistake.
async fn revoke(
    Operator(token): Operator,
    NamedInPath(name): NamedInPath,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    if token.id == name && !call.is_commanded() {
        let detail = "A token does not revoke itself. Another operator's does, or `meter token revoke` without METER_URL.";
        return Err(Failure::new(ErrorCode::Forbidden, detail));
    }
    let mut change = call.begin(&app).await?;
    let revoked = change.revoke_token(&name, app.clock.now()).await?.ok_or_else(unknown)?;
    tracing::info!(token.id = token.id, revoked.id = revoked.id, "token revoked");
    change.answer(StatusCode::OK, &TokenView::from(revoked)).await
}

fn unknown() -> Failure {
    let detail = format!("There is no such token. GET {PATH} lists the ids of those there are.");
    Failure::new(ErrorCode::NotFound, detail)
}
