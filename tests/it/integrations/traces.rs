//! Traces by OpenTelemetry, read from the wire by the protocol's own messages: from a caller's request through the edge and the
//! homes to the books.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shared::kind::Kind;
use tests::client::Call;
use tests::collector::{Collector, attribute, hex, is_below, leads_to};
use tests::fleet::Fleet;
use tests::ingest::{flush_of, signed};
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::receiver::Receiver;
use tests::stack::{Counters, Options, Part, Stack};
use tests::stand_in::StandIn;

const WITHIN: Duration = Duration::from_secs(60);

/// The trace and the span of a caller, as W3C trace context has them.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

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
    let options = Options { aggregator_settings, ..Options::payments() };
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

#[tokio::test]
async fn what_a_request_has_waited_for_is_below_it_and_the_flush_that_has_its_unit_leads_to_it() -> Result<()>
{
    let (collector, settings) = Collector::start().await?;
    let upstream = StandIn::silent().await?;
    let mut edge_settings = settings.clone();
    // What nobody asks to be traced is not.
    edge_settings.extend([
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".to_owned()),
        ("OTEL_TRACES_SAMPLER_ARG", "0".to_owned()),
        ("METER_HOMES", "serve".to_owned()),
    ]);
    let options = Options {
        upstream: Some(upstream.address()),
        leases: true,
        counters: Counters::Objects,
        edge_settings,
        aggregator_settings: settings,
        ..Options::default()
    };
    let stack = Stack::start_with(options).await?;
    let project = Project::ready(&stack, "traced", Limits::WIDE).await?;
    let fleet = Fleet::start(&stack, 1).await?;
    let call = project.call(Kind::Verify, "bot").header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    ensure!(call.send(fleet.address()).await?.status == 200);

    // The isolate has no lease yet: it asks the home, in another process.
    let request = collector.finds_where("POST /v1/verify", |span| hex(&span.trace_id) == TRACE).await?;
    assert_eq!(
        (hex(&request.parent_span_id).as_str(), request.kind),
        (CALLER, 2),
        "a server's, of the caller"
    );
    assert_eq!(attribute(&request.attributes, "http.response.status_code"), "200");
    let asked = collector.finds_where("ask the home", |span| is_below(span, &request)).await?;
    assert_eq!((attribute(&asked.attributes, "project.id").as_str(), asked.kind), ("traced", 3));
    assert_eq!(attribute(&asked.attributes, "method"), "contact");
    let home = collector.finds_where("answer as the home", |span| is_below(span, &asked)).await?;
    assert_eq!((hex(&home.trace_id).as_str(), home.kind), (TRACE, 2));
    let forwarded = upstream.seen().into_iter().find_map(|head| head.headers.get("traceparent").cloned());
    let onward = format!("00-{TRACE}-{}-01", hex(&request.span_id));
    assert_eq!(forwarded.context("the upstream was told no trace")?.to_str()?, onward);

    // The isolate reports the unit, the home flushes it, the aggregator has it.
    let report = collector.finds_where("report to the home", |span| leads_to(span, &request)).await?;
    let told = collector.finds_where("answer as the home", |span| is_below(span, &report)).await?;
    let flush = collector.finds_where("flush", |span| leads_to(span, &told)).await?;
    let ingest = collector.finds_where("POST /ingest", |span| is_below(span, &flush)).await?;
    let merge = collector.finds_where("merge a flush", |span| is_below(span, &ingest)).await?;
    assert_eq!(attribute(&merge.attributes, "period"), tests::clock::now().day().period().to_string());

    only_what_has_waited_has_spans(&stack, &fleet, (&project, &collector)).await?;
    let came = format!("{:?}", collector.came());
    for secret in [project.key.as_str(), project.token.as_str(), "Bearer", "v1="] {
        ensure!(!came.contains(secret), "a span tells {secret}");
    }
    workers_send_json(&collector)?;
    fleet.finish(&stack)?;
    stack.finish()
}

/// Each in a trace of its own: requests that have waited have spans, those that a lease has answered have none.
async fn only_what_has_waited_has_spans(
    stack: &Stack,
    fleet: &Fleet,
    (project, collector): (&Project, &Collector),
) -> Result<()> {
    let mut waited = Vec::new();
    for number in 0..200 {
        let trace = format!("{:032x}", 0xabc0_0000_u32 + number);
        let call = project.call(Kind::Verify, "bot").header("traceparent", format!("00-{trace}-{CALLER}-01"));
        let answer = call.send(fleet.address()).await?;
        waited.push((trace, answer.header("server-timing") != Some("meter;desc=lease")));
    }
    let leased = waited.iter().filter(|(_, has_waited)| !has_waited).count();
    ensure!(leased > 100, "leases have answered {leased}");
    // One whose trace is not kept has none either, though it waits; the one that comes last does.
    let other = Project::ready(stack, "untraced", Limits::WIDE).await?;
    let unkept = format!("{:032x}", 0xdef0_0000_u32);
    let call = other.call(Kind::Verify, "bot").header("traceparent", format!("00-{unkept}-{CALLER}-00"));
    ensure!(call.send(fleet.address()).await?.status == 200);
    waited.push((unkept, false));
    let last = format!("{:032x}", 0xdef0_0001_u32);
    let call =
        Call::get("/v1/quota").bearer(&project.key).header("traceparent", format!("00-{last}-{CALLER}-01"));
    ensure!(call.send(fleet.address()).await?.status == 200);
    waited.push((last.clone(), true));
    let quota = collector.finds_where("GET /v1/quota", |span| hex(&span.trace_id) == last).await?;
    collector.finds_where("ask the home", |span| is_below(span, &quota)).await?;
    let spans = collector.spans();
    for (trace, has_waited) in &waited {
        let has_span = spans.iter().any(|span| hex(&span.trace_id) == *trace);
        ensure!(has_span == *has_waited, "{trace}: waited {has_waited}, has a span {has_span}");
    }
    Ok(())
}

