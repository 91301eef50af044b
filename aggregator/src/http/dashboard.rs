//! The dashboard: the files that its build made, and the paths at which it shows its pages.
//!
//! It must never answer at a path of the interface, and lets the page load nothing from elsewhere.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::response::Response;

use super::embedded::{File, keep};

/// What `cargo xtask dashboard` had built when this was compiled; nothing where it had not.
static FILES: LazyLock<Vec<File>> =
    LazyLock::new(|| File::all(include!(concat!(env!("OUT_DIR"), "/dashboard.rs"))));

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

/// The page, where this binary has it.
pub(super) fn page(headers: &HeaderMap) -> Option<Response> {
    let file = FILES.iter().find(|file| file.name == INDEX)?;
    let mut answer = file.answer(headers);
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
        keep(file.answer(headers), rule)
    } else {
        let first = path.split('/').nth(1)?;
        PAGES.contains(&first).then(|| page(headers)).flatten().filter(|_| is_read)?
    };
    if method == Method::HEAD {
        *found.body_mut() = Body::empty();
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

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
