//! An OpenTelemetry collector's place: what it receives is read by the protocol's own messages, in protobuf as servers send
//! it and in JSON as workers do.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;
use tokio::net::TcpListener;

use crate::poll::eventually;

pub use opentelemetry_proto::tonic::trace::v1::Span;

const WITHIN: Duration = Duration::from_secs(60);

/// What it receives.
#[derive(Debug, Clone, Default)]
pub struct Collector(Arc<Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>>);

impl Collector {
    /// Begins to listen, and says what a part is told of it. It ends with the test's runtime.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> Result<(Self, Vec<(&'static str, String)>)> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (collector, address) = (Self::default(), listener.local_addr()?);
        let app =
            Router::new().route("/in/v1/traces", axum::routing::post(take)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let settings = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}/in/")),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%3Dsecret".to_owned()),
            ("OTEL_SERVICE_NAME", "meter-of-a-test".to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
        ];
        Ok((collector, settings))
    }

    /// All requests so far, with their headers.
    #[must_use]
    pub fn came(&self) -> Vec<(HeaderMap, ExportTraceServiceRequest)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All spans so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let came = self.came().into_iter();
        let resources = came.flat_map(|(_, request)| request.resource_spans);
        resources.flat_map(|one| one.scope_spans).flat_map(|one| one.spans).collect()
    }

    /// The first span of that name that has these attributes.
    ///
    /// # Errors
    /// When none comes.
    pub async fn finds(&self, name: &str, attributes: &[(&str, &str)]) -> Result<Span> {
        let has =
            |span: &Span| attributes.iter().all(|(key, value)| attribute(&span.attributes, key) == *value);
        self.finds_where(name, has).await.with_context(|| format!("with {attributes:?}"))
    }

    /// The first span of that name of which that is so.
    ///
    /// # Errors
    /// When none comes.
    pub async fn finds_where(&self, name: &str, is_so: impl Fn(&Span) -> bool) -> Result<Span> {
        let fits = |span: &Span| span.name == name && is_so(span);
        let found = eventually(name, WITHIN, async || Ok(self.spans().into_iter().find(fits))).await;
        found.with_context(|| {
            let names: Vec<String> = self.spans().into_iter().map(|span| span.name).collect();
            format!("{name} is not among {names:?}")
        })
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let is_json = headers.get("content-type").is_some_and(|kind| kind == "application/json");
    let request = if is_json {
        serde_json::from_slice(&body).ok()
    } else {
        ExportTraceServiceRequest::decode(body).ok()
    };
    let Some(request) = request else { return StatusCode::BAD_REQUEST };
    collector.0.lock().unwrap_or_else(PoisonError::into_inner).push((headers, request));
    StatusCode::OK
}

/// An attribute as a text.
#[must_use]
pub fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|one| one.key == key).and_then(|one| one.value.clone());
    match found {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => text,
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// Bytes as the header has them.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a span is of the call that another span tells of.
#[must_use]
pub fn is_below(span: &Span, parent: &Span) -> bool {
    (&span.trace_id, &span.parent_span_id) == (&parent.trace_id, &parent.span_id)
}

/// Whether a span is linked to another one.
#[must_use]
pub fn leads_to(span: &Span, cause: &Span) -> bool {
    span.links.iter().any(|link| (&link.trace_id, &link.span_id) == (&cause.trace_id, &cause.span_id))
}
