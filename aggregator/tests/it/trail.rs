//! The audit log: every change is in it, with who made it, and nothing takes a line out again.

use aggregator::access::trail::Actor;
use aggregator::access::{Role, Scope};
use aggregator::http::{Route, routes};
use aggregator::store::TrailQuery;
use shared::plan::Plan;
use shared::problem::ErrorCode;

use crate::authz::{World, needs_redis};
use crate::support::{Meter, project_id};

/// Whether a call changes something without asking Stripe or a Redis, of which this meter has none.
fn changes_by_itself(route: &Route) -> bool {
    route.changes() && !route.refusals.contains(&ErrorCode::PaymentsUnavailable) && !needs_redis(route)
}

const AUDIT: &str = "/api/v1/admin/audit";

#[tokio::test]
async fn every_call_that_changes_something_notes_who_called() {
    let world = World::new().await;
    for route in routes().into_iter().filter(changes_by_itself) {
        let (id, text) = world.meter.token(Scope::Operator).await;
        let answer = world.call(&route, "own", Some(&format!("Bearer {text}"))).await;
        assert_eq!(answer.status, route.answers[0].status, "{route:?}: {answer:?}");
        let newest =
            world.meter.app.store.trail(TrailQuery { limit: 10, ..TrailQuery::default() }).await.unwrap();
        let noted = newest.iter().find(|noted| noted.actor == id);
        let noted = noted.unwrap_or_else(|| panic!("{route:?} left no line in the audit log"));
        assert_eq!((noted.actor_kind.as_str(), noted.role.as_str()), ("token", "operator"), "{route:?}");
        assert!(noted.was.is_some() || noted.became.is_some(), "{route:?}: {noted:?}");
    }
}

#[tokio::test]
async fn a_refused_call_leaves_no_line() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Community).await;
    let viewer = meter.member("demo", Role::Viewer).await;
    let all = TrailQuery { limit: 100, ..TrailQuery::default() };
    let before = meter.app.store.trail(all).await.unwrap();
    let keys = "/api/v1/admin/projects/demo/keys";
    meter.json("POST", keys, &viewer, "{}").await.is_problem("forbidden", "viewers make no keys");
    let operator = meter.operator().await;
    meter.json("POST", keys, &operator, r#"{"mode":"prod"}"#).await.refuses("mode", "no mode");
    let after = meter.app.store.trail(all).await.unwrap();
    assert_eq!(after.len(), before.len() + 1, "the operator's token alone: {after:?}");
}

#[tokio::test]
async fn pages_go_back_in_time_and_show_what_was_and_what_became() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Community).await;
    meter.project("other", Plan::Pro).await;
    let (owner, operator) = (meter.member("demo", Role::Owner).await, meter.operator().await);
    for rpm in 1..=105 {
        let body = format!(r#"{{"rpm":{rpm}}}"#);
        assert_eq!(meter.json("PATCH", "/api/v1/admin/projects/demo", &operator, &body).await.status, 200);
    }
    let first = meter.get(AUDIT, &owner).await.value();
    let entries = first["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 100);
    assert_eq!((&entries[0]["was"]["rpm"], &entries[0]["became"]["rpm"]), (&104.into(), &105.into()));
    assert_eq!((&entries[0]["action"], &entries[0]["target"]), (&"project.changed".into(), &"demo".into()));
    let second = meter.get(&format!("{AUDIT}?before={}", first["next"]), &owner).await.value();
    let rest = second["entries"].as_array().unwrap();
    assert_eq!(
        (rest.len(), &second["next"]),
        (7, &serde_json::Value::Null),
        "5 changes, a token, the project"
    );
    assert!(rest.iter().all(|entry| entry["project"] == "demo"));
    let all = meter.get(AUDIT, &operator).await.value();
    assert!(all["next"].is_number() && all["entries"][0]["project"] == "demo");
    let other = meter.get(&format!("{AUDIT}?project=other"), &operator).await.value();
    assert_eq!(other["entries"].as_array().unwrap().len(), 1);
    meter.get(&format!("{AUDIT}?before=0"), &owner).await.refuses("before", "zero");
}

#[tokio::test]
async fn jobs_and_commands_are_noted_by_name() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Community).await;
    meter.app.clock.set(meter.app.clock.now().plus_ms(40 * 86_400_000));
    aggregator::jobs::month_close::close_due(&meter.app).await.unwrap();
    let by_command = meter.app.store.by(Actor::Command { user: "ada".to_owned() });
    let key = meter.key("demo").await;
    by_command.revoke_key(&project_id("demo"), &key, meter.app.clock.now()).await.unwrap().unwrap();
    let trail = meter.app.store.trail(TrailQuery { limit: 3, ..TrailQuery::default() }).await.unwrap();
    let told: Vec<_> =
        trail.iter().map(|n| (n.action.as_str(), n.actor_kind.as_str(), n.actor.as_str())).collect();
    assert_eq!(
        told,
        [
            ("key.revoked", "command", "ada"),
            ("key.created", "job", "meter"),
            ("periods.closed", "job", "month_close")
        ]
    );
}
