//! Members, their roles and tokens, and the plan's cap; keys that are rotated; bills that are corrected.

use aggregator::access::Role;
use aggregator::jobs::key_expiry;
use shared::plan::Plan;
use shared::policy::Policy;

use crate::authz::World;
use crate::support::{Meter, project_id};

const MEMBERS: &str = "/api/v1/admin/projects/demo/members";

async fn meter(plan: Plan) -> (Meter, String) {
    let meter = Meter::start().await;
    meter.project("demo", plan).await;
    let operator = meter.operator().await;
    (meter, operator)
}

fn named(name: &str, role: &str) -> String {
    format!(r#"{{"name":"{name}","role":"{role}"}}"#)
}

#[tokio::test]
async fn a_plan_has_as_many_members_as_it_permits() {
    let (meter, operator) = meter(Plan::Pro).await;
    for number in 0..5 {
        let added = meter.json("POST", MEMBERS, &operator, &named(&format!("m{number}"), "viewer")).await;
        assert_eq!(added.status, 201, "{added:?}");
    }
    let sixth = named("m5", "viewer");
    let refused = meter.json("POST", MEMBERS, &operator, &sixth).await;
    refused.is_problem("member_limit", "pro has five");
    assert!(refused.field("detail").contains("permits 5 members"), "{refused:?}");
    meter.json("POST", MEMBERS, &operator, &named("m0", "owner")).await.is_problem("member_exists", "twice");
    let listed = meter.get(MEMBERS, &operator).await.value();
    assert_eq!((listed["members"].as_array().unwrap().len(), &listed["members_max"]), (5, &5.into()));
    let first = listed["members"][0]["id"].as_str().unwrap();
    assert_eq!(meter.json("DELETE", &format!("{MEMBERS}/{first}"), &operator, "").await.status, 200);
    assert_eq!(meter.json("POST", MEMBERS, &operator, &sixth).await.status, 201, "a place is free");
    for (body, field) in
        [(r#"{"role":"viewer"}"#, "name"), (&*named(" ", "viewer"), "name"), (&*named("x", "king"), "role")]
    {
        meter.json("POST", MEMBERS, &operator, body).await.refuses(field, body);
    }
}

#[tokio::test]
async fn a_members_token_follows_the_member() {
    let (meter, operator) = meter(Plan::Business).await;
    let added = meter.json("POST", MEMBERS, &operator, &named("ada", "owner")).await;
    let (ada, token) = (format!("{MEMBERS}/{}", added.field("id")), added.field("token"));
    let keys = "/api/v1/admin/projects/demo/keys";
    assert_eq!(meter.json("POST", keys, &token, "{}").await.status, 201);
    // An owner manages members, but a project keeps one.
    let demoted = r#"{"role":"viewer"}"#;
    meter.json("PATCH", &ada, &token, demoted).await.is_problem("last_owner", "demoted");
    meter.json("DELETE", &ada, &token, "").await.is_problem("last_owner", "removed");
    let bob = meter.json("POST", MEMBERS, &token, &named("bob", "owner")).await;
    assert_eq!(meter.json("PATCH", &ada, &bob.field("token"), demoted).await.status, 200);
    meter.json("POST", keys, &token, "{}").await.is_problem("forbidden", "a viewer at once");
    let replaced = meter.json("POST", &format!("{ada}/token"), &operator, "").await;
    meter.get(keys, &token).await.is_problem("unauthorized", "the token before");
    assert_eq!(meter.get(keys, &replaced.field("token")).await.status, 200);
    let removed = meter.json("DELETE", &ada, &operator, "").await;
    assert!(removed.value()["removed_at"].is_string());
    meter.get(keys, &replaced.field("token")).await.is_problem("unauthorized", "removed");
    for (method, path, body) in
        [("PATCH", ada.clone(), demoted), ("DELETE", ada.clone(), ""), ("POST", format!("{ada}/token"), "")]
    {
        meter.json(method, &path, &operator, body).await.is_problem("not_found", "removed before");
    }
}

#[tokio::test]
async fn a_rotated_key_is_accepted_until_its_overlap_is_over() {
    let (meter, operator) = meter(Plan::Pro).await;
    let old = meter.key("demo").await;
    let path = format!("/api/v1/admin/projects/demo/keys/{old}/rotate");
    let active = async || -> Vec<String> {
        let parts = meter.app.store.policy_parts(&project_id("demo")).await.unwrap().unwrap();
        let policy: Policy =
            meter.app.basis.compile(&parts.0.project, &parts.0.ledger, parts.1, meter.app.clock.now());
        policy.keys.iter().map(ToString::to_string).collect()
    };
    meter
        .json("POST", &path, &operator, r#"{"overlap_s":604801}"#)
        .await
        .refuses("overlap_s", "above a week");
    let rotated = meter.json("POST", &path, &operator, r#"{"overlap_s":3600}"#).await;
    assert_eq!((rotated.status, rotated.field("replaces")), (201, old.to_string()));
    assert!(rotated.field("key").starts_with("pk_live_demo_"));
    assert_eq!(active().await.len(), 2);
    let start = meter.app.clock.now();
    meter.app.clock.set(start.plus_ms(3_600_000 - 1));
    assert_eq!(key_expiry::revoke_due(&meter.app).await.unwrap(), 0);
    meter.app.clock.set(start.plus_ms(3_600_000));
    assert_eq!(key_expiry::revoke_due(&meter.app).await.unwrap(), 1);
    assert_eq!(key_expiry::revoke_due(&meter.app).await.unwrap(), 0, "once");
    assert_eq!(active().await, [rotated.field("id")]);
    meter.json("POST", &path, &operator, "{}").await.is_problem("key_unknown", "revoked by now");
    let at_once = format!("/api/v1/admin/projects/demo/keys/{}/rotate", rotated.field("id"));
    let last = meter.json("POST", &at_once, &operator, r#"{"overlap_s":0}"#).await;
    assert_eq!(active().await, [last.field("id")], "without an overlap");
}

#[tokio::test]
async fn only_closed_months_are_corrected_and_by_no_more_than_they_used() {
    let world = World::new().await;
    let operator = world.meter.operator().await;
    let path = "/api/v1/admin/projects/own/corrections";
    let body =
        |period: &str, units: u64| format!(r#"{{"period":"{period}","units":{units},"reason":"an outage"}}"#);
    let post = async |body: &str| world.meter.json("POST", path, &operator, body).await;
    post(&body("2026-11", 5)).await.is_problem("correction_refused", "open");
    post(&body("2026-09", 101)).await.is_problem("correction_refused", "more than used");
    post(&body("2026-09", 0)).await.refuses("units", "nothing");
    let corrected = post(&body("2026-09", 40)).await;
    assert_eq!((corrected.status, corrected.value()["included"].clone()), (201, 60.into()), "{corrected:?}");
    assert_eq!(world.meter.app.store.audit(&project_id("own")).await.unwrap().unwrap(), Vec::<String>::new());
    assert_eq!(world.meter.member("own", Role::Owner).await.len(), 68);
}
