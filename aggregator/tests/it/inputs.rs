//! What clients write in different ways, and what only looks like what it says.

use aggregator::access::Role;
use aggregator::http::routes;
use axum::http::Method;
use serde_json::json;
use shared::plan::Plan;

use crate::authz::World;
use crate::support::Meter;

#[tokio::test]
async fn instants_are_taken_as_rfc_3339_writes_them() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Pro).await;
    let operator = meter.operator().await;
    let (id, _) = meter.webhook("demo", "https://example.com/").await;
    let path = format!("/api/v1/webhooks/{id}/replay?project=demo");
    for since in [
        "2026-11-23",
        "2026-11-23T00:00:00Z",
        "2026-11-23T00:00:00+00:00",
        "2026-11-23T00:00:00.123456+00:00",
        "2026-11-23t01:30:00.5z",
        "2026-11-23T01:30:00-09:30",
    ] {
        let answer = meter.json("POST", &path, &operator, &json!({ "since": since }).to_string()).await;
        assert_eq!(answer.status, 202, "{since}: {answer:?}");
    }
    for since in ["2026-11-23T00:00:00", "2026-11-23T00:00:00+0000", "2026-11-23T00:00:00.Z", "now"] {
        let body = json!({ "since": since }).to_string();
        meter.json("POST", &path, &operator, &body).await.refuses("since", since);
    }
}

#[tokio::test]
async fn what_is_missing_is_said_to_be_missing() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Pro).await;
    let operator = meter.operator().await;
    let flush = meter.flush("{}").await;
    let body = meter.json("POST", "/api/v1/admin/projects", &operator, "{}").await;
    let query = meter.get("/api/v1/usage?project=demo&to=2026-11-01", &operator).await;
    let project = meter.get("/api/v1/usage?from=2026-11-01&to=2026-11-01", &operator).await;
    for (answer, field) in [(flush, "project"), (body, "id"), (query, "from"), (project, "project")] {
        answer.refuses(field, field);
        let detail = answer.field("detail");
        assert!(detail.starts_with(&format!("{field} is missing, accepted is ")), "{detail}");
    }
}

#[tokio::test]
async fn a_sign_is_no_part_of_a_number() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Pro).await;
    let operator = meter.operator().await;
    let (id, _) = meter.webhook("demo", "https://example.com/").await;
    let usage = "/api/v1/usage?project=demo&from=2026-11-01&to=2026-11-01";
    for (path, field) in [
        (format!("{usage}&limit=%2B1"), "limit"),
        (format!("{usage}&group_by=agent&cursor=%2B1.a"), "cursor"),
        (format!("/api/v1/webhooks/{id}/deliveries?project=demo&limit=%2B1"), "limit"),
        (format!("/api/v1/webhooks/{id}/deliveries?project=demo&before=%2B1"), "before"),
        ("/api/v1/events?project=demo&after=%2B1".to_owned(), "after"),
        ("/api/v1/admin/audit?before=%2B1".to_owned(), "before"),
    ] {
        meter.get(&path, &operator).await.refuses(field, &path);
    }
}

#[tokio::test]
async fn texts_hide_nothing_and_turn_nothing_around() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Pro).await;
    let operator = meter.operator().await;
    for hidden in
        ['\u{202e}', '\u{200d}', '\u{200b}', '\u{2066}', '\u{feff}', '\u{ad}', '\u{e0041}', '\u{3164}']
    {
        let text = format!("a{hidden}b");
        for (path, body, field) in [
            ("members", json!({ "name": text, "role": "viewer" }), "name"),
            ("credits", json!({ "units": 5, "reason": text }), "reason"),
            ("corrections", json!({ "period": "2026-09", "units": 5, "reason": text }), "reason"),
        ] {
            let path = format!("/api/v1/admin/projects/demo/{path}");
            meter.json("POST", &path, &operator, &body.to_string()).await.refuses(field, &path);
        }
        let body = json!({ "url": "https://example.com/", "description": text }).to_string();
        meter
            .json("POST", "/api/v1/webhooks?project=demo", &operator, &body)
            .await
            .refuses("description", &text);
    }
    let body = json!({ "name": "Zoë 李 O'Brien-Ångström", "role": "viewer" }).to_string();
    let answer = meter.json("POST", "/api/v1/admin/projects/demo/members", &operator, &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test]
async fn every_endpoint_that_shows_something_answers_head_as_get_without_a_body() {
    let world = World::new().await;
    let token = world.meter.member("own", Role::Admin).await;
    let authorization = format!("Bearer {token}");
    for route in routes().into_iter().filter(|route| route.method == Method::GET) {
        // A stream that somebody reads has no end.
        if route.path == "/api/v1/events" {
            continue;
        }
        let (path, _) = world.request(&route, "own").await;
        let headers = [("authorization", authorization.as_str())];
        let shown = world.meter.send("GET", &path, &headers, "").await;
        let head = world.meter.send("HEAD", &path, &headers, "").await;
        assert_eq!((head.status, head.body.as_str()), (shown.status, ""), "{path}");
        assert_eq!(head.header("content-type"), shown.header("content-type"), "{path}");
    }
    let path = "/api/v1/events?project=own";
    let head = world.meter.send("HEAD", path, &[("authorization", &authorization)], "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""), "{head:?}");
}
