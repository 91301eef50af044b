//! Reads a body to its end, within a size and a time.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use meter_edge::premise::Answer;
use shared::problem::{ErrorCode, Problem};

/// From a request's head to the end of its body.
const PATIENCE: Duration = Duration::from_secs(10);

/// The body's text.
///
/// # Errors
/// The answer that refuses it.
pub(super) async fn text(body: Body, bytes_max: usize) -> Result<String, Answer> {
    let refused = |code, detail: &str| Answer::of(&Problem::new(code, detail));
    let Ok(read) = tokio::time::timeout(PATIENCE, to_bytes(body, bytes_max)).await else {
        return Err(refused(
            ErrorCode::RequestTimeout,
            "The body did not arrive in time. Send the request again.",
        ));
    };
    let bytes = read.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>) {
            refused(ErrorCode::BodyTooLarge, &format!("accepted are {bytes_max} bytes"))
        } else {
            refused(ErrorCode::BadRequest, "The body could not be read to its end.")
        }
    })?;
    String::from_utf8(bytes.into())
        .map_err(|_| refused(ErrorCode::MalformedJson, "The body is not text in UTF-8."))
}
