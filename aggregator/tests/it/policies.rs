//! Policy versions, the outbox, and the push that empties it.

use std::sync::{Arc, Mutex};

use aggregator::edge::client::{EdgeClient, EdgeUrl};
use aggregator::http::{self, Connections, Timeouts};
use aggregator::jobs::{policy_push, policy_turn};
use aggregator::payments::subscription::SubscriptionSeen;
use aggregator::projects::project::{ProjectChange, Setting};
use aggregator::store::{Store, WhenMissing};
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use shared::plan::Plan;
use shared::policy::{Overage, Policy, SignedPolicy, Status};
use shared::units::Units;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::payments::{make_customer, monthly, past_due, settle_subscription, subscription};
use crate::support::{Meter, noon, project_id, signing_keys, until};

/// Far above the longest wait between two pushes.
const WAIT_MS_MAX: u64 = 30_000;

/// The project whose home never answers.
const HANGS: &str = "hangs";

/// What stands where the edge does: it opens what it gets as an edge would, after failing a few times.
#[derive(Clone, Default)]
struct Edge {
    failures: Arc<Mutex<u32>>,
    got: Arc<Mutex<Vec<Policy>>>,
}

impl Edge {
    async fn listen(&self) -> EdgeClient {
        let edge = self.clone();
        let install = move |body: Bytes| async move {
            let signed: SignedPolicy = serde_json::from_slice(&body).unwrap();
            let policy = signed.open(&signing_keys()).unwrap();
            if policy.project.as_str() == HANGS {
                return std::future::pending().await;
            }
            let mut failures = edge.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return (StatusCode::SERVICE_UNAVAILABLE, String::new());
            }
            let answer = format!(r#"{{"version":{}}}"#, policy.version);
            edge.got.lock().unwrap().push(policy);
            (StatusCode::OK, answer)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = EdgeUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let router = Router::new().route(shared::wire::POLICY_PATH, post(install));
        tokio::spawn(http::serve(
            listener,
            router,
            Timeouts::default(),
            Connections::default(),
            std::future::pending(),
        ));
        EdgeClient::new(url).unwrap()
    }

    fn newest(&self) -> Option<Policy> {
        self.got.lock().unwrap().last().cloned()
    }
}

async fn queued(meter: &Meter) -> Vec<(String, u64)> {
    let waiting = meter.app.store.waiting_pushes().await.unwrap();
    waiting.into_iter().map(|(project, version)| (project.to_string(), version)).collect()
}

/// How many pushes are due, which are taken by asking.
async fn taken(meter: &Meter) -> usize {
    meter.app.store.take_pushes(meter.app.clock.now(), WAIT_MS_MAX, 100).await.unwrap().len()
}

#[tokio::test]
async fn each_change_raises_the_version_by_one_and_queues_it() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Community).await;
    let operator = meter.operator().await;
    let path = "/api/v1/admin/projects/demo";
    let key = meter.key("demo").await;
    assert_eq!(queued(&meter).await, [("demo".to_owned(), 2)], "only the newest version is queued");
    let key_path = format!("{path}/keys/{key}");
    // call => the version after it
    let table = [
        ("PATCH", path, r#"{"rpm":100}"#, 3),
        ("PATCH", path, r#"{"rpm":100}"#, 3),
        ("PATCH", path, r#"{}"#, 3),
        ("PATCH", path, r#"{"included":5000}"#, 4),
        ("PATCH", path, r#"{"suspended":true}"#, 5),
        ("PATCH", path, r#"{"plan":"pro","suspended":false}"#, 6),
        ("PATCH", path, r#"{"rpm":null,"included":null}"#, 7),
        ("PATCH", path, r#"{"rpm":0}"#, 7),
        ("DELETE", &key_path, "", 8),
        ("DELETE", &key_path, "", 8),
    ];
    for (method, path, body, version) in table {
        meter.json(method, path, &operator, body).await;
        assert_eq!(meter.version("demo").await, version, "{method} {body}");
        assert_eq!(queued(&meter).await, [("demo".to_owned(), version)], "{method} {body}");
    }
    let shown = meter.get(path, &operator).await;
    assert_eq!((shown.field("rpm"), shown.field("included")), ("600".to_owned(), "10000".to_owned()));
}

#[tokio::test]
async fn a_policy_says_what_the_project_has() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Business).await;
    let key = meter.key("demo").await;
    let change = ProjectChange {
        rpm: Some(Setting::Own(7)),
        status: Some(Status::Suspended),
        ..ProjectChange::default()
    };
    meter.app.store.change_project(&project_id("demo"), change, noon()).await.unwrap().unwrap();
    let (book, keys) = meter.app.store.policy_parts(&project_id("demo")).await.unwrap().unwrap();
    let policy = meter.app.signed_policy(&book, keys).unwrap().open(&signing_keys()).unwrap();
    assert_eq!((policy.rpm, policy.status, policy.version), (7, Status::Suspended, 3));
    assert_eq!((policy.keys, policy.agents_max), (vec![key], Some(250)));
    assert_eq!((policy.allowance.included, policy.allowance.overage), (Units::new(100_000), Overage::Stop));
    assert_eq!(policy.upgrade_url, "https://palveron.com/pricing");
}

/// A meter on the machine's clock, because waits between pushes are measured with it.
async fn pushing(edge: &Edge) -> (Meter, JoinHandle<()>) {
    let clock = aggregator::clock::Clock::system();
    let meter = Meter::start_with(crate::support::Folder::new(), clock, Timeouts::default()).await;
    let push = tokio::spawn(policy_push::run(meter.app.clone(), edge.listen().await));
    (meter, push)
}

#[tokio::test]
async fn a_change_is_pushed_until_the_edge_has_it() {
    let edge = Edge::default();
    *edge.failures.lock().unwrap() = 2;
    let (meter, push) = pushing(&edge).await;
    meter.project("demo", Plan::Community).await;
    until("the policy arrives and the outbox is empty", async || {
        edge.newest().is_some_and(|policy| policy.version == 1) && queued(&meter).await.is_empty()
    })
    .await;
    assert_eq!(*edge.failures.lock().unwrap(), 0);
    meter.key("demo").await;
    until("the next version arrives", async || edge.newest().is_some_and(|policy| policy.version == 2)).await;
    push.abort();
}

#[tokio::test]
async fn changes_of_another_process_are_seen() {
    let edge = Edge::default();
    let (meter, push) = pushing(&edge).await;
    let other = Store::open(&meter.folder.database(), WhenMissing::Refuse).await.unwrap();
    let new = aggregator::projects::project::NewProject {
        id: project_id("elsewhere"),
        plan: Plan::Pro,
        rpm: Setting::Plan,
        included: Setting::Own(Units::new(5)),
    };
    other.create_project(new, meter.app.clock.now()).await.unwrap().unwrap();
    until("the policy arrives", async || {
        edge.newest().is_some_and(|policy| policy.project == project_id("elsewhere"))
    })
    .await;
    push.abort();
}

#[tokio::test]
async fn whatever_was_queued_before_the_job_ran_is_pushed_though_one_home_hangs() {
    let edge = Edge::default();
    let meter = Meter::start().await;
    meter.project(HANGS, Plan::Community).await;
    for number in 0..40 {
        meter.project(&format!("p{number}"), Plan::Community).await;
    }
    for push in meter.app.store.take_pushes(noon(), WAIT_MS_MAX, 100).await.unwrap() {
        // The clock of this meter stands still: only the start of the job makes these due again.
        meter.app.store.push_failed(&push, noon().plus_ms(WAIT_MS_MAX)).await.unwrap();
    }
    let push = tokio::spawn(policy_push::run(meter.app.clone(), edge.listen().await));
    until("everything else arrives", async || queued(&meter).await.len() == 1).await;
    let mut got: Vec<String> =
        edge.got.lock().unwrap().iter().map(|policy| policy.project.to_string()).collect();
    got.sort();
    got.dedup();
    assert_eq!(got.len(), 40);
    push.abort();
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_put_pushes_off() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Community).await;
    let due = meter.app.store.take_pushes(noon(), WAIT_MS_MAX, 10).await.unwrap();
    meter.app.store.push_failed(&due[0], noon().plus_ms(1_000)).await.unwrap();
    assert_eq!(taken(&meter).await, 0, "not before its time");
    meter.app.clock.set(noon().plus_ms(1_000));
    assert_eq!(taken(&meter).await, 1);
    assert_eq!(taken(&meter).await, 0, "whoever has it keeps it for a while");
    meter.app.clock.set(shared::time::Timestamp::from_ms(noon().as_ms() - 3_600_000));
    assert_eq!(taken(&meter).await, 1, "an hour back");
}

#[tokio::test]
async fn who_read_the_time_before_another_took_a_push_leaves_it_alone() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Community).await;
    // A server that was kept from its question for a moment, and one whose clock is behind.
    for behind_ms in [1, 250, WAIT_MS_MAX - 1] {
        let now = noon().plus_ms(4 * WAIT_MS_MAX * behind_ms);
        meter.app.clock.set(now.plus_ms(behind_ms));
        assert_eq!(taken(&meter).await, 1, "its time is over");
        meter.app.clock.set(now);
        assert_eq!(taken(&meter).await, 0, "{behind_ms} ms behind");
    }
}

#[tokio::test]
async fn other_plans_or_addresses_give_every_policy_a_new_version() {
    let meter = Meter::start().await;
    meter.project("a", Plan::Community).await;
    meter.project("b", Plan::Pro).await;
    let store = &meter.app.store;
    assert_eq!(store.rebase_policies("first", noon()).await.unwrap(), 0, "nothing was compiled before");
    assert_eq!(store.rebase_policies("first", noon()).await.unwrap(), 0);
    assert_eq!(store.rebase_policies("second", noon()).await.unwrap(), 2);
    assert_eq!((meter.version("a").await, meter.version("b").await), (2, 2));
    assert_eq!(queued(&meter).await, [("a".to_owned(), 2), ("b".to_owned(), 2)]);
}

#[tokio::test]
async fn what_becomes_of_an_older_push_does_not_touch_a_newer_one() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Community).await;
    let older = meter.app.store.take_pushes(noon(), WAIT_MS_MAX, 10).await.unwrap().remove(0);
    meter.key("demo").await;
    meter.app.store.push_arrived(&older.project, older.version).await.unwrap();
    assert_eq!(queued(&meter).await, [("demo".to_owned(), 2)], "the older one arrived");
    meter.app.store.push_failed(&older, noon().plus_ms(30_000)).await.unwrap();
    assert_eq!(queued(&meter).await, [("demo".to_owned(), 2)], "the older one failed");
    meter.app.store.push_arrived(&older.project, 2).await.unwrap();
    assert!(queued(&meter).await.is_empty());
}

