//! `POST /ingest`: only what an edge key has signed, and every flush as often as it likes to come.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use shared::problem::ErrorCode;
use shared::sign::{Purpose, SIGNATURE_HEADER};
use shared::wire::INGEST_PATH;
use tests::client::Call;
use tests::clock;
use tests::ingest::{flush_of, signature, signed};
use tests::project::{Limits, Project};
use tests::stack::{Options, Part, Stack};

/// Without an edge: what is pushed has nowhere to go, and what is ingested comes from here alone.
async fn prepared(id: &str) -> Result<(Stack, Project)> {
    let stack =
        Stack::start_with(Options { later: vec![Part::Edge, Part::Upstream], ..Options::default() }).await?;
    let project = Project::create(&stack, id, Limits::COMMUNITY)?;
    let answer = signed(&stack, &flush_of(id, 1, 10))?.send(stack.aggregator()).await?;
    assert_eq!(answer.ok::<Value>()?["watermark"], 1);
    assert_eq!(project.usage(&stack).await?.total, 10);
    Ok((stack, project))
}

#[tokio::test]
async fn a_flush_without_the_right_signature_changes_nothing() -> Result<()> {
    let (stack, project) = prepared("signed").await?;
    let before = project.usage(&stack).await?;
    let body = flush_of("signed", 2, 99);
    let now = clock::now();
    let right = signature(&stack, Purpose::Edge, body.as_bytes(), now)?;
    let (fields, mac) = right.rsplit_once('=').context("no MAC")?;
    let long_ago = shared::time::Timestamp::from_ms(now.as_ms() - 302_000);
    let rejected = [
        ("empty", String::new()),
        ("of another body", signature(&stack, Purpose::Edge, b"{}", now)?),
        ("by the policy key", signature(&stack, Purpose::Policy, body.as_bytes(), now)?),
        ("by the upstream key", signature(&stack, Purpose::Upstream, body.as_bytes(), now)?),
        ("cut", format!("{fields}={}", &mac[..32])),
        ("in capitals", format!("{fields}={}", mac.to_uppercase())),
        (
            "with a later time",
            right.replace(&now.as_seconds().to_string(), &(now.as_seconds() + 1).to_string()),
        ),
        ("by an unknown key", right.replace("k=e1", "k=e9")),
        ("not of this form", "sha256=00".to_owned()),
        ("long", "x".repeat(5_000)),
    ];
    let mut cases: Vec<(&str, Call, ErrorCode)> = vec![
        ("missing", Call::post(INGEST_PATH, body.clone()).json(), ErrorCode::SignatureRejected),
        (
            "twice",
            signed(&stack, &body)?.header(SIGNATURE_HEADER, right.clone()),
            ErrorCode::SignatureRejected,
        ),
        (
            "for another path",
            Call::post("/ingest?again", body.clone()).json().header(SIGNATURE_HEADER, right.clone()),
            ErrorCode::SignatureRejected,
        ),
    ];
    let with =
        |signature: String| Call::post(INGEST_PATH, body.clone()).json().header(SIGNATURE_HEADER, signature);
    cases.extend(rejected.map(|(what, text)| (what, with(text), ErrorCode::SignatureRejected)));
    for (what, at) in [("old", long_ago), ("of the future", now.plus_ms(302_000))] {
        let text = signature(&stack, Purpose::Edge, body.as_bytes(), at)?;
        cases.push((what, with(text), ErrorCode::SignatureExpired));
    }
    for (what, call, code) in cases {
        call.send(stack.aggregator()).await?.problem(code).context(what)?;
    }
    assert_eq!(project.usage(&stack).await?, before);
    // The right one is accepted, so that the others were refused for what they are.
    assert_eq!(with(right).send(stack.aggregator()).await?.status, 200);
    assert_eq!(project.usage(&stack).await?.total, 99);
    stack.finish()
}

