//! `/docs`: the documentation, as `cargo xtask docs` had built it when this was compiled; and `/llms.txt`.
//!
//! It must never run a script that is not in these files: each page's policy names the hashes of its own.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use shared::problem::ErrorCode;

use super::embedded::{File, HTML, MARKDOWN, TEXT, keep};
use super::failure::Failure;

/// The site; nothing where it had not been built.
static FILES: LazyLock<Vec<File>> =
    LazyLock::new(|| File::all(include!(concat!(env!("OUT_DIR"), "/docs.rs"))));

const ROOT: &str = "/docs";

/// What every file is sent with: only this site's own pages may frame it, and nobody is told where it was left for.
const RULES: [(header::HeaderName, &str); 3] = [
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The list of pages for language models, which is looked for at the root.
const LLMS: &str = "llms.txt";

/// What is said where a page is asked for that this binary has not.
const NOT_BUILT: &str =
    "This binary has no documentation. `cargo xtask docs` builds it; build the binary anew after it.";

/// The path of a code's page, seen from the root of the server that answers.
pub(super) fn page_of(code: &str) -> String {
    format!("{ROOT}/errors/{code}")
}

/// What is at a path that is no endpoint, if it is one of the documentation's.
pub(super) fn at(method: &Method, path: &str, headers: &HeaderMap) -> Option<Response> {
    let name = if path == "/llms.txt" { LLMS } else { path.strip_prefix(ROOT)? };
    if !(name == LLMS || name.is_empty() || name.starts_with('/')) {
        return None;
    }
    if method != Method::GET && method != Method::HEAD {
        return None;
    }
    let mut answer = match find(name) {
        Found::File(file) => show(file, headers),
        Found::Folder(path) => Redirect::permanent(&format!("{ROOT}{path}/")).into_response(),
        Found::Nothing => without_site(name),
    };
    if method == Method::HEAD {
        *answer.body_mut() = Body::empty();
    }
    Some(answer)
}

/// What is meant by a path below the root.
enum Found {
    File(&'static File),
    /// A folder without its slash: links of its page are seen from inside.
    Folder(String),
    Nothing,
}

fn find(path: &str) -> Found {
    let named = |name: &str| FILES.iter().find(|file| file.name == name);
    let name = path.trim_start_matches('/');
    let index = |folder: &str| named(&format!("{folder}index.html"));
    if path.is_empty() || (!name.ends_with('/') && index(&format!("{name}/")).is_some()) {
        return if index("").is_some() { Found::Folder(path.to_owned()) } else { Found::Nothing };
    }
    let found = if name.is_empty() || name.ends_with('/') {
        index(name)
    } else {
        named(name).or_else(|| named(&format!("{name}.html")))
    };
    found.map_or(Found::Nothing, Found::File)
}

/// Pages of errors are in every binary, as they were written: problems name them.
fn without_site(path: &str) -> Response {
    let code =
        path.strip_prefix("/errors/").map(|page| page.trim_end_matches(".html").trim_end_matches(".md"));
    if let Some(code) = code.and_then(ErrorCode::parse) {
        return keep(([(header::CONTENT_TYPE, TEXT)], code.page()).into_response(), "no-cache");
    }
    if FILES.is_empty() && path.trim_matches('/').is_empty() {
        return ([(header::CONTENT_TYPE, TEXT)], NOT_BUILT).into_response();
    }
    let detail =
        if FILES.is_empty() { NOT_BUILT } else { "There is no such page. /docs/ lists those there are." };
    Failure::new(ErrorCode::NotFound, detail).into_response()
}

fn show(file: &'static File, headers: &HeaderMap) -> Response {
    let media_type = file.media_type();
    // Names of what pages load end in hashes of it, but for a few; pages are asked for each time.
    let is_asset = !matches!(media_type, HTML | MARKDOWN | TEXT);
    let mut answer = file.answer(headers);
    answer.headers_mut().extend(RULES.map(|(name, value)| (name, HeaderValue::from_static(value))));
    if media_type == HTML {
        let page = std::str::from_utf8(file.bytes).unwrap_or_default();
        if let Ok(policy) = HeaderValue::from_str(&policy(page)) {
            answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
    }
    keep(answer, if is_asset { "max-age=86400" } else { "no-cache" })
}

/// Scripts are the site's own files and those that stand in this very page; nothing else is run or loaded. The list of
/// pages is a frame of the site's own where no script runs.
fn policy(page: &str) -> String {
    let hashes: String = inline_scripts(page)
        .map(|script| format!(" 'sha256-{}'", STANDARD.encode(Sha256::digest(script))))
        .collect();
    format!(
        "default-src 'none'; script-src 'self'{hashes}; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'self'; frame-src 'self'; frame-ancestors 'self'"
    )
}

/// The text of each script that stands in the page.
fn inline_scripts(page: &str) -> impl Iterator<Item = &str> {
    page.split("<script").skip(1).filter_map(|rest| {
        let (attributes, rest) = rest.split_once('>')?;
        let (script, _) = rest.split_once("</script>")?;
        (!attributes.contains("src=")).then_some(script)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_may_run_what_stands_in_it_and_nothing_else() {
        let page = "<script src=\"book.js\"></script><script>let a = 1;</script>";
        let hash = STANDARD.encode(Sha256::digest("let a = 1;"));
        assert!(policy(page).contains(&format!("script-src 'self' 'sha256-{hash}';")), "{}", policy(page));
        assert!(policy("<p>Nothing.</p>").contains("script-src 'self';"));
    }

    #[test]
    fn no_other_path_is_one_of_the_documentation() {
        for path in ["/doc", "/docsx", "/api/v1/usage", "/", "/llms.txtx"] {
            assert!(at(&Method::GET, path, &HeaderMap::new()).is_none(), "{path}");
        }
        assert!(at(&Method::POST, "/docs/", &HeaderMap::new()).is_none());
    }
}
