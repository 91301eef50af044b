//! Traces: spans of requests, jobs and calls to others, sent to an OpenTelemetry collector by OTLP over HTTP.
//!
//! Off and free where no collector is set: no layer takes these spans, so that none is made. What is sent must never hold a secret:
//! spans have ids, paths as they are registered, and numbers; no header, body, query or address of a person.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use axum::http::{HeaderMap, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HeaderExtractor, HeaderInjector, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use shared::ids::ProjectId;
use tokio::runtime::Handle;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};

use crate::edge::outbound::Outbound;

/// The target of every span of a trace. Log lines have others, so that neither becomes the other.
pub(crate) use meter_settings::TRACE_TARGET as TARGET;

/// Where traces are sent below the address that is set, as OTLP says.
const PATH: &str = "/v1/traces";

/// How long a collector may take; meanwhile spans wait in a queue that drops what is too much.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer of a collector that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How long the last spans may take when the server stops.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

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

    fn is_https(&self) -> bool {
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

/// What sends spans, until it is told to stop.
#[derive(Debug)]
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// What sends spans, and the layer of the log that hands them over.
    ///
    /// # Errors
    /// When TLS is needed and the machine has no trusted certificates, or a setting of the library is refused.
    pub(crate) fn start<S>(
        settings: &TraceSettings,
    ) -> Result<(Self, OpenTelemetryLayer<S, SdkTracer>), String>
    where
        S: Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
    {
        let TraceSettings { collector, headers, service } = settings;
        let outbound = if collector.is_https() { Outbound::tls()? } else { Outbound::plain() };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender { outbound, runtime: Handle::current() })
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{collector}{PATH}"))
            .with_timeout(EXPORT_TIMEOUT)
            .with_headers(headers.0.clone())
            .build()
            .map_err(|error| format!("OTEL_EXPORTER_OTLP_ENDPOINT: {error}"))?;
        let resource = Resource::builder().with_service_name(service.clone()).build();
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("palveron-meter"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        Ok((Self(provider), layer))
    }

    /// Sends what was not sent yet, within a few seconds.
    pub(crate) async fn stop(self) {
        // It waits for what runs on this runtime, so that it must not hold one of its threads.
        let stopped = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
        if let Ok(Err(error)) = stopped {
            tracing::warn!(error = %error, "the last spans were not sent");
        }
    }
}

/// Sends what the exporter's thread hands over, on the server's runtime and by its client.
#[derive(Debug)]
struct Sender {
    outbound: Outbound,
    runtime: Handle,
}

impl HttpClient for Sender {
    fn send_bytes<'client, 'sent>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sent>>
    where
        'client: 'sent,
        Self: 'sent,
    {
        let outbound = self.outbound.clone();
        let sent = self.runtime.spawn(async move {
            let exchange = async {
                let (head, body) = outbound.send(request.map(Full::new)).await?.into_parts();
                let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
                Ok::<_, HttpError>(Response::from_parts(head, body))
            };
            tokio::time::timeout(EXPORT_TIMEOUT, exchange).await?
        });
        Box::pin(async move { sent.await? })
    }
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