#[tokio::test]
async fn flushes_may_come_twice_late_or_out_of_order() -> Result<()> {
    let (stack, project) = prepared("again").await?;
    let latest = signed(&stack, &flush_of("again", 3, 30))?;
    let steps = [
        ("the latest", latest.clone(), 3, 30),
        ("the same again", latest.clone(), 3, 30),
        ("an earlier one, late", signed(&stack, &flush_of("again", 2, 20))?, 3, 30),
        ("a lower count under a higher number", signed(&stack, &flush_of("again", 4, 5))?, 4, 30),
        ("the very first", signed(&stack, &flush_of("again", 1, 10))?, 4, 30),
        ("the same once more", latest, 4, 30),
    ];
    for (what, call, watermark, total) in steps {
        let ack: Value = call.send(stack.aggregator()).await?.ok().context(what)?;
        assert_eq!(ack["watermark"], watermark, "{what}");
        assert_eq!(project.usage(&stack).await?.total, total, "{what}");
    }
    stack.finish()
}

#[tokio::test]
async fn bodies_that_are_no_flush_are_refused_by_field() -> Result<()> {
    use ErrorCode::*;
    let (stack, project) = prepared("fields").await?;
    let before = project.usage(&stack).await?;
    let with = |field: &str, value: Value| {
        let mut flush: Value = serde_json::from_str(&flush_of("fields", 9, 50)).unwrap();
        flush[field] = value;
        flush.to_string()
    };
    let cell = |field: &str, value: Value| {
        let mut flush: Value = serde_json::from_str(&flush_of("fields", 9, 50)).unwrap();
        flush["cells"][0][field] = value;
        flush.to_string()
    };
    let cases = [
        (String::new(), MalformedJson),
        ("{".to_owned(), MalformedJson),
        (format!("{} x", flush_of("fields", 9, 50)), MalformedJson),
        ("null".to_owned(), FieldRejected),
        ("[]".to_owned(), FieldRejected),
        ("{}".to_owned(), FieldRejected),
        (with("project", json!("Bad Project")), FieldRejected),
        (with("project", json!("nobodys")), ProjectUnknown),
        (with("mode", json!("real")), FieldRejected),
        (with("seq", json!(-1)), FieldRejected),
        (with("seq", json!(9_007_199_254_740_992_u64)), FieldRejected),
        (with("incarnation", json!("x")), FieldRejected),
        (with("cells", json!({})), FieldRejected),
        (with("cells", json!(vec![json!({}); 2])), FieldRejected),
        (cell("units", json!(-1)), FieldRejected),
        (cell("units", json!(1.5)), FieldRejected),
        (cell("units", json!(9_007_199_254_740_992_u64)), FieldRejected),
        (cell("day", json!("2026-02-30")), FieldRejected),
        (cell("kind", json!("other")), FieldRejected),
        (cell("agent", json!("~mine")), FieldRejected),
        (cell("agent", json!("a".repeat(129))), FieldRejected),
    ];
    for (body, code) in cases {
        let answer = signed(&stack, &body)?.send(stack.aggregator()).await?;
        answer.problem(code).with_context(|| format!("{body:.120}"))?;
    }
    let cells: Vec<_> = (0..1_001)
        .map(|n| json!({"day": "2026-11-01", "kind": "verify", "agent": format!("a{n}"), "units": 1}))
        .collect();
    signed(&stack, &with("cells", json!(cells)))?.send(stack.aggregator()).await?.problem(FieldRejected)?;
    let text = signature(&stack, Purpose::Edge, flush_of("fields", 9, 50).as_bytes(), clock::now())?;
    let plain = Call::post(INGEST_PATH, flush_of("fields", 9, 50)).header(SIGNATURE_HEADER, text);
    plain.send(stack.aggregator()).await?.problem(UnsupportedMediaType)?;
    let large = signed(&stack, &with("pad", json!("x".repeat(1_100_000))))?;
    large.send(stack.aggregator()).await?.problem(BodyTooLarge)?;
    assert_eq!(project.usage(&stack).await?, before);

    // What a later release might add is no mistake; what cannot be true is taken and set aside.
    assert_eq!(signed(&stack, &with("later", json!(1)))?.send(stack.aggregator()).await?.status, 200);
    assert_eq!(project.usage(&stack).await?.total, 50);
    assert_eq!(signed(&stack, &cell("units", json!(86_401)))?.send(stack.aggregator()).await?.status, 200);
    assert_eq!(project.usage(&stack).await?.total, 50);
    stack.finish()
}
