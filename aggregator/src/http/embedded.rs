//! Files that are part of this binary, as browsers get them: with their media type, by gzip where that is taken, and not
//! again where they are held already.

use std::sync::OnceLock;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const MARKDOWN: &str = "text/markdown; charset=utf-8";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// A file, by its path in what it is a part of.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: &'static str,
    pub(super) bytes: &'static [u8],
    /// The same, by gzip, where that was made.
    compressed: Option<&'static [u8]>,
    /// What tells its contents from others; reckoned when it is asked for first.
    tag: OnceLock<String>,
}

/// A file as the build finds it: its path, its bytes, and the same by gzip where that was made.
pub(super) type Found = (&'static str, &'static [u8], Option<&'static [u8]>);

impl File {
    /// The files that the build has found.
    pub(super) fn all(found: &[Found]) -> Vec<Self> {
        found
            .iter()
            .map(|&(name, bytes, compressed)| Self { name, bytes, compressed, tag: OnceLock::new() })
            .collect()
    }

    pub(super) fn media_type(&self) -> &'static str {
        match self.name.rsplit('.').next() {
            Some("html") => HTML,
            Some("md") => MARKDOWN,
            Some("txt") => TEXT,
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("json") => "application/json",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            Some("woff2") => "font/woff2",
            _ => "application/octet-stream",
        }
    }

    /// The answer to who asks for it.
    pub(super) fn answer(&self, headers: &HeaderMap) -> Response {
        let tag =
            self.tag.get_or_init(|| format!("\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(self.bytes))));
        let is_held = headers.get(header::IF_NONE_MATCH).is_some_and(|held| held == tag.as_str());
        let mut answer = match self.compressed.filter(|_| takes_gzip(headers)) {
            _ if is_held => StatusCode::NOT_MODIFIED.into_response(),
            Some(compressed) => ([(header::CONTENT_ENCODING, "gzip")], compressed).into_response(),
            None => self.bytes.into_response(),
        };
        let told = answer.headers_mut();
        told.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type()));
        if let Ok(tag) = HeaderValue::from_str(tag) {
            told.insert(header::ETAG, tag);
        }
        if self.compressed.is_some() {
            told.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        answer
    }
}

/// On an answer that may be kept as its own `Cache-Control` says: it is about nobody.
#[derive(Debug, Clone, Copy)]
pub(super) struct Public;

/// An answer that may be kept by that rule.
pub(super) fn keep(mut answer: Response, rule: &'static str) -> Response {
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(rule));
    answer.extensions_mut().insert(Public);
    answer
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.unwrap_or_default().split(',').any(|coding| {
        let mut words = coding.split(';').map(str::trim);
        words.next() == Some("gzip") && words.all(|word| word != "q=0")
    })
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
}
