//! `GET /metrics`: this process's numbers, none of which is any project's.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use shared::problem::ErrorCode;

use super::failure::Failure;
use super::site::Site;

/// The media type of OpenMetrics, which is Prometheus' text format with counters that say so.
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text";

const WITH_VERSION: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Shows the numbers.
pub(super) async fn show(State(site): State<Site>, headers: HeaderMap) -> Result<impl IntoResponse, Failure> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if site.metrics_token.as_ref().is_some_and(|token| !token.is_shown_in(shown.unwrap_or_default())) {
        let detail = "Send the token of METER_METRICS_TOKEN as `Authorization: Bearer …`.";
        return Err(Failure::new(ErrorCode::Unauthorized, detail));
    }
    site.app.metrics.streaming(site.open_streams());
    let text = site.app.metrics.to_text().map_err(|error| Failure::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, WITH_VERSION)], text))
}