/// The policy as it would be sent now.
async fn policy(meter: &Meter, project: &str) -> Policy {
    let (book, keys) = meter.app.store.policy_parts(&project_id(project)).await.unwrap().unwrap();
    meter.app.signed_policy(&book, keys).unwrap().open(&signing_keys()).unwrap()
}

#[tokio::test]
async fn what_was_planned_reaches_the_edge_at_its_instant() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Business).await;
    let (demo, day_ms) = (project_id("demo"), 86_400_000);
    let paid_until = noon().plus_ms(2 * day_ms);
    make_customer(&meter).await;
    let business = subscription("active", monthly(Plan::Business), paid_until);
    let coming = vec![(paid_until, Some(monthly(Plan::Pro)))];
    settle_subscription(&meter, SubscriptionSeen { coming, ..business }, noon()).await;
    assert_eq!(policy_turn::turn_due(&meter.app).await.unwrap(), 0, "nothing has come true");
    let before = policy(&meter, "demo").await;
    assert_eq!((before.plan, before.rpm), (Plan::Business, 6_000));
    meter.app.clock.set(shared::time::Timestamp::from_ms(paid_until.as_ms() - 1));
    assert_eq!(policy_turn::turn_due(&meter.app).await.unwrap(), 0, "a millisecond too early");
    meter.app.clock.set(paid_until);
    assert_eq!(policy_turn::turn_due(&meter.app).await.unwrap(), 1);
    assert_eq!(policy_turn::turn_due(&meter.app).await.unwrap(), 0, "once");
    let after = policy(&meter, "demo").await;
    assert_eq!((after.plan, after.rpm, after.version), (Plan::Pro, 600, before.version + 1));
    let row = meter.app.store.project(&demo).await.unwrap().unwrap();
    assert_eq!(row.plan, Plan::Pro, "the row follows");
    // A payment fails: overage ends at once, the plan a week later.
    let unpaid = past_due(monthly(Plan::Pro), paid_until.plus_ms(30 * day_ms), paid_until);
    settle_subscription(&meter, unpaid, paid_until).await;
    meter.app.clock.set(paid_until.plus_ms(7 * day_ms));
    assert_eq!(policy_turn::turn_due(&meter.app).await.unwrap(), 1);
    let fallen = policy(&meter, "demo").await;
    assert_eq!((fallen.plan, fallen.rpm, fallen.agents_max), (Plan::Community, 60, Some(5)));
    assert_eq!(fallen.version, after.version + 2);
}

