//! `POST /api/v1/cloudevents`: what is counted, once, by whom, and what is refused whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aggregator::access::token::TokenText;
use aggregator::access::{Role, Scope};
use aggregator::clock::Clock;
use aggregator::jobs::month_close;
use aggregator::projects::project::{NewProject, Setting};
use aggregator::store::{Store, WhenMissing};
use serde_json::{Value, json};
use shared::plan::Plan;
use shared::time::Timestamp;
use tokio::task::JoinSet;

use crate::cli::Process;
use crate::durability::try_raw;
use crate::support::{Answer, Folder, Meter, project_id, request};

const PATH: &str = "/api/v1/cloudevents";
const BATCH: &str = "application/cloudevents-batch+json";

/// A meter with two projects, and a token that reports units of the first.
async fn meter() -> (Meter, String) {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Pro).await;
    meter.project("other", Plan::Pro).await;
    let (_, token) = meter.token(Scope::Emitter { project: project_id("demo") }).await;
    assert!(token.starts_with("pet_"));
    (meter, token)
}

/// An event of an hour before the clock of tests, with these attributes besides.
fn event(id: &str, change: &Value) -> Value {
    let mut event = json!({
        "specversion": "1.0", "id": id, "source": "/app", "type": "com.example.verify",
        "subject": "bot", "time": "2026-11-23T11:00:00Z", "data": {"value": 3},
    });
    for (name, value) in change.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}

async fn send(meter: &Meter, token: &str, events: &[Value]) -> Answer {
    post(meter, token, PATH, BATCH, &Value::from(events).to_string()).await
}

async fn post(meter: &Meter, token: &str, path: &str, media_type: &str, body: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    meter.send("POST", path, &[("authorization", &authorization), ("content-type", media_type)], body).await
}

/// The units of the month of tests, as the usage report has them.
async fn used(meter: &Meter, mode: &str) -> u64 {
    let token = meter.member("demo", Role::Viewer).await;
    let path = format!("/api/v1/usage?from=2026-11-01&to=2026-11-30&mode={mode}");
    meter.get(&path, &token).await.value()["total"].as_u64().unwrap()
}

#[track_caller]
fn counted(answer: &Answer, expected: (u64, u64, u64)) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let value = answer.value();
    let number = |name: &str| value[name].as_u64().unwrap();
    assert_eq!((number("counted"), number("duplicates"), number("units")), expected, "{answer:?}");
}