fn workers_send_json(collector: &Collector) -> Result<()> {
    let workers = collector
        .came()
        .into_iter()
        .find(|(headers, _)| headers.get("content-type").is_some_and(|kind| kind == "application/json"));
    let (headers, request) = workers.context("no worker has sent spans")?;
    assert_eq!(headers.get("api-key").and_then(|value| value.to_str().ok()), Some("a=secret"));
    let resource = request.resource_spans.first().and_then(|one| one.resource.clone());
    let resource = resource.context("no resource")?;
    assert_eq!(attribute(&resource.attributes, "service.name"), "meter-of-a-test");
    Ok(())
}

#[tokio::test]
async fn a_trace_goes_through_sub_homes() -> Result<()> {
    let (collector, settings) = Collector::start().await?;
    let mut edge_settings = settings.clone();
    edge_settings.push(("METER_SUB_HOMES", "1".to_owned()));
    let options = Options {
        leases: true,
        sub_homes: 1,
        counters: Counters::Objects,
        edge_settings,
        aggregator_settings: settings,
        ..Options::default()
    };
    let stack = Stack::start_with(options).await?;
    let project = Project::create(&stack, "traced", Limits::WIDE)?;
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let served = async || {
        let call = project.call(Kind::Verify, "bot").header("traceparent", &traceparent);
        Ok((call.send(stack.edge()).await?.status == 200).then_some(()))
    };
    eventually("the key", WITHIN, served).await?;
    let sub_home = collector.finds("answer as a sub-home", &[("project.id", "traced")]).await?;
    assert_eq!(hex(&sub_home.trace_id), TRACE);
    let asked = collector.finds_where("ask the home", |span| is_below(span, &sub_home)).await?;
    let home = collector.finds_where("answer as the home", |span| is_below(span, &asked)).await?;
    assert_eq!(hex(&home.trace_id), TRACE);
    let flush = collector.finds_where("flush", |span| !span.links.is_empty()).await?;
    collector.finds_where("POST /ingest", |span| is_below(span, &flush)).await?;
    stack.finish()
}

/// So often was a policy pushed in vain when the next push is far.
const FAR: u64 = 5;

#[tokio::test]
async fn a_policy_that_a_request_has_waited_for_is_in_its_trace() -> Result<()> {
    let (collector, settings) = Collector::start().await?;
    let options = Options {
        counters: Counters::Objects,
        edge_settings: settings.clone(),
        aggregator_settings: settings,
        later: vec![Part::Edge],
        ..Options::default()
    };
    let mut stack = Stack::start_with(options).await?;
    let project = Project::create(&stack, "traced", Limits::WIDE)?;
    eventually("pushes in vain", WITHIN, async || {
        let metrics = Call::get("/metrics").send(stack.aggregator()).await?.text();
        let failed = metrics.lines().find_map(|line| line.strip_prefix("meter_policy_push_failures_total "));
        Ok(failed.and_then(|count| count.parse::<u64>().ok()).filter(|count| *count >= FAR))
    })
    .await?;
    stack.begin(&[Part::Edge]).await?;
    let call = project.call(Kind::Verify, "bot").header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    ensure!(call.send(stack.edge()).await?.status == 200);
    let pull = collector.finds("pull a policy", &[("project.id", "traced")]).await?;
    assert_eq!(hex(&pull.trace_id), TRACE);
    let asked = collector.finds_where("POST /ingest", |span| is_below(span, &pull)).await?;
    assert_eq!(attribute(&asked.attributes, "http.response.status_code"), "200");
    collector.finds_where("answer as the home", |span| is_below(&pull, span)).await?;
    // Where isolates do not decide, the home has counted the request when it has answered.
    let home = collector.finds("answer as the home", &[("method", "decide")]).await?;
    assert_eq!(hex(&home.trace_id), TRACE);
    collector.finds_where("flush", |span| leads_to(span, &home)).await?;
    stack.finish()
}

#[tokio::test]
async fn a_flush_from_counters_in_redis_says_which_month_it_is_of() -> Result<()> {
    let (collector, settings) = Collector::start().await?;
    let options = Options {
        leases: true,
        counters: Counters::Redis,
        edge_settings: settings.clone(),
        aggregator_settings: settings,
        ..Options::default()
    };
    let stack = Stack::start_with(options).await?;
    let project = Project::ready(&stack, "traced", Limits::WIDE).await?;
    let call = project.call(Kind::Verify, "bot").header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    ensure!(call.send(stack.edge()).await?.status == 200);
    let request = collector.finds_where("POST /v1/verify", |span| hex(&span.trace_id) == TRACE).await?;
    collector.finds_where("ask the home", |span| is_below(span, &request)).await?;
    let month = tests::clock::now().day().period().to_string();
    let merge = collector.finds("merge a flush", &[("project.id", "traced"), ("period", &month)]).await?;
    ensure!(merge.parent_span_id.is_empty(), "the aggregator takes it from the Redis by itself");
    stack.finish()
}
