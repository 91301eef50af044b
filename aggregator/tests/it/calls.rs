//! `Idempotency-Key`: every call that changes something takes one, and the same call again changes nothing.

use std::sync::Arc;

use aggregator::http::{Route, routes};
use aggregator::idempotency::REMEMBERED_MS;
use shared::plan::Plan;
use shared::problem::ErrorCode;

use crate::authz::{World, needs_redis};
use crate::support::{Answer, Meter, noon, project_id};

async fn call(meter: &Meter, method: &str, path: &str, (token, key): (&str, &str), body: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    meter.send(method, path, &headers, body).await
}

/// A meter with one project, and the path of a call in it.
async fn prepared(path: &str) -> (Meter, String, String) {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Pro).await;
    let operator = meter.operator().await;
    let key = meter.key("demo").await;
    let (token, _) = meter
        .token(aggregator::access::Scope::Project {
            project: crate::support::project_id("demo"),
            role: aggregator::access::Role::Viewer,
        })
        .await;
    let name = if path.contains("/keys/") { key.to_string() } else { token };
    let mut path = path.replace("{project}", "demo").replace("{name}", &name);
    if !path.contains("/admin/") {
        path.push_str("?project=demo");
    }
    (meter, operator, path)
}

#[tokio::test]
async fn every_call_that_changes_something_takes_effect_once() {
    let world = World::new().await;
    let meter = &world.meter;
    let own = project_id("own");
    // What is bought is shown once with the simulated Stripe; this meter has no account there.
    let free = |route: &Route| {
        let needs_account = route.refusals.contains(&ErrorCode::PaymentsUnavailable);
        route.changes() && !needs_account && !needs_redis(route)
    };
    for route in routes().into_iter().filter(free) {
        let operator = meter.operator().await;
        let (path, body) = world.request(&route, "own").await;
        let method = route.method.as_str();
        // Another text is another call, also where it means the same.
        let other = format!("{body} ");
        let first = call(meter, method, &path, (&operator, "k1"), &body).await;
        assert_eq!(first.status, route.answers[0].status, "{route:?}: {first:?}");
        assert_eq!(first.header("idempotency-replayed"), None, "{route:?}");
        let entries = meter.app.store.ledger_as_text(&own).await.unwrap();
        let version = meter.version("own").await;
        for _ in 0..2 {
            let again = call(meter, method, &path, (&operator, "k1"), &body).await;
            assert_eq!((again.status, &again.body), (first.status, &first.body), "{route:?}");
            assert_eq!(again.header("idempotency-replayed"), Some("true"), "{route:?}");
            assert_eq!(again.header("content-type"), Some("application/json"), "{route:?}");
        }
        let reused = call(meter, method, &path, (&operator, "k1"), &other).await;
        reused.is_problem("idempotency_key_reused", &format!("{route:?}"));
        let after = meter.app.store.ledger_as_text(&own).await.unwrap();
        assert_eq!((after, meter.version("own").await), (entries, version), "{route:?}: nothing changed");
        // A name is its credential's alone: to another one it says nothing.
        let another = meter.operator().await;
        let fresh = call(meter, method, &path, (&another, "k1"), &other).await;
        assert_eq!(fresh.header("idempotency-replayed"), None, "{route:?}: {fresh:?}");
        assert_ne!(fresh.field_or_empty("code"), "idempotency_key_reused", "{route:?}");
    }
}

#[tokio::test]
async fn a_refused_call_leaves_its_name_free() {
    let (meter, operator, path) = prepared("/api/v1/admin/projects/{project}/credits").await;
    let refused = call(&meter, "POST", &path, (&operator, "k"), r#"{"units":0,"reason":"x"}"#).await;
    refused.refuses("units", "nothing is begun");
    let unknown = "/api/v1/admin/projects/nobody/credits";
    let body = r#"{"units":5,"reason":"x"}"#;
    call(&meter, "POST", unknown, (&operator, "k"), body).await.is_problem("project_unknown", "nobody");
    let twice = r#"{"id":"demo","plan":"pro"}"#;
    let exists = call(&meter, "POST", "/api/v1/admin/projects", (&operator, "k"), twice).await;
    exists.is_problem("project_exists", "begun and taken back");
    assert_eq!(call(&meter, "POST", &path, (&operator, "k"), body).await.status, 201);
}

#[tokio::test]
async fn names_that_cannot_be_meant_are_refused_and_old_ones_forgotten() {
    let (meter, operator, path) = prepared("/api/v1/admin/projects/{project}/credits").await;
    let body = r#"{"units":5,"reason":"x"}"#;
    for bad in ["", "a b", "ü", &"k".repeat(256)] {
        call(&meter, "POST", &path, (&operator, bad), body).await.refuses("Idempotency-Key", bad);
    }
    let authorization = format!("Bearer {operator}");
    let twice = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("idempotency-key", "a"),
        ("idempotency-key", "b"),
    ];
    meter.send("POST", &path, &twice, body).await.refuses("Idempotency-Key", "two of them");
    let first = call(&meter, "POST", &path, (&operator, "k"), body).await;
    let store = &meter.app.store;
    assert_eq!(store.forget_calls(noon().plus_ms(REMEMBERED_MS)).await.unwrap(), 0);
    assert_eq!(call(&meter, "POST", &path, (&operator, "k"), body).await.body, first.body);
    assert_eq!(store.forget_calls(noon().plus_ms(REMEMBERED_MS + 1)).await.unwrap(), 1);
    assert_ne!(call(&meter, "POST", &path, (&operator, "k"), body).await.body, first.body, "a new call");
}

#[tokio::test]
async fn many_at_once_with_one_name_are_one() {
    let (meter, operator, path) = prepared("/api/v1/admin/projects/{project}/credits").await;
    let meter = Arc::new(meter);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (meter, operator, path) = (Arc::clone(&meter), operator.clone(), path.clone());
        calls.spawn(async move {
            call(&meter, "POST", &path, (&operator, "k"), r#"{"units":5,"reason":"x"}"#).await
        });
    }
    let answers = calls.join_all().await;
    assert!(
        answers.iter().all(|answer| answer.status == 201 && answer.body == answers[0].body),
        "{answers:?}"
    );
    let replayed = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_some()).count();
    assert_eq!(replayed, 19);
}