#[tokio::test]
async fn an_event_counts_once_however_often_and_in_whatever_company_it_comes() {
    let (meter, token) = meter().await;
    let (one, two) =
        (event("1", &json!({})), event("2", &json!({"type": "mcp_tool_call", "data": {"units": "7"}})));
    counted(&send(&meter, &token, &[one.clone(), two.clone(), one.clone()]).await, (2, 1, 10));
    counted(&send(&meter, &token, &[two.clone(), event("3", &json!({"data": null}))]).await, (1, 1, 1));
    // The same id of another source is another event; the first that came under a name is the one that counts.
    counted(
        &send(
            &meter,
            &token,
            &[event("1", &json!({"source": "/b"})), event("2", &json!({"data": {"value": 900}}))],
        )
        .await,
        (1, 1, 3),
    );
    let structured =
        post(&meter, &token, PATH, "application/cloudevents+json; charset=utf-8", &one.to_string()).await;
    counted(&structured, (0, 1, 0));
    counted(
        &post(&meter, &token, PATH, "application/json", &event("4", &json!({})).to_string()).await,
        (1, 0, 3),
    );
    counted(&post(&meter, &token, PATH, "application/json", "[]").await, (0, 0, 0));
    let authorization = format!("Bearer {token}");
    let mut headers = vec![
        ("authorization", authorization.as_str()),
        ("ce-specversion", "1.0"),
        ("ce-id", "5"),
        ("ce-source", "/app"),
        ("ce-type", "extension_event"),
        ("ce-subject", "%C3%BCber"),
        ("ce-time", "2026-11-23T11:00:00+00:00"),
    ];
    counted(&meter.send("POST", PATH, &headers, "").await, (1, 0, 1));
    headers.push(("content-type", "application/json"));
    counted(&meter.send("POST", PATH, &headers, r#"{"value":5}"#).await, (0, 1, 0));
    headers[2] = ("ce-id", "6");
    counted(&meter.send("POST", PATH, &headers, r#"{"value":5}"#).await, (1, 0, 5));
    assert_eq!(used(&meter, "live").await, 10 + 1 + 3 + 3 + 1 + 5);
    let test = post(&meter, &token, &format!("{PATH}?mode=test"), BATCH, &json!([one]).to_string()).await;
    counted(&test, (1, 0, 3));
    assert_eq!((used(&meter, "live").await, used(&meter, "test").await), (23, 3));
    assert_eq!(
        meter.cells("demo").await,
        [
            "live 2026-11-23 %C3%BCber extension_event events cloudevents units=6 tokens_in=0 tokens_out=0 anchors=0",
            "live 2026-11-23 bot mcp_tool_call events cloudevents units=7 tokens_in=0 tokens_out=0 anchors=0",
            "live 2026-11-23 bot verify events cloudevents units=10 tokens_in=0 tokens_out=0 anchors=0",
            "test 2026-11-23 bot verify events cloudevents units=3 tokens_in=0 tokens_out=0 anchors=0",
        ]
    );
    assert!(meter.app.store.audit(&project_id("demo")).await.unwrap().unwrap().is_empty());
}

#[tokio::test]
async fn a_batch_with_one_wrong_event_changes_nothing_and_says_which() {
    let (meter, token) = meter().await;
    for (wrong, field) in [
        (event("2", &json!({"type": "prompt"})), "[1].type"),
        (event("2", &json!({"specversion": "0.3"})), "[1].specversion"),
        (event("2", &json!({"time": "2026-11-23T12:05:00.001Z"})), "[1].time"),
        (event("2", &json!({"time": "2026-09-01T00:00:00Z"})), "[1].time"),
        (event("2", &json!({"data": {"value": 0}})), "[1].data"),
        (event("2", &json!({"data": {"value": 1_000_001}})), "[1].data"),
        (json!("text"), "[1]"),
    ] {
        send(&meter, &token, &[event("1", &json!({})), wrong.clone()])
            .await
            .refuses(field, &wrong.to_string());
    }
    let rate = meter.app.store.project(&project_id("demo")).await.unwrap().unwrap().rpm_max;
    let day = u64::from(rate) * 1_440;
    let value = |id: &str, value: u64| event(id, &json!({"data": {"value": value}}));
    let many = [value("m1", day.div_euclid(2)), value("m2", day.div_euclid(2)), value("m3", day % 2 + 1)];
    send(&meter, &token, &many).await.refuses("[0].data", "more than the rate permits of one agent and day");
    assert_eq!((used(&meter, "live").await, meter.cells("demo").await.len()), (0, 0));
    // What was refused is not taken for known.
    counted(&send(&meter, &token, &[event("1", &json!({})), event("2", &json!({}))]).await, (2, 0, 6));
    let one =
        post(&meter, &token, PATH, "application/json", &event("3", &json!({"time": 5})).to_string()).await;
    one.refuses("time", "one event alone");
    let too_many: Vec<Value> = (0..1_001).map(|id| event(&id.to_string(), &json!({}))).collect();
    send(&meter, &token, &too_many).await.refuses("events", "more than 1,000");
    send(&meter, &token, &too_many[..1_000]).await.field("counted");
    for (media_type, body, code) in [
        ("text/plain", "[]", "unsupported_media_type"),
        (BATCH, "{}", "field_rejected"),
        (BATCH, "[", "malformed_json"),
    ] {
        post(&meter, &token, PATH, media_type, body).await.is_problem(code, body);
    }
}

#[tokio::test]
async fn events_are_paid_for_as_all_units_are_and_late_ones_of_a_closed_month_are_refused() {
    let (meter, token) = meter().await;
    // 10,000 are included: 80 and 100 % are crossed by what was served elsewhere, and nothing is refused for it.
    counted(&send(&meter, &token, &[event("1", &json!({"data": {"value": 8_000}}))]).await, (1, 0, 8_000));
    counted(&send(&meter, &token, &[event("2", &json!({"data": {"value": 4_500}}))]).await, (1, 0, 4_500));
    let viewer = meter.member("demo", Role::Viewer).await;
    let plan = meter.get("/api/v1/billing/plan", &viewer).await.value();
    assert_eq!(plan["used"], 12_500, "{plan}");
    assert!(meter.app.store.audit(&project_id("demo")).await.unwrap().unwrap().is_empty());
    meter.app.clock.set(Timestamp::parse("2026-12-04T00:00:00Z").unwrap());
    month_close::close_due(&meter.app).await.unwrap();
    // What was answered before may be asked again; what is new of that month comes too late.
    counted(&send(&meter, &token, &[event("1", &json!({}))]).await, (0, 1, 0));
    send(&meter, &token, &[event("9", &json!({}))]).await.refuses("[0].time", "a closed month");
    counted(&send(&meter, &token, &[event("9", &json!({"time": null}))]).await, (1, 0, 3));
    // Ninety days later their names are forgotten, and their instants no longer accepted.
    meter.app.clock.set(Timestamp::parse("2027-03-05T00:00:00Z").unwrap());
    assert!(meter.app.store.forget_cloud_events(meter.app.clock.now()).await.unwrap() > 0);
    send(&meter, &token, &[event("1", &json!({}))]).await.refuses("[0].time", "an event that is forgotten");
    assert_eq!(used(&meter, "live").await, 12_500);
}

#[tokio::test]
async fn only_a_token_made_for_it_reports_and_it_does_nothing_else() {
    let (meter, token) = meter().await;
    let body = json!([event("1", &json!({}))]).to_string();
    let to = |project: &str| format!("{PATH}?project={project}");
    for role in Role::ALL {
        let member = meter.member("demo", role).await;
        post(&meter, &member, PATH, BATCH, &body).await.is_problem("forbidden", role.as_str());
        post(&meter, &member, &to("other"), BATCH, &body).await.is_problem("project_unknown", role.as_str());
    }
    for project in ["other", "missing"] {
        post(&meter, &token, &to(project), BATCH, &body).await.is_problem("project_unknown", project);
    }
    post(&meter, "pet_x", PATH, BATCH, &body).await.is_problem("unauthorized", "no token");
    let cookieless = meter.send("POST", PATH, &[("content-type", BATCH)], &body).await;
    cookieless.is_problem("unauthorized", "nobody");
    for path in
        ["/api/v1/usage?from=2026-11-01&to=2026-11-30", "/api/v1/billing/plan", "/api/v1/admin/projects/demo"]
    {
        meter.get(path, &token).await.is_problem("forbidden", path);
    }
    let operator = meter.operator().await;
    post(&meter, &operator, PATH, BATCH, &body).await.refuses("project", "operators name one");
    counted(&post(&meter, &operator, &to("demo"), BATCH, &body).await, (1, 0, 3));
    let made =
        meter.json("POST", "/api/v1/admin/projects/demo/tokens", &operator, r#"{"role":"emitter"}"#).await;
    assert_eq!((made.status, made.field("role")), (201, "emitter".to_owned()));
    counted(&post(&meter, &made.field("token"), PATH, BATCH, &body).await, (0, 1, 0));
    let path = format!("/api/v1/admin/projects/demo/tokens/{}", made.field("id"));
    assert_eq!(meter.json("DELETE", &path, &operator, "").await.status, 200);
    post(&meter, &made.field("token"), PATH, BATCH, &body).await.is_problem("unauthorized", "revoked");
}

#[tokio::test]
async fn agents_beyond_a_thousand_a_day_are_folded_with_the_exact_total() {
    let (meter, token) = meter().await;
    let of = |range: std::ops::Range<u32>| -> Vec<Value> {
        range
            .map(|n| event(&n.to_string(), &json!({"subject": format!("agent-{n}"), "data": null})))
            .collect()
    };
    counted(&send(&meter, &token, &of(0..999)).await, (999, 0, 999));
    counted(&send(&meter, &token, &of(999..1_100)).await, (101, 0, 101));
    let again = event("again", &json!({"subject": "agent-5", "data": null}));
    counted(&send(&meter, &token, &[again]).await, (1, 0, 1));
    let cells = meter.cells("demo").await;
    assert_eq!(cells.len(), 1_001);
    assert!(cells.iter().any(|cell| cell.contains(" ~other ") && cell.contains("units=100 ")));
    assert!(cells.iter().any(|cell| cell.contains(" agent-5 ") && cell.contains("units=2 ")));
    assert_eq!(used(&meter, "live").await, 1_101);
}

/// Sends the batch of that number of a sender; whether it was answered.
async fn batch(address: SocketAddr, authorization: &str, (sender, batch): (usize, u64)) -> bool {
    let event = |n: u64| json!({"specversion": "1.0", "id": format!("{batch}-{n}"), "source": format!("/{sender}"), "type": "verify"});
    let body = Value::from((0..BATCH_EVENTS).map(event).collect::<Vec<_>>()).to_string();
    let headers = [("authorization", authorization), ("content-type", BATCH)];
    let answer = try_raw(address, &request("POST", PATH, &headers, &body)).await;
    answer.is_some_and(|answer| answer.status == 200)
}

const BATCH_EVENTS: u64 = 5;
const SENDERS: usize = 4;
const ROUNDS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_counted_exactly_once_across_kill_9_and_retries() {
    let folder = Folder::new();
    let store = Store::open(&folder.database(), WhenMissing::Create).await.unwrap();
    let id = project_id("demo");
    let new =
        NewProject { id: id.clone(), plan: Plan::Enterprise, rpm: Setting::Plan, included: Setting::Plan };
    store.create_project(new, Clock::system().now()).await.unwrap().unwrap();
    let scope = Scope::Emitter { project: id.clone() };
    let text = TokenText::generate(&scope).unwrap();
    store.create_token(scope, &text.hash(), Clock::system().now()).await.unwrap();
    store.close().await;
    let authorization = format!("Bearer {}", text.expose());
    // How many batches of each sender were answered: the next may have been counted without an answer.
    let mut answered = [0_u64; SENDERS];
    for round in 1..=ROUNDS {
        let server = Process::serve(&folder);
        let (address, acks) = (server.address, Arc::new(AtomicUsize::new(0)));
        let mut senders = JoinSet::new();
        for (sender, from) in answered.into_iter().enumerate() {
            let (authorization, acks) = (authorization.clone(), Arc::clone(&acks));
            senders.spawn(async move {
                let mut next = from;
                while batch(address, &authorization, (sender, next)).await {
                    next += 1;
                    acks.fetch_add(1, Ordering::SeqCst);
                }
                (sender, next)
            });
        }
        let enough = 20 + 7 * round;
        crate::support::until("enough batches were answered", async || acks.load(Ordering::SeqCst) >= enough)
            .await;
        server.kill();
        for (sender, next) in senders.join_all().await {
            answered[sender] = next;
        }
        let stored = stored(&folder).await;
        let acknowledged: u64 = answered.iter().sum::<u64>() * BATCH_EVENTS;
        let in_flight = u64::try_from(SENDERS).unwrap() * BATCH_EVENTS;
        assert!(
            (acknowledged..=acknowledged + in_flight).contains(&stored),
            "round {round}: {stored}, {answered:?}"
        );
        assert_eq!(stored % BATCH_EVENTS, 0, "round {round}: no batch is counted in part");
    }
    // What nobody was told of is sent once more, and everything before it too.
    let server = Process::serve(&folder);
    for (sender, next) in answered.into_iter().enumerate() {
        for number in next.saturating_sub(3)..=next {
            assert!(batch(server.address, &authorization, (sender, number)).await);
        }
    }
    server.kill();
    let distinct: u64 = answered.iter().map(|next| (next + 1) * BATCH_EVENTS).sum();
    assert_eq!(stored(&folder).await, distinct);
}

/// The units that the books of a server that was killed have; they balance.
async fn stored(folder: &Folder) -> u64 {
    let store = Store::open(&folder.database(), WhenMissing::Refuse).await.unwrap();
    let cells = store.cells_as_text(&project_id("demo")).await.unwrap();
    assert!(store.audit(&project_id("demo")).await.unwrap().unwrap().is_empty());
    store.close().await;
    let units = |cell: &String| -> u64 {
        cell.split("units=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap()
    };
    cells.iter().map(units).sum()
}
