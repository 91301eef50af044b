//! `GET /metrics`: this process's numbers, none of which is any project's.

use std::fmt;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use shared::key::{METRICS_TOKEN_CHARS_MIN, shows};
use shared::problem::ErrorCode;

use super::failure::Failure;
use super::site::Site;

/// The media type of OpenMetrics, which is Prometheus' text format with counters that say so.
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text";

const WITH_VERSION: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the numbers are read with, where they are not for everybody.
#[derive(Clone)]
pub struct MetricsToken(String);

impl MetricsToken {
    /// Reads the setting.
    ///
    /// # Errors
    /// Says what is accepted, and never what was set.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() < METRICS_TOKEN_CHARS_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "accepted are {METRICS_TOKEN_CHARS_MIN} characters or more of ASCII, without spaces"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        shown.is_some_and(|shown| shows(shown, &self.0))
    }
}

impl fmt::Debug for MetricsToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetricsToken(..)")
    }
}

/// Shows the numbers.
pub(super) async fn show(State(site): State<Site>, headers: HeaderMap) -> Result<impl IntoResponse, Failure> {
    if site.metrics_token.as_ref().is_some_and(|token| !token.is_shown(&headers)) {
        let detail = "Send the token of METER_METRICS_TOKEN as `Authorization: Bearer …`.";
        return Err(Failure::new(ErrorCode::Unauthorized, detail));
    }
    site.app.metrics.streaming(site.open_streams());
    let text = site.app.metrics.to_text().map_err(|error| Failure::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, WITH_VERSION)], text))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_who_shows_the_whole_token_reads_the_numbers() {
        let token = MetricsToken::parse("sixteen-letters!").unwrap();
        for (shown, reads) in [
            (Some("Bearer sixteen-letters!"), true),
            (Some("bearer sixteen-letters!"), true),
            (Some("Bearer sixteen-letters"), false),
            (Some("Basic sixteen-letters!"), false),
            (Some("sixteen-letters!"), false),
            (None, false),
        ] {
            let value = shown.map(|shown| (header::AUTHORIZATION, HeaderValue::from_static(shown)));
            assert_eq!(token.is_shown(&value.into_iter().collect()), reads, "{shown:?}");
        }
        assert!(!format!("{token:?}").contains("sixteen"));
    }

    #[test]
    fn a_token_that_is_short_or_no_header_can_carry_is_refused_without_being_shown() {
        for text in ["", "fifteen-letters", "sixteen letters!!", "sechzehn-bücher!"] {
            let error = MetricsToken::parse(text).unwrap_err();
            assert!(error.contains("16 characters") && !error.contains("letters"), "{error}");
        }
    }
}
