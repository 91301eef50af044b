//! Counts requests by endpoint and status, and how long they took, for `/metrics`, and begins their spans. Only endpoints are named, never what
//! stood in a path.

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use crate::app::App;
use crate::clock::Stopwatch;
use crate::traces;

/// Counts a request once its answer is known.
pub(super) async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let method = name(request.method());
    let path = request.extensions().get::<MatchedPath>().cloned();
    let began = Stopwatch::start();
    // A path that is no endpoint is the client's invention, and there are as many as clients like.
    let route = path.as_ref().map_or("none", MatchedPath::as_str);
    let span = traces::of_request(method, route, request.headers());
    let answer = next.run(request).instrument(span.clone()).await;
    traces::answered(&span, answer.status().as_u16());
    app.metrics.answered((method, route), answer.status().as_u16(), began.elapsed().as_secs_f64());
    answer
}

fn name(method: &Method) -> &'static str {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let names = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    known.iter().zip(names).find(|(known, _)| *known == method).map_or("other", |(_, name)| name)
}
