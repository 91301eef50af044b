//! Webhooks, on a running aggregator whose clock is moved by hand.

mod addresses;
mod events;
mod receiver;
mod sealing;
mod sources;

use aggregator::access::Role;
use aggregator::jobs::webhooks::{self, Resolver, Sender};
use aggregator::webhooks::health::FAILING_MS_MAX;
use aggregator::webhooks::target::Rules;
use serde_json::{Value, json};
use shared::plan::Plan;

use crate::support::{Answer, Meter, noon, project_id, until};
use receiver::{Got, Mood, Receiver};

const HOUR_MS: u64 = 3_600_000;

/// A meter whose deliveries run, with two projects.
async fn meter() -> Meter {
    let meter = Meter::start().await;
    for project in ["demo", "other"] {
        meter.project(project, Plan::Community).await;
    }
    deliver(&meter);
    meter
}

fn deliver(meter: &Meter) {
    let rules = Rules { loopback: true, ..Rules::default() };
    tokio::spawn(webhooks::run(meter.app.clone(), Sender::new(rules, Resolver::System)));
}

/// Makes a webhook over HTTP; its id and secret.
async fn subscribe(meter: &Meter, project: &str, receiver: &Receiver, more: Value) -> (String, String) {
    let admin = meter.member(project, Role::Admin).await;
    let mut body = json!({ "url": receiver.url() });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = meter.json("POST", "/api/v1/webhooks", &admin, &body.to_string()).await;
    assert_eq!(made.status, 201, "{made:?}");
    (made.field("id"), made.field("secret"))
}

async fn post(meter: &Meter, project: &str, path: &str, body: &str) -> Answer {
    let admin = meter.member(project, Role::Admin).await;
    meter.json("POST", &format!("/api/v1/webhooks/{path}"), &admin, body).await
}

async fn get(meter: &Meter, project: &str, path: &str) -> Value {
    let viewer = meter.member(project, Role::Viewer).await;
    let answer = meter.get(&format!("/api/v1/webhooks{path}"), &viewer).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.value()
}

