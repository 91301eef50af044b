//! What is left is served whoever holds it, and nobody is told what is not so: neither that a quota is spent while units
//! are left, nor that a level was passed before it was.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde_json::{Value, json};
use shared::problem::ErrorCode;
use tests::client::{Answer, Call};
use tests::operator::Operator;
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::receiver::Receiver;
use tests::stack::Stack;

use super::{PLACES, stack_of};

/// How soon those who hold what is left have given it back. A busy machine needs longer than the two seconds that
/// clients are told.
const BACK_MAX: Duration = Duration::from_secs(6);
const TOLD_MAX: Duration = Duration::from_secs(40);

async fn start(place: (bool, u32)) -> Result<(Stack, Operator)> {
    let stack = stack_of(place).await?;
    let operator = Operator::of(&stack)?;
    Ok((stack, operator))
}

/// A project of those limits, and its key.
async fn project(operator: &Operator, id: &str, plan: &str, rpm: u32, included: u64) -> Result<String> {
    let new = json!({"id": id, "plan": plan, "rpm": rpm, "included": included});
    operator.call(Method::POST, "", &new).await?;
    Ok(operator.key(id, None).await?.1)
}

async fn check(stack: &Stack, key: &str, cost: u64) -> Result<Answer> {
    let body = json!({"kind": "verify", "agent": "bot", "cost": cost}).to_string();
    Call::post("/v1/check", body).json().bearer(key).send(stack.edge()).await
}

fn code(answer: &Answer) -> Result<String> {
    let said: Value = serde_json::from_slice(&answer.body)?;
    Ok(said["code"].as_str().with_context(|| said.to_string())?.to_owned())
}

/// It is allowed, and until then nothing is said but that others hold what is left.
async fn served(stack: &Stack, key: &str, cost: u64) -> Result<()> {
    eventually(&format!("{cost} units are served"), BACK_MAX, async || {
        let answer = check(stack, key, cost).await?;
        let code = code(&answer)?;
        assert!(["ok", "quota_contended"].contains(&code.as_str()), "{}", answer.text());
        Ok((code == "ok").then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_units_are_served_though_they_were_leased_and_only_then_is_the_quota_spent() -> Result<()> {
    for place in PLACES {
        let (stack, operator) = start(place).await?;
        let key = project(&operator, "rest", "community", 1_000_000, 1_000).await?;
        for cost in [1, 1, 1, 997] {
            served(&stack, &key, cost).await.with_context(|| format!("{place:?}"))?;
        }
        assert_eq!(code(&check(&stack, &key, 1).await?)?, "quota_exhausted");

        let key = project(&operator, "tenths", "pro", 1_000_000, 10_000).await?;
        for _ in 0..10 {
            served(&stack, &key, 1_000).await.with_context(|| format!("{place:?}"))?;
        }
        assert_eq!(code(&check(&stack, &key, 1).await?)?, "quota_exhausted");

        let key = project(&operator, "minute", "community", 600, 10_000).await?;
        for cost in [1, 1, 1, 597] {
            served(&stack, &key, cost).await.with_context(|| format!("{place:?}"))?;
        }
        stack.finish()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cost_that_nothing_can_hold_is_refused_by_its_field() -> Result<()> {
    for place in PLACES {
        let (stack, operator) = start(place).await?;
        let small = project(&operator, "small", "community", 1_000_000, 100).await?;
        let slow = project(&operator, "slow", "community", 60, 10_000).await?;
        for (key, cost, limit) in [(&small, 101, "in a month"), (&slow, 61, "requests per minute")] {
            let problem = check(&stack, key, cost).await?.problem(ErrorCode::FieldRejected)?;
            let said = serde_json::to_string(&problem)?;
            assert!(said.contains(limit) && said.contains("cost"), "{place:?}: {said}");
        }
        stack.finish()?;
    }
    Ok(())
}

/// The levels that a receiver was told, with the units that were used at each.
fn told(receiver: &Receiver, project: &str) -> Result<Vec<(u64, u64)>> {
    let mut levels = Vec::new();
    for message in receiver.kept() {
        let data = &message.value()?["data"];
        if data["project"] == project {
            let number = |name: &str| data[name].as_u64().with_context(|| data.to_string());
            levels.push((number("threshold")?, number("used")?));
        }
    }
    Ok(levels)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_level_is_told_when_it_is_passed_and_not_because_a_costly_request_was_refused() -> Result<()> {
    let (stack, receiver) = (Stack::start_leasing().await?, Receiver::start().await?);
    let limits = Limits { included: Some(100), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "levels", limits).await?;
    let body = json!({"url": receiver.url(), "events": ["usage.threshold_reached"]}).to_string();
    let made = Call::post("/api/v1/webhooks", body).json().bearer(&project.token);
    ensure!(made.send(stack.aggregator()).await?.status == 201, "the webhook");

    check(&stack, &project.key, 101).await?.problem(ErrorCode::FieldRejected)?;
    for _ in 0..50 {
        served(&stack, &project.key, 1).await?;
    }
    // 50 are left, which is fewer than 51 whoever holds them.
    eventually("51 units are refused", BACK_MAX, async || {
        let code = code(&check(&stack, &project.key, 51).await?)?;
        assert!(["quota_exhausted", "quota_contended"].contains(&code.as_str()), "{code}");
        Ok((code == "quota_exhausted").then_some(()))
    })
    .await?;
    project.reports(&stack, 50).await?;
    for _ in 0..30 {
        served(&stack, &project.key, 1).await?;
    }
    eventually("80 % is told", TOLD_MAX, async || Ok((!told(&receiver, "levels")?.is_empty()).then_some(())))
        .await?;
    assert_eq!(told(&receiver, "levels")?, [(80, 80)]);
    served(&stack, &project.key, 20).await?;
    eventually("100 % is told", TOLD_MAX, async || Ok((told(&receiver, "levels")?.len() == 2).then_some(())))
        .await?;
    assert_eq!(told(&receiver, "levels")?, [(80, 80), (100, 100)]);
    stack.finish()
}
