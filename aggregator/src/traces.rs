//! Traces: spans of requests, jobs and calls to others, for an OpenTelemetry collector; `edge/collector.rs` sends them.
//!
//! Off and free where no collector is set: no layer takes these spans, so that none is made. What is sent must never hold a secret:
//! spans have ids, paths as they are registered, and numbers; no header, body, query or address of a person.

use std::collections::HashMap;
use std::fmt;

use axum::http::{HeaderMap, Uri};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use shared::ids::ProjectId;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The target of every span of a trace. Log lines have others, so that neither becomes the other.
pub(crate) use meter_settings::TRACE_TARGET as TARGET;

/// Endpoints that machines ask every few seconds: their spans would hide all others.
const UNTRACED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Where a collector is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorUrl(String);

impl CollectorUrl {
    /// Reads `http://host:port`, or https, with a path where the collector has one.
    ///
    /// # Errors
    /// Says what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Not repeated: somebody may have put a password into it.
        let refused =
            || "accepted is a URL such as http://127.0.0.1:4318, to which /v1/traces is added".to_owned();
        let uri: Uri = text.parse().map_err(|_| refused())?;
        let is_plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_query = uri.query().is_some();
        if is_plain && is_http && !has_query {
            Ok(Self(text.trim_end_matches('/').to_owned()))
        } else {
            Err(refused())
        }
    }

    /// Whether it is asked over TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl fmt::Display for CollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Headers that a collector wants, such as its key: secrets, and never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CollectorHeaders(HashMap<String, String>);

impl fmt::Debug for CollectorHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} headers, hidden", self.0.len())
    }
}

impl CollectorHeaders {
    /// Their names and values.
    pub(crate) fn all(&self) -> &HashMap<String, String> {
        &self.0
    }

    /// Reads `name=value,name=value`, with values percent-encoded as OpenTelemetry has them.
    ///
    /// # Errors
    /// Says what is accepted, without repeating what might be a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let header = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            let (name, value) =
                (name.trim(), percent_encoding::percent_decode_str(value.trim()).decode_utf8().ok()?);
            let is_header = axum::http::HeaderName::from_bytes(name.as_bytes()).is_ok()
                && axum::http::HeaderValue::from_str(&value).is_ok();
            is_header.then(|| (name.to_owned(), value.into_owned()))
        };
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let headers: Option<HashMap<String, String>> = pairs.map(header).collect();
        headers.map(Self).ok_or_else(|| "accepted are headers such as api-key=secret,x-team=meter".to_owned())
    }
}

/// How traces are sent.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// Where to.
    pub collector: CollectorUrl,
    /// With which headers.
    pub headers: CollectorHeaders,
    /// What this server is called there.
    pub service: String,
}

/// The span of a request, which goes on with the trace that its sender names (W3C trace context).
pub(crate) fn of_request(method: &'static str, route: &str, headers: &HeaderMap) -> Span {
    if UNTRACED.contains(&route) {
        return Span::none();
    }
    let span = tracing::info_span!(
        target: TARGET, "request",
        otel.name = format!("{method} {route}"), otel.kind = "server",
        http.request.method = method, http.route = route,
        http.response.status_code = tracing::field::Empty,
        project.id = tracing::field::Empty, otel.status_code = tracing::field::Empty,
    );
    if !span.is_disabled() {
        let sender = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        // Refused only where no layer takes spans, and then there is none.
        span.set_parent(sender).ok();
    }
    span
}

/// What a request was answered with.
pub(crate) fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// Which project the request is about that is being answered.
pub(crate) fn concerns(project: &ProjectId) {
    Span::current().record("project.id", project.as_str());
}

/// Has whoever gets these headers go on with the present trace, if there is one.
pub(crate) fn pass_on(headers: &mut HeaderMap) {
    let span = Span::current();
    if !span.is_disabled() {
        TraceContextPropagator::new().inject_context(&span.context(), &mut HeaderInjector(headers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_are_addresses_without_passwords() {
        for (text, expected) in [
            ("http://127.0.0.1:4318", Some("http://127.0.0.1:4318")),
            ("https://otlp.example.com/otlp/", Some("https://otlp.example.com/otlp")),
            ("http://u:p@collector:4318", None),
            ("collector:4317", None),
            ("grpc://collector:4317", None),
            ("http://collector?key=x", None),
            ("", None),
        ] {
            let got = CollectorUrl::parse(text).map(|url| url.to_string());
            assert_eq!(got.as_deref().ok(), expected, "{text}");
            assert!(got.is_ok() || !got.unwrap_err().contains("u:p"), "{text}");
        }
    }

    #[test]
    fn headers_are_read_and_never_shown() {
        let headers = CollectorHeaders::parse("api-key=a%3Db, x-team=meter").unwrap();
        assert_eq!(headers.0.get("api-key").map(String::as_str), Some("a=b"));
        assert_eq!(format!("{headers:?}"), "2 headers, hidden");
        for bad in ["hidden-one", "a b=hidden", "a=hidden\nb", "=hidden"] {
            assert!(!CollectorHeaders::parse(bad).unwrap_err().contains(bad), "{bad}");
        }
        assert_eq!(CollectorHeaders::parse(""), Ok(CollectorHeaders::default()));
    }
}
