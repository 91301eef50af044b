//! `GET /metrics`: this process's numbers, none of which is any project's.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::failure::Failure;
use super::site::Site;

/// The media type of OpenMetrics, which is Prometheus' text format with counters that say so.
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text";

const WITH_VERSION: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Shows the numbers.
pub(super) async fn show(State(site): State<Site>) -> Result<impl IntoResponse, Failure> {
    site.app.metrics.streaming(site.open_streams());
    let text = site.app.metrics.to_text().map_err(|error| Failure::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, WITH_VERSION)], text))
}
