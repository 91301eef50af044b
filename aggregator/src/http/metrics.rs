//! `GET /metrics`: this process's numbers, none of which is any project's.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::app::App;

/// The media type of Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Shows the numbers.
pub(super) async fn show(State(app): State<App>) -> impl IntoResponse {
    let streams = format!(
        "# HELP meter_live_streams Live streams that are open.\n\
         # TYPE meter_live_streams gauge\nmeter_live_streams {}\n",
        app.streams.open()
    );
    let text = [app.metrics.to_text(), streams, app.requests.to_text()].concat();
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], text)
}
