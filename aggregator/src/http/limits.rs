//! What every request must keep to before anything else looks at it.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use shared::problem::ErrorCode;

use super::embedded::Public;
use super::failure::Failure;
use super::places::Place;

/// The longest path and query.
pub const URI_BYTES_MAX: usize = 8 * 1024;

/// All header lines together.
pub const HEADERS_BYTES_MAX: usize = 16 * 1024;

/// What a header line has beside its name and value: `": "` and the line's end.
const HEADER_LINE_BYTES: usize = 4;

/// Refuses what its connection's place is not for, heads that are too large or have no single host, and marks every answer as not to be kept
/// that is not public.
pub(super) async fn keep(request: Request, next: Next) -> Response {
    let mut answer = match refusal(&request) {
        Some(failure) => failure.into_response(),
        None => next.run(request).await,
    };
    if answer.extensions().get::<Public>().is_none() {
        // Answers are about one caller's money, and some show a secret once.
        answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

fn refusal(request: &Request) -> Option<Failure> {
    if request.extensions().get::<Place>().is_some_and(|place| !place.is_for(request.uri().path())) {
        return Some(Failure::new(
            ErrorCode::NotReady,
            "Too many connections are open, here or from your address. Use fewer, and come back in a few seconds.",
        ));
    }
    let uri_bytes = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let header_bytes: usize = request
        .headers()
        .iter()
        .map(|(name, value)| {
            name.as_str().len().saturating_add(value.len()).saturating_add(HEADER_LINE_BYTES)
        })
        .sum();
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let host_missing = hosts == 0 && request.version() == Version::HTTP_11;
    if uri_bytes > URI_BYTES_MAX {
        let detail = format!("The path and query have {uri_bytes} bytes, accepted are {URI_BYTES_MAX}.");
        Some(Failure::new(ErrorCode::UriTooLong, detail))
    } else if header_bytes > HEADERS_BYTES_MAX {
        let detail = format!("The headers have {header_bytes} bytes, accepted are {HEADERS_BYTES_MAX}.");
        Some(Failure::new(ErrorCode::HeadersTooLarge, detail))
    } else if hosts > 1 || host_missing {
        Some(Failure::new(
            ErrorCode::BadRequest,
            format!("The request has {hosts} Host headers, accepted is one."),
        ))
    } else if request.headers().get(header::HOST).is_some_and(|host| !is_authority(host.as_bytes())) {
        Some(Failure::new(
            ErrorCode::BadRequest,
            "The Host header is no name or address, with or without port.",
        ))
    } else if !request.uri().path().starts_with('/') {
        // `OPTIONS *` and `CONNECT host:443`: nothing of ours is there.
        Some(Failure::new(
            ErrorCode::BadRequest,
            "The request names no path, accepted is one such as /healthz.",
        ))
    } else {
        None
    }
}

fn is_authority(host: &[u8]) -> bool {
    !host.contains(&b'@') && Authority::try_from(host).is_ok()
}
