//! Counts requests by endpoint and status, for `/metrics`. Only endpoints are named, never what stood in a path.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;

/// How often each endpoint was answered with each status.
#[derive(Debug, Default)]
pub struct Requests(Mutex<BTreeMap<(&'static str, String, u16), u64>>);

impl Requests {
    fn count(&self, method: &'static str, route: &str, status: u16) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry((method, route.to_owned(), status)).or_default();
        *count = count.saturating_add(1);
    }

    /// The numbers in the text format of Prometheus.
    pub(super) fn to_text(&self) -> String {
        let mut text = "# HELP meter_http_requests_total Requests that were answered.\n\
                        # TYPE meter_http_requests_total counter\n"
            .to_owned();
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((method, route, status), count) in counts.iter() {
            text.push_str(&format!(
                "meter_http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}} {count}\n"
            ));
        }
        text
    }
}

/// Counts a request once its answer is known.
pub(super) async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let method = name(request.method());
    // A path that is no endpoint is the client's invention, and there are as many as clients like.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let answer = next.run(request).await;
    app.requests.count(method, &route, answer.status().as_u16());
    answer
}

fn name(method: &Method) -> &'static str {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let names = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    known.iter().zip(names).find(|(known, _)| *known == method).map_or("other", |(_, name)| name)
}
