//! Which facts become which events, in the transaction that makes them.

use aggregator::jobs::{forget, month_close};
use aggregator::ledger::close::CLOSE_WITHIN_MS;
use serde_json::{Value, json};
use shared::plan::Plan;

use super::receiver::{Mood, Receiver};
use super::{THRESHOLDS, advance, deliver, get, meter, settled, subscribe, until, use_units};
use crate::support::{Meter, noon};

#[tokio::test]
async fn what_happens_is_told_in_order() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Community).await;
    deliver(&meter);
    let receiver = Receiver::start().await;
    let (id, _) = subscribe(&meter, "demo", &receiver, json!({ "events": ["*"] })).await;
    let operator = meter.operator().await;
    let key = meter.key("demo").await;
    let admin = "/api/v1/admin/projects/demo";
    use_units(&meter, "demo", 1, 1_300).await;
    meter.json("POST", &format!("{admin}/credits"), &operator, r#"{"units":500,"reason":"sorry"}"#).await;
    use_units(&meter, "demo", 2, 1_500).await;
    meter.json("DELETE", &format!("{admin}/keys/{key}"), &operator, "").await;
    meter.json("PATCH", admin, &operator, r#"{"plan":"pro"}"#).await;
    meter.app.clock.set(noon().period().end().plus_ms(CLOSE_WITHIN_MS));
    assert_eq!(month_close::close_due(&meter.app).await.unwrap(), 1);
    let expected = [
        THRESHOLDS,
        THRESHOLDS,
        "quota.exhausted",
        "topup.credited",
        "usage.source_changed",
        "quota.exhausted",
        "key.revoked",
        "plan.changed",
        "usage.source_changed",
        "period.closed",
    ];
    settled(&meter, "demo", &id, &["delivered"; 10]).await;
    assert_eq!(receiver.kinds(), expected);
    let data: Vec<Value> = receiver.kept().iter().map(|got| got.value()["data"].clone()).collect();
    assert_eq!((&data[2]["allowance"], &data[5]["allowance"]), (&json!(1_000), &json!(1_500)));
    assert_eq!((&data[3]["units"], &data[3]["reason"]), (&json!(500), &json!("sorry")));
    let turn = |number: usize| (&data[number]["before"], &data[number]["after"]);
    assert_eq!(turn(4), (&json!("included"), &json!("lot")));
    assert_eq!(data[6]["key"], json!(key.to_string()));
    assert_eq!((&data[7]["plan"], &data[7]["included"]), (&json!("pro"), &json!(10_000)));
    assert_eq!(turn(8), (&json!("lot"), &json!("included")), "the larger plan pays for all of it");
    assert_eq!((&data[9]["period"], &data[9]["counted"]["units"]), (&json!("2026-11"), &json!(1_500)));
}

#[tokio::test]
async fn a_filter_lets_only_its_own_through_and_slack_gets_a_sentence() {
    let (meter, some, slack) = (meter().await, Receiver::start().await, Receiver::start().await);
    let (id, _) = subscribe(&meter, "demo", &some, json!({ "events": ["key.revoked"] })).await;
    let (channel, _) = subscribe(&meter, "demo", &slack, json!({ "format": "slack" })).await;
    let operator = meter.operator().await;
    let key = meter.key("demo").await;
    use_units(&meter, "demo", 1, 850).await;
    meter.json("DELETE", &format!("/api/v1/admin/projects/demo/keys/{key}"), &operator, "").await;
    settled(&meter, "demo", &id, &["delivered"]).await;
    settled(&meter, "demo", &channel, &["delivered"; 2]).await;
    assert_eq!(some.kinds(), ["key.revoked"]);
    let said = slack.got();
    assert_eq!(
        said[0].value(),
        json!({ "text": "demo: 80 % of 2026-11's quota is reached (850 of 1000 requests)." })
    );
    assert_eq!(said[1].value(), json!({ "text": format!("demo: the live key {key} was revoked.") }));
    let shown = get(&meter, "demo", &format!("/{channel}")).await;
    assert_eq!(shown["url"], format!("http://{}/…", slack.address), "a channel's URL is a secret");
}

#[tokio::test]
async fn an_event_tells_no_other_project() {
    let (meter, receiver) = (meter().await, Receiver::start().await);
    let (id, _) = subscribe(&meter, "other", &receiver, json!({})).await;
    use_units(&meter, "demo", 1, 1_300).await;
    use_units(&meter, "other", 1, 850).await;
    settled(&meter, "other", &id, &["delivered"]).await;
    assert_eq!(receiver.got()[0].value()["data"]["project"], "other");
    assert_eq!(receiver.got().len(), 1);
}

#[tokio::test]
async fn old_events_are_forgotten_unless_somebody_waits_for_them() {
    let (meter, well, down) = (meter().await, Receiver::start().await, Receiver::start().await);
    down.becomes(Mood::Status(500));
    let (id, _) = subscribe(&meter, "demo", &well, json!({ "events": ["key.revoked"] })).await;
    let (waiting, _) = subscribe(&meter, "demo", &down, json!({ "events": [THRESHOLDS] })).await;
    let (operator, key) = (meter.operator().await, meter.key("demo").await);
    use_units(&meter, "demo", 1, 850).await;
    meter.json("DELETE", &format!("/api/v1/admin/projects/demo/keys/{key}"), &operator, "").await;
    settled(&meter, "demo", &id, &["delivered"]).await;
    until("it failed once", async || {
        get(&meter, "demo", &format!("/{waiting}")).await["status"] == "failing"
    })
    .await;
    assert_eq!(forget::forget_events(&meter.app).await.unwrap(), 0);
    advance(&meter, 93 * 24 * 3_600_000);
    assert_eq!(forget::forget_events(&meter.app).await.unwrap(), 1);
    settled(&meter, "demo", &id, &[]).await;
    assert_eq!(super::states(&meter, "demo", &waiting).await.len(), 1);
}
