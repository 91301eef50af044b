//! What an operator changes is in force at once, also while it still travels to the homes: whoever uses it as soon as the
//! call has returned is never refused for what was true before.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use hyper::Method;
use serde_json::{Value, json};
use shared::kind::Kind;
use tests::client::{Answer, Call};
use tests::operator::Operator;
use tests::poll::eventually;
use tests::project::{Limits, Project, governed};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{PLACES, stack_of};

/// How soon whatever was refused is served again.
const LIFTED_MAX: Duration = Duration::from_secs(2);
/// Time enough on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// How often each status was answered.
type Statuses = BTreeMap<u16, u64>;

async fn verify(edge: SocketAddr, key: &str, agent: &str) -> Result<Answer> {
    governed(key, Kind::Verify, agent).send(edge).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_key_is_served_from_its_first_request_under_load() -> Result<()> {
    const CLIENTS: usize = 8;
    for place in PLACES {
        let stack = stack_of(place).await?;
        let operator = Operator::of(&stack)?;
        let project = Project::ready(&stack, "rotated", Limits::WIDE).await?;
        let (newest, key) = watch::channel(Some(project.key.clone()));
        let (edge, served) = (stack.edge(), Arc::new(AtomicU64::new(0)));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (key, served) = (key.clone(), Arc::clone(&served));
            clients.spawn(async move {
                let mut statuses = Statuses::new();
                while let Some(key) = { key.borrow().clone() } {
                    let status = verify(edge, &key, "bot").await?.status;
                    *statuses.entry(status).or_default() += 1;
                    served.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(statuses)
            });
        }
        let mut id = project.key_id.as_str().to_owned();
        for _ in 0..6 {
            let text;
            (id, text) = operator.key("rotated", Some(&id)).await?;
            newest.send_replace(Some(text));
            let before = served.load(Ordering::Relaxed);
            let goes_on = async || Ok((served.load(Ordering::Relaxed) > before + 150).then_some(()));
            eventually("work goes on with the new key", LONG, goes_on).await?;
        }
        newest.send_replace(None);
        while let Some(statuses) = clients.join_next().await {
            let statuses = statuses??;
            assert_eq!(statuses.keys().copied().collect::<Vec<_>>(), [200], "{place:?}: {statuses:?}");
        }
        stack.finish()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_is_served_from_its_first_requests_and_none_of_its_units_is_stranded() -> Result<()> {
    const CLIENTS: u64 = 64;
    const UNITS: u64 = 300;
    for place in PLACES {
        let stack = stack_of(place).await?;
        let operator = Operator::of(&stack)?;
        for number in 0..4 {
            let id = format!("fresh-{number}");
            let new = json!({"id": id, "plan": "community", "rpm": 1_000_000, "included": UNITS});
            operator.call(Method::POST, "", &new).await?;
            let (_, key) = operator.key(&id, None).await?;
            let mut first = JoinSet::new();
            for _ in 0..CLIENTS {
                let (key, edge) = (key.clone(), stack.edge());
                first.spawn(async move { anyhow::Ok(verify(edge, &key, "bot").await?.status) });
            }
            let mut statuses = Statuses::new();
            while let Some(status) = first.join_next().await {
                *statuses.entry(status??).or_default() += 1;
            }
            let mut served = statuses.get(&200).copied().unwrap_or_default();
            assert_eq!(served, CLIENTS, "{place:?}: {statuses:?}");
            eventually("the last unit", LONG, async || {
                let answer = verify(stack.edge(), &key, "bot").await?;
                served += u64::from(answer.status == 200);
                let code: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                Ok((code["code"] == "quota_exhausted").then_some(()))
            })
            .await?;
            assert_eq!(served, UNITS, "{place:?}");
        }
        stack.finish()?;
    }
    Ok(())
}

/// A reason for refusals: its code, what the operator changes, how often one asks until it is refused, and what ends it.
struct Reason {
    code: &'static str,
    refuses: Value,
    calls: usize,
    lifts: Value,
}

fn reasons() -> Vec<Reason> {
    let reason = |code, refuses, calls, lifts| Reason { code, refuses, calls, lifts };
    vec![
        reason("project_suspended", json!({"suspended": true}), 1, json!({"suspended": false})),
        reason("quota_exhausted", json!({"included": 3}), 4, json!({"included": 10_000})),
        reason("rate_limited", json!({"rpm": 1}), 2, json!({"rpm": 100_000})),
        reason("agent_limit", json!({"plan": "community"}), 6, json!({"plan": "business"})),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_refused_is_served_again_as_soon_as_its_reason_ends() -> Result<()> {
    for place in PLACES {
        let stack = stack_of(place).await?;
        let operator = Operator::of(&stack)?;
        for Reason { code, refuses, calls, lifts } in reasons() {
            let id = code.replace('_', "-");
            let new = json!({"id": id, "plan": "community", "rpm": 1_000_000, "included": 1_000_000});
            operator.call(Method::POST, "", &new).await?;
            let (_, key) = operator.key(&id, None).await?;
            operator.change(&id, refuses).await?;
            let mut number = 0;
            let asked = async |number: usize| {
                let agent = format!("agent-{}", number.min(calls));
                verify(stack.edge(), &key, &agent).await
            };
            // For longer than anything is remembered.
            let (begun, mut refused) = (Instant::now(), 0);
            while begun.elapsed() < LONG && refused < 60 {
                number += 1;
                let answer = asked(number).await?;
                let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                refused += usize::from(answer.status != 200 && said["code"] == code);
                if answer.status != 200 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            assert_eq!(refused, 60, "{code}, {place:?}");
            operator.change(&id, lifts).await?;
            eventually(&format!("{code} ends, {place:?}"), LIFTED_MAX, async || {
                Ok((asked(calls).await?.status == 200).then_some(()))
            })
            .await?;
        }
        stack.finish()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_new_key_observes_is_noted_from_its_first_report_and_what_a_revoked_one_does_never()
-> Result<()> {
    for place in PLACES {
        let stack = stack_of(place).await?;
        let operator = Operator::of(&stack)?;
        let project = Project::ready(&stack, "seen", Limits::WIDE).await?;
        assert_eq!(project.verify().await?.status, 200);
        let observe = async |key: &str| {
            let call = Call::post("/v1/observe", json!({"agent": "bot", "tokens_in": 7}).to_string());
            call.json().bearer(key).send(stack.edge()).await
        };
        let (mut id, mut text) = (project.key_id.as_str().to_owned(), project.key.clone());
        for _ in 0..3 {
            let old = (id.clone(), text);
            (id, text) = operator.key("seen", None).await?;
            eventually("the new key is noted", LIFTED_MAX, async || {
                let answer = observe(&text).await?;
                assert_ne!(answer.status, 401, "{place:?}: it is not revoked");
                Ok((answer.status == 200).then_some(()))
            })
            .await?;
            stack.meter(&["key", "revoke", "--project", "seen", "--key", &old.0])?;
            eventually("the old key is refused", LONG, async || {
                Ok((observe(&old.1).await?.status == 401).then_some(()))
            })
            .await?;
        }
        stack.finish()?;
    }
    Ok(())
}
