//! `GET /errors/{code}`: what a problem's `type` is about.

use axum::extract::Path;
use axum::http::header;
use axum::response::IntoResponse;
use shared::problem::ErrorCode;

use super::failure::Failure;

/// Browsers show it; for programs it is Markdown all the same.
const PLAIN: &str = "text/plain; charset=utf-8";

/// Shows the page of a code.
pub(super) async fn error(Path(code): Path<String>) -> Result<impl IntoResponse, Failure> {
    let code = ErrorCode::parse(&code).ok_or_else(|| {
        Failure::new(ErrorCode::NotFound, "There is no such code. /openapi.json lists those there are.")
    })?;
    Ok(([(header::CONTENT_TYPE, PLAIN)], code.page()))
}