async fn use_units(meter: &Meter, project: &str, seq: u64, units: u64) {
    let body = format!(
        r#"{{"project":"{project}","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":{seq},"cells":[{{"day":"2026-11-23","kind":"verify","agent":"a","units":{units}}}]}}"#
    );
    let answer = meter.flush(&body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn advance(meter: &Meter, ms: u64) {
    meter.app.clock.set(meter.app.clock.now().plus_ms(ms));
}

async fn got(receiver: &Receiver, count: usize) -> Vec<Got> {
    until("the receiver got what was sent", async || receiver.got().len() >= count).await;
    receiver.got()
}

/// The states of an endpoint's deliveries, the oldest first.
async fn states(meter: &Meter, project: &str, id: &str) -> Vec<String> {
    let page = get(meter, project, &format!("/{id}/deliveries")).await;
    let deliveries = page["deliveries"].as_array().unwrap();
    deliveries.iter().rev().map(|one| one["state"].as_str().unwrap().to_owned()).collect()
}

async fn settled(meter: &Meter, project: &str, id: &str, expected: &[&str]) {
    let seen = std::sync::Mutex::new(Vec::new());
    let asked = tokio::time::timeout(crate::support::DEADLINE, async {
        loop {
            let states = states(meter, project, id).await;
            if states == expected {
                return;
            }
            *seen.lock().unwrap() = states;
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    asked.await.unwrap_or_else(|_| panic!("{id} is {:?}, expected {expected:?}", seen.lock().unwrap()));
}

const THRESHOLDS: &str = "usage.threshold_reached";

#[tokio::test]
async fn a_jump_from_0_to_130_percent_tells_80_then_100_once_each() {
    let (meter, receiver) = (meter().await, Receiver::start().await);
    let (id, _) = subscribe(&meter, "demo", &receiver, json!({ "events": [THRESHOLDS] })).await;
    use_units(&meter, "demo", 1, 1_300).await;
    let first = got(&receiver, 2).await;
    settled(&meter, "demo", &id, &["delivered", "delivered"]).await;
    for (got, threshold) in first.iter().zip([80, 100]) {
        let expected = json!({
            "type": THRESHOLDS, "timestamp": "2026-11-23T12:00:00Z",
            "data": {"project": "demo", "period": "2026-11", "threshold": threshold, "quota": 1_000, "used": 1_300,
                     "quota_version": 1}
        });
        assert_eq!(got.value(), expected);
        assert_eq!(got.timestamp, noon().as_seconds().to_string());
    }
    // The same flush again, and more of the same, tell nothing new.
    use_units(&meter, "demo", 1, 1_300).await;
    use_units(&meter, "demo", 2, 1_400).await;
    let asked = post(&meter, "demo", &format!("{id}/test"), "").await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let all = got(&receiver, 3).await;
    assert_eq!((all.len(), all[2].kind().as_str()), (3, "webhook.test"));
}

#[tokio::test]
async fn a_receiver_that_is_down_for_an_hour_gets_everything_once_it_is_back() {
    let (meter, receiver) = (meter().await, Receiver::start().await);
    let (id, _) = subscribe(&meter, "demo", &receiver, json!({ "events": [THRESHOLDS] })).await;
    receiver.becomes(Mood::Status(503));
    use_units(&meter, "demo", 1, 1_300).await;
    got(&receiver, 2).await;
    for (attempts, wait_ms) in [(4, 5_000), (6, 5 * 60_000), (8, 55 * 60_000)] {
        settled(&meter, "demo", &id, &["waiting", "waiting"]).await;
        let before = get(&meter, "demo", &format!("/{id}/deliveries")).await;
        advance(&meter, wait_ms);
        let all = got(&receiver, attempts).await;
        assert_eq!(all.len(), attempts, "{before:?}");
        until("both attempts are written down", async || {
            let page = get(&meter, "demo", &format!("/{id}/deliveries")).await;
            page["deliveries"][0]["attempts"].as_u64() == u64::try_from(attempts.div_euclid(2)).ok()
        })
        .await;
    }
    receiver.becomes(Mood::Status(200));
    advance(&meter, 2 * HOUR_MS);
    settled(&meter, "demo", &id, &["delivered", "delivered"]).await;
    let kept = receiver.kept();
    let thresholds: Vec<Value> = kept.iter().map(|got| got.value()["data"]["threshold"].clone()).collect();
    assert_eq!(thresholds, [json!(80), json!(100)], "each once for a receiver that keeps ids");
    let last = receiver.got().pop().unwrap();
    assert_eq!(last.value()["timestamp"], "2026-11-23T12:00:00Z", "the body stays what it was");
    assert_ne!(last.timestamp, noon().as_seconds().to_string(), "the attempt has its own time");
}

#[tokio::test]
async fn several_processes_send_each_event_once() {
    let (meter, receiver) = (meter().await, Receiver::start().await);
    for _ in 0..3 {
        deliver(&meter);
    }
    let (id, _) = subscribe(&meter, "demo", &receiver, json!({})).await;
    for _ in 0..20 {
        assert_eq!(post(&meter, "demo", &format!("{id}/test"), "").await.status, 202);
    }
    settled(&meter, "demo", &id, &["delivered"; 20]).await;
    assert_eq!((receiver.got().len(), receiver.kept().len()), (20, 20));
}

#[tokio::test]
async fn a_dead_receiver_delays_neither_another_tenant_nor_its_own_project() {
    let (meter, dead, well) = (meter().await, Receiver::start().await, Receiver::start().await);
    dead.becomes(Mood::Hangs);
    let mut ids = Vec::new();
    for _ in 0..9 {
        ids.push(subscribe(&meter, "demo", &dead, json!({})).await.0);
    }
    let (own, _) = subscribe(&meter, "demo", &well, json!({})).await;
    let (others, _) = subscribe(&meter, "other", &well, json!({})).await;
    for id in &ids {
        assert_eq!(post(&meter, "demo", &format!("{id}/test"), "").await.status, 202);
    }
    got(&dead, 9).await;
    // Attempts to the dead one are under way now, and each takes as long as it may.
    post(&meter, "demo", &format!("{own}/test"), "").await;
    post(&meter, "other", &format!("{others}/test"), "").await;
    let sent = tokio::time::timeout(webhooks::ATTEMPT_TIMEOUT / 2, async {
        settled(&meter, "demo", &own, &["delivered"]).await;
        settled(&meter, "other", &others, &["delivered"]).await;
    });
    sent.await.expect("a dead receiver held up others");
    assert_eq!(dead.got().len(), 9, "one attempt at a time for each");
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_at_once_and_its_project_told() {
    let (meter, gone, well) = (meter().await, Receiver::start().await, Receiver::start().await);
    gone.becomes(Mood::Status(410));
    let (id, _) = subscribe(&meter, "demo", &gone, json!({})).await;
    let (told, _) = subscribe(&meter, "demo", &well, json!({ "events": ["webhook.disabled"] })).await;
    post(&meter, "demo", &format!("{id}/test"), "").await;
    settled(&meter, "demo", &told, &["delivered"]).await;
    let notice = well.got().remove(0).value();
    assert_eq!((&notice["data"]["endpoint"], &notice["data"]["reason"]), (&json!(id), &json!("gone")));
    let shown = get(&meter, "demo", &format!("/{id}")).await;
    assert_eq!((&shown["status"], &shown["disabled_reason"]), (&json!("disabled"), &json!("gone")));
    assert_eq!(states(&meter, "demo", &id).await, ["gave_up"]);
    post(&meter, "demo", &format!("{id}/test"), "").await.refuses("disabled", "a test of a disabled one");
    // Turned on again, it gets what it lacks when its owner asks for it.
    use_units(&meter, "demo", 1, 850).await;
    gone.becomes(Mood::Status(200));
    let admin = meter.member("demo", Role::Admin).await;
    let path = format!("/api/v1/webhooks/{id}");
    let on = meter.json("PATCH", &path, &admin, r#"{"disabled":false}"#).await;
    assert_eq!((on.status, on.field("status").as_str()), (200, "active"));
    let replayed = post(&meter, "demo", &format!("{id}/replay"), r#"{"since":"2026-11-23"}"#).await;
    assert_eq!((replayed.status, replayed.field("replayed").as_str()), (202, "3"), "{replayed:?}");
    settled(&meter, "demo", &id, &["delivered"; 3]).await;
    assert_eq!(gone.kinds(), ["webhook.test", "webhook.disabled", THRESHOLDS]);
}

#[tokio::test]
async fn an_endpoint_that_fails_for_five_days_is_disabled() {
    let (meter, receiver) = (meter().await, Receiver::start().await);
    receiver.becomes(Mood::Status(500));
    let (id, _) = subscribe(&meter, "demo", &receiver, json!({})).await;
    let status = async || get(&meter, "demo", &format!("/{id}")).await["status"].clone();
    post(&meter, "demo", &format!("{id}/test"), "").await;
    until("it is failing", async || status().await == "failing").await;
    advance(&meter, FAILING_MS_MAX);
    got(&receiver, 2).await;
    settled(&meter, "demo", &id, &["waiting"]).await;
    assert_eq!(status().await, "failing", "exactly five days are not longer than five days");
    advance(&meter, 10 * HOUR_MS);
    until("it is disabled", async || status().await == "disabled").await;
    let viewer = meter.member("demo", Role::Viewer).await;
    // Whoever disables it writes first, and counts then.
    until("that is counted", async || {
        meter.get("/metrics", &viewer).await.body.matches("meter_webhooks_disabled_total 1").count() == 1
    })
    .await;
}

#[tokio::test]
async fn redirects_are_not_followed_and_answers_not_read_to_their_end() {
    let (meter, receiver, elsewhere) = (meter().await, Receiver::start().await, Receiver::start().await);
    receiver.becomes(Mood::Redirects(elsewhere.address.port()));
    let (id, _) = subscribe(&meter, "demo", &receiver, json!({})).await;
    post(&meter, "demo", &format!("{id}/test"), "").await;
    let last = async |field: &str| {
        get(&meter, "demo", &format!("/{id}/deliveries")).await["deliveries"][0]["last_attempt"][field]
            .clone()
    };
    until("the redirect is a failure", async || last("status").await == 307).await;
    assert!(elsewhere.got().is_empty());
    receiver.becomes(Mood::Floods);
    advance(&meter, 5_000);
    settled(&meter, "demo", &id, &["delivered"]).await;
    assert_eq!(last("response").await, "x".repeat(1_024));
}

#[tokio::test]
async fn the_log_shows_request_answer_and_next_try_and_pages_through() {
    let (meter, receiver) = (meter().await, Receiver::start().await);
    receiver.becomes(Mood::Status(500));
    let (id, secret) = subscribe(&meter, "demo", &receiver, json!({})).await;
    use_units(&meter, "demo", 1, 850).await;
    let page = async || get(&meter, "demo", &format!("/{id}/deliveries")).await;
    until("the attempt is written down", async || page().await["deliveries"][0]["attempts"] == 1).await;
    let delivery = page().await["deliveries"][0].clone();
    assert_eq!(delivery["type"], THRESHOLDS);
    assert_eq!(delivery["state"], "waiting");
    assert_eq!(delivery["next_attempt_at"], "2026-11-23T12:00:05Z");
    let last = &delivery["last_attempt"];
    assert_eq!(
        (&last["outcome"], &last["status"], &last["response"]),
        (&json!("refused"), &json!(500), &json!("as told"))
    );
    let name = delivery["id"].as_str().unwrap();
    let detail = get(&meter, "demo", &format!("/{id}/deliveries/{name}")).await;
    assert_eq!(detail["request"]["url"], receiver.url());
    assert_eq!(detail["request"]["body"], receiver.got()[0].value());
    assert_eq!(detail["request"]["headers"]["webhook-id"], receiver.got()[0].id);
    assert_eq!(detail["log"].as_array().unwrap().len(), 1);
    assert!(!detail.to_string().contains(&secret));
    receiver.becomes(Mood::Status(204));
    let replayed = post(&meter, "demo", &format!("{id}/deliveries/{name}/replay"), "").await;
    assert_eq!((replayed.status, replayed.field("id").as_str()), (202, name));
    settled(&meter, "demo", &id, &["delivered"]).await;
    for _ in 0..4 {
        post(&meter, "demo", &format!("{id}/test"), "").await;
    }
    let first = get(&meter, "demo", &format!("/{id}/deliveries?limit=3")).await;
    let next = first["next"].as_u64().unwrap();
    let second = get(&meter, "demo", &format!("/{id}/deliveries?limit=3&before={next}")).await;
    assert_eq!(
        (first["deliveries"].as_array().unwrap().len(), second["deliveries"].as_array().unwrap().len()),
        (3, 2)
    );
    assert_eq!((&second["deliveries"][1]["id"], &second["next"]), (&json!(name), &Value::Null));
    let viewer = meter.member("demo", Role::Viewer).await;
    for (query, field) in
        [("limit=0", "limit"), ("limit=101", "limit"), ("before=x", "before"), ("after=1", "after")]
    {
        let answer = meter.get(&format!("/api/v1/webhooks/{id}/deliveries?{query}"), &viewer).await;
        answer.refuses(field, query);
    }
    let unknown = meter.get(&format!("/api/v1/webhooks/{id}/deliveries/dlv_none"), &viewer).await;
    unknown.is_problem("not_found", "no such delivery");
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_by_field() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Community).await;
    let admin = meter.member("demo", Role::Admin).await;
    let cases = [
        (r#"{}"#, "url"),
        (r#"{"url":7}"#, "url"),
        (r#"{"url":"example.com"}"#, "url"),
        (r#"{"url":"https://example.com","events":[]}"#, "events"),
        (r#"{"url":"https://example.com","events":"*"}"#, "events"),
        (r#"{"url":"https://example.com","events":["usage"]}"#, "events"),
        (r#"{"url":"https://example.com","events":["webhook.test"]}"#, "events"),
        (r#"{"url":"https://example.com","format":"xml"}"#, "format"),
        (r#"{"url":"https://example.com","description":"a\nb"}"#, "description"),
        (r#"{"url":"https://example.com","secret":"whsec_mine"}"#, "secret"),
    ];
    for (body, field) in cases {
        meter.json("POST", "/api/v1/webhooks", &admin, body).await.refuses(field, body);
    }
    for _ in 0..10 {
        let made = meter.json("POST", "/api/v1/webhooks", &admin, r#"{"url":"https://example.com"}"#).await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    let more = meter.json("POST", "/api/v1/webhooks", &admin, r#"{"url":"https://example.com"}"#).await;
    more.refuses("webhooks", "the eleventh");
    let listed = meter.get("/api/v1/webhooks", &admin).await;
    assert_eq!(listed.value()["webhooks"].as_array().unwrap().len(), 10);
    assert!(!listed.body.contains("whsec_"), "secrets are shown once");
    assert_eq!(meter.app.store.webhooks(&project_id("demo")).await.unwrap().len(), 10);
    // Whatever is asked of one that is not there.
    for (method, path) in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/test")]
    {
        let path = format!("/api/v1/webhooks/wh_none{path}");
        meter.json(method, &path, &admin, "{}").await.is_problem("not_found", &path);
    }
}