/// A call, and what the policy says after it: (method, path, body, whether it holds).
type Change<'a> = (&'a str, &'a str, &'a str, fn(&Policy) -> bool);

#[tokio::test]
async fn every_kind_of_change_is_pushed() {
    let edge = Edge::default();
    let (meter, push) = pushing(&edge).await;
    meter.project("demo", Plan::Pro).await;
    let operator = meter.operator().await;
    let (project, plan) = ("/api/v1/admin/projects/demo", "/api/v1/billing/plan?project=demo");
    let credits = "/api/v1/admin/projects/demo/credits";
    // call => what the edge's policy says then
    let table: [Change<'_>; 9] = [
        ("PATCH", project, r#"{"plan":"business"}"#, |policy| policy.plan == Plan::Business),
        ("PUT", plan, r#"{"auto_overage":true}"#, |policy| policy.allowance.overage == Overage::Open),
        ("PUT", plan, r#"{"overage_cap":400}"#, |policy| {
            policy.allowance.overage == Overage::Capped { units: Units::new(1_000) }
        }),
        ("PUT", plan, r#"{"auto_overage":false}"#, |policy| policy.allowance.overage == Overage::Stop),
        ("POST", credits, r#"{"units":77,"reason":"x"}"#, |policy| {
            policy.allowance.credits == Units::new(77)
        }),
        ("PATCH", project, r#"{"rpm":9}"#, |policy| policy.rpm == 9),
        ("PATCH", project, r#"{"included":5}"#, |policy| policy.allowance.included == Units::new(5)),
        ("PATCH", project, r#"{"suspended":true}"#, |policy| policy.status == Status::Suspended),
        ("PATCH", project, r#"{"suspended":false}"#, |policy| policy.status == Status::Active),
    ];
    for (method, path, body, holds) in table {
        let answer = meter.json(method, path, &operator, body).await;
        assert!((200..300).contains(&answer.status), "{body}: {answer:?}");
        until(body, async || edge.newest().is_some_and(|policy| holds(&policy))).await;
    }
    push.abort();
}
