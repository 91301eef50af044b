//! What is shown of this process, over plain HTTP: that it runs, and its numbers.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::metrics::Metrics;

/// The pages.
pub fn router(metrics: Metrics) -> Router {
    let healthz = || async { ([(header::CONTENT_TYPE, "application/json")], r#"{"status":"ok"}"#) };
    Router::new().route("/healthz", get(healthz)).route("/metrics", get(scraped)).with_state(metrics)
}

async fn scraped(State(metrics): State<Metrics>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
