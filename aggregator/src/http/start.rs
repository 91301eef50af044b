//! `GET /`: what this server is and where to go from here, for whoever opens its address.
//!
//! It must load nothing from elsewhere, and show nothing of a request but a host that cannot be markup.

use std::sync::OnceLock;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::dashboard;
use super::route::{Route, Who};

const PAGE: &str = include_str!("start.html");
const STYLE: &str = include_str!("start.css");
const HTML: &str = "text/html; charset=utf-8";

/// What the page says of the dashboard, with and without it.
const SIGN_IN: &str =
    r#"<a href="/sign-in">/sign-in</a></dt><dd>the dashboard, which browsers are shown here</dd>"#;
const HOW_TO_BUILD: &str = "<code>cargo xtask dashboard</code></dt>\
    <dd>builds the dashboard, which this binary lacks; build the binary anew after it</dd>";

/// Where it listens unless something else is set.
const USUAL_HOST: &str = "127.0.0.1:8080";

/// The endpoint of this module.
pub(super) fn route() -> Route {
    Route::get("/", Who::Anyone, "Show where to begin", show)
        .answers_text(
            200,
            "The dashboard or a page with links, or these as JSON where `Accept` asks for it",
            "text/html",
        )
        .answers::<Start>(
            200,
            "The dashboard or a page with links, or these as JSON where `Accept` asks for it",
        )
}

/// Where to begin, for programs.
#[derive(Debug, Serialize, JsonSchema)]
struct Start {
    name: &'static str,
    version: &'static str,
    /// This server's calls, in OpenAPI 3.1.
    openapi: &'static str,
    /// The edge's calls, in OpenAPI 3.1.
    openapi_edge: &'static str,
    health: &'static str,
    readiness: &'static str,
    metrics: &'static str,
}

const START: Start = Start {
    name: "Palveron Meter",
    version: env!("CARGO_PKG_VERSION"),
    openapi: "/openapi.json",
    openapi_edge: "/openapi-edge.json",
    health: "/healthz",
    readiness: "/readyz",
    metrics: "/metrics",
};

async fn show(headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut answer = if accepts.contains("application/json") && !accepts.contains("text/html") {
        Json(START).into_response()
    } else if let Some(page) = dashboard::page(&headers).filter(|_| accepts.contains("text/html")) {
        page
    } else {
        let host =
            headers.get(header::HOST).and_then(|host| host.to_str().ok()).filter(|host| is_plain(host));
        page(host.unwrap_or(USUAL_HOST))
    };
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    answer
}

fn page(host: &str) -> Response {
    static FIXED: OnceLock<String> = OnceLock::new();
    let fixed = FIXED.get_or_init(|| {
        let dashboard = if dashboard::is_built() { SIGN_IN } else { HOW_TO_BUILD };
        PAGE.replace("{style}", STYLE)
            .replace("{version}", env!("CARGO_PKG_VERSION"))
            .replace("{dashboard}", dashboard)
    });
    let mut answer = ([(header::CONTENT_TYPE, HTML)], fixed.replace("{host}", host)).into_response();
    let rules = [
        (header::CONTENT_SECURITY_POLICY, content_security_policy()),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    answer.headers_mut().extend(rules);
    answer
}

/// Nothing is loaded or run, and of styles only the page's own are taken.
fn content_security_policy() -> HeaderValue {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// A name or an address, and perhaps a port.
fn is_plain(host: &str) -> bool {
    const HOST_BYTES_MAX: usize = 100;
    (1..=HOST_BYTES_MAX).contains(&host.len())
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
}
