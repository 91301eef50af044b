//! The dashboard: the files that its build made, and the paths at which it shows its pages.
//!
//! It must never answer at a path of the interface, and lets the page load nothing from elsewhere.

use std::sync::OnceLock;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// A file of the page.
#[derive(Debug)]
struct File {
    name: &'static str,
    bytes: &'static [u8],
    /// The same, by gzip.
    compressed: &'static [u8],
}

/// What `cargo xtask dashboard` had built when this was compiled; nothing where it had not.
const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

const INDEX: &str = "index.html";
const ASSETS: &str = "/assets/";

/// What the paths of pages begin with, beside `/` itself. Each is a page of `dashboard/src/routes.ts`.
const PAGES: [&str; 11] = [
    "audit",
    "billing",
    "invitation",
    "keys",
    "members",
    "operator",
    "sign-in",
    "usage",
    "webhooks",
    "why",
    "account",
];

/// Scripts and styles are the page's own files, and nothing may frame it or be told where it was left for.
const RULES: [(header::HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        header::HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

/// On an answer that may be kept as its own `Cache-Control` says: it is about nobody.
#[derive(Debug, Clone, Copy)]
pub(super) struct Public;

/// The page, where this binary has it.
pub(super) fn page(headers: &HeaderMap) -> Option<Response> {
    let file = FILES.iter().find(|file| file.name == INDEX)?;
    static TAG: OnceLock<String> = OnceLock::new();
    let tag = TAG.get_or_init(|| format!("\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(file.bytes))));
    let mut answer = if headers.get(header::IF_NONE_MATCH).is_some_and(|held| held == tag.as_str()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        answer(file, headers)
    };
    if let Ok(tag) = HeaderValue::from_str(tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer.headers_mut().extend(RULES.map(|(name, value)| (name, HeaderValue::from_static(value))));
    Some(keep(answer, "no-cache"))
}

/// Whether this binary has the page.
pub(super) fn is_built() -> bool {
    FILES.iter().any(|file| file.name == INDEX)
}

/// What is at a path that is no endpoint: one of the page's files, or the page itself.
pub(super) fn at(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    let is_read = method == Method::GET || method == Method::HEAD;
    let path = uri.path();
    let mut found = if let Some(name) = path.strip_prefix(ASSETS) {
        let file = FILES.iter().find(|file| file.name == name && name != INDEX).filter(|_| is_read)?;
        // Other contents have another name, but for the icon.
        let rule = if name.contains('-') { "public, max-age=31536000, immutable" } else { "max-age=86400" };
        keep(answer(file, headers), rule)
    } else {
        let first = path.split('/').nth(1)?;
        PAGES.contains(&first).then(|| page(headers)).flatten().filter(|_| is_read)?
    };
    if method == Method::HEAD {
        *found.body_mut() = Body::empty();
    }
    Some(found)
}

fn answer(file: &'static File, headers: &HeaderMap) -> Response {
    let media_type = match file.name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/html; charset=utf-8",
    };
    let mut answer = if takes_gzip(headers) {
        ([(header::CONTENT_ENCODING, "gzip")], file.compressed).into_response()
    } else {
        file.bytes.into_response()
    };
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    answer
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.unwrap_or_default().split(',').any(|coding| {
        let mut words = coding.split(';').map(str::trim);
        words.next() == Some("gzip") && words.all(|word| word != "q=0")
    })
}

fn keep(mut answer: Response, rule: &'static str) -> Response {
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(rule));
    answer.extensions_mut().insert(Public);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_that_take_it() {
        for (accepted, takes) in [
            ("gzip, deflate, br", true),
            ("br;q=1, gzip;q=0.5", true),
            ("br", false),
            ("gzip;q=0", false),
            ("", false),
        ] {
            let headers =
                HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            assert_eq!(takes_gzip(&headers), takes, "{accepted}");
        }
    }

    #[test]
    fn no_path_of_the_interface_is_a_page() {
        for path in [
            "/api/v1/usage",
            "/errors/internal",
            "/ingest",
            "/healthz",
            "/metrics",
            "/usages",
            "/assets/index.html",
        ] {
            assert!(at(&Method::GET, &path.parse().unwrap(), &HeaderMap::new()).is_none(), "{path}");
        }
        assert!(at(&Method::POST, &"/usage".parse().unwrap(), &HeaderMap::new()).is_none());
    }
}
