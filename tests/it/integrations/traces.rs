//! Traces by OpenTelemetry, read from the wire by the protocol's own messages: from a caller's request through the edge and the
//! homes to the books.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use shared::kind::Kind;
use tests::client::Call;
use tests::ingest::{flush_of, signed};
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::receiver::Receiver;
use tests::stack::{Options, Part, Stack};
use tests::stand_in::StandIn;
use tokio::net::TcpListener;

const WITHIN: Duration = Duration::from_secs(60);

/// The trace and the span of a caller, as W3C trace context has them.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// What a collector receives.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>>);

impl Collector {
    /// A collector, and what a server is told of it.
    async fn start() -> Result<(Self, Vec<(&'static str, String)>)> {
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

    fn came(&self) -> Vec<(HeaderMap, ExportTraceServiceRequest)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn spans(&self) -> Vec<Span> {
        let came = self.came().into_iter();
        let resources = came.flat_map(|(_, request)| request.resource_spans);
        resources.flat_map(|one| one.scope_spans).flat_map(|one| one.spans).collect()
    }

    /// The first span of that name that has these attributes.
    async fn finds(&self, name: &str, attributes: &[(&str, &str)]) -> Result<Span> {
        let fits = |span: &Span| {
            span.name == name
                && attributes.iter().all(|(key, value)| attribute(&span.attributes, key) == *value)
        };
        let found = eventually(name, WITHIN, async || Ok(self.spans().into_iter().find(fits))).await;
        found.with_context(|| {
            let names: Vec<String> = self.spans().into_iter().map(|span| span.name).collect();
            format!("{name} {attributes:?} is not among {names:?}")
        })
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    collector.0.lock().unwrap_or_else(PoisonError::into_inner).push((headers, request));
    StatusCode::OK
}

fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|one| one.key == key).and_then(|one| one.value.clone());
    match found {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => text,
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_callers_trace_goes_on_at_the_upstream_and_in_the_books() -> Result<()> {
    let (collector, aggregator_settings) = Collector::start().await?;
    let upstream = StandIn::silent().await?;
    let options = Options { upstream: Some(upstream.address()), aggregator_settings, ..Options::default() };
    let mut stack = Stack::start_with(options).await?;
    let project = Project::ready(&stack, "traced", Limits::WIDE).await?;
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let call = project.call(Kind::Verify, "bot").header("traceparent", &traceparent);
    ensure!(call.header("tracestate", "vendor=1").send(stack.edge()).await?.status == 200);
    let forwarded = upstream.seen().into_iter().find(|head| head.headers.contains_key("traceparent"));
    let forwarded = forwarded.context("the upstream was told no trace")?;
    let named = |name: &str| forwarded.headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!((named("traceparent"), named("tracestate")), (Some(traceparent.as_str()), Some("vendor=1")));

    let usage = format!("/api/v1/usage?project=traced&from={0}&to={0}", tests::clock::now().day());
    let asked = Call::get(&usage).bearer(&project.token).header("traceparent", &traceparent);
    ensure!(asked.send(stack.aggregator()).await?.status == 200);
    let span = collector.finds("GET /api/v1/usage", &[("project.id", "traced")]).await?;
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
    assert_eq!(attribute(&span.attributes, "http.response.status_code"), "200");
    assert_eq!(attribute(&span.attributes, "http.route"), "/api/v1/usage");
    assert_eq!(span.kind, 2, "a server's");

    // What the request made the home flush.
    let flush = collector.finds("POST /ingest", &[("project.id", "traced")]).await?;
    let month = tests::clock::now().day().period().to_string();
    let merge = collector.finds("merge a flush", &[("project.id", "traced"), ("period", &month)]).await?;
    let parent = collector.spans().into_iter().find(|span| span.span_id == merge.parent_span_id);
    let parent = parent.context("the merge is of no request")?;
    assert_eq!((parent.name.as_str(), &parent.trace_id), ("POST /ingest", &merge.trace_id));
    drop(flush);
    collector.finds("push a policy", &[("project.id", "traced")]).await?;

    let came = collector.came();
    let (headers, request) = came.first().context("nothing came")?;
    assert_eq!(headers.get("api-key").and_then(|value| value.to_str().ok()), Some("a=secret"));
    assert_eq!(
        headers.get("content-type").and_then(|value| value.to_str().ok()),
        Some("application/x-protobuf")
    );
    let resource =
        request.resource_spans.first().and_then(|one| one.resource.clone()).context("no resource")?;
    assert_eq!(attribute(&resource.attributes, "service.name"), "meter-of-a-test");
    let told = format!("{came:?}");
    for secret in [project.key.as_str(), project.token.as_str(), "Bearer", "v1="] {
        ensure!(!told.contains(secret), "a span tells {secret}");
    }
    ensure!(
        !collector.spans().iter().any(|span| span.name.ends_with("/healthz")),
        "health is asked too often"
    );
    // Its last spans are sent before it ends.
    let last = Call::get("/openapi.json").header("traceparent", &traceparent);
    ensure!(last.send(stack.aggregator()).await?.status == 200);
    stack.terminate(Part::Aggregator).await?;
    collector.finds("GET /openapi.json", &[]).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_asked_of_stripe_told_to_receivers_and_closed_is_in_the_trace_of_its_cause() -> Result<()> {
    let (collector, aggregator_settings) = Collector::start().await?;
    let later = vec![Part::Edge, Part::Upstream];
    let options =
        Options { stripe: true, moving_clock: true, later, aggregator_settings, ..Options::default() };
    let (stack, receiver) = (Stack::start_with(options).await?, Receiver::start().await?);
    stack.meter(&["stripe", "sync"])?;
    let project = Project::create(&stack, "traced", Limits::COMMUNITY)?;

    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let order = Call::post("/api/v1/stripe/checkout", r#"{"plan":"pro","interval":"month"}"#).json();
    let order = order.bearer(&project.token).header("traceparent", &traceparent);
    ensure!(order.send(stack.aggregator()).await?.status == 200, "the order");
    let asked = collector
        .finds("call Stripe", &[("url.path", "/checkout/sessions"), ("http.request.method", "Post")])
        .await?;
    let order = collector.finds("POST /api/v1/stripe/checkout", &[("project.id", "traced")]).await?;
    assert_eq!(hex(&order.trace_id), TRACE);
    assert_eq!(asked.trace_id, order.trace_id, "the call is of the order's trace");
    assert_eq!(asked.kind, 3, "a client's");

    let body = format!(r#"{{"url":"{}","events":["usage.threshold_reached"]}}"#, receiver.url());
    let endpoint = Call::post("/api/v1/webhooks", body).json().bearer(&project.token);
    ensure!(endpoint.send(stack.aggregator()).await?.status == 201, "the endpoint");
    let flush = signed(&stack, &flush_of("traced", 1, 900))?;
    ensure!(flush.send(stack.aggregator()).await?.status == 200, "the flush");
    let told = [("project.id", "traced"), ("outcome", "accepted")];
    collector.finds("deliver a webhook", &told).await?;

    let month = tests::clock::now().period().to_string();
    stack.meter(&["clock", "advance", "40d"])?;
    let closed = collector.finds("close months", &[("project.id", "traced")]).await?;
    let periods = attribute(&closed.attributes, "period");
    ensure!(periods.split(',').any(|period| period == month), "{periods} is not {month}");
    let came = format!("{:?}", collector.came());
    for secret in
        [stack.stripe_key(), stack.stripe_secret(), project.token.as_str(), "whsec_", "checkout.example"]
    {
        ensure!(!came.contains(secret), "a span tells {secret}");
    }
    stack.finish()
}
