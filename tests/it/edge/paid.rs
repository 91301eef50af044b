//! Every answer says what paid for it, and what answers have said adds up to what is billed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use shared::kind::Kind;
use shared::plan::Plan;
use tests::client::Call;
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Options, Stack};

const WITHIN: Duration = Duration::from_secs(30);

/// A project with 20 units of its plan, a lot of 10, and overage without a cap.
async fn paying(stack: &Stack) -> Result<Project> {
    let limits = Limits { plan: Plan::Pro, rpm: Some(100_000), included: Some(20) };
    let project = Project::ready(stack, "paying", limits).await?;
    stack.meter(&["credit", "give", "--project", "paying", "--units", "10", "--reason", "a lot"])?;
    let body = json!({ "auto_overage": true }).to_string();
    let call = Call::new("PUT".parse()?, "/api/v1/billing/plan").json().bearer(&project.token);
    call.with_body(body).send(stack.aggregator()).await?.ok::<Value>()?;
    eventually("overage is served", WITHIN, async || {
        let quota: Value = project.quota().await?.ok()?;
        Ok(quota["remaining"].is_null().then_some(()))
    })
    .await?;
    Ok(project)
}

/// Sends so many requests of all kinds, one after the other, and counts what their answers say.
async fn told(stack: &Stack, project: &Project, count: usize) -> Result<BTreeMap<String, u64>> {
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0..count {
        let answer = match number.rem_euclid(3) {
            0 => project.call(Kind::Verify, "bot").send(stack.edge()).await?,
            1 => project.call(Kind::McpToolCall, "bot").send(stack.edge()).await?,
            _ => {
                let body = json!({ "kind": "verify", "agent": "bot" }).to_string();
                let answer =
                    Call::post("/v1/check", body).json().bearer(&project.key).send(stack.edge()).await?;
                let told: Value = answer.ok()?;
                ensure!(told["source"].as_str() == answer.header("palveron-source"), "{told}");
                answer
            }
        };
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        let source = answer.header("palveron-source").context("an answer says nothing")?;
        *told.entry(source.to_owned()).or_default() += 1;
    }
    Ok(told)
}

async fn adds_up(stack: Stack) -> Result<()> {
    let project = paying(&stack).await?;
    let looked = Call::post("/v1/check", json!({ "kind": "verify", "dry_run": true }).to_string());
    let looked = looked.json().bearer(&project.key).send(stack.edge()).await?;
    ensure!(looked.header("palveron-source").is_none(), "nothing was counted");
    let told = told(&stack, &project, 45).await?;
    let expected = [("included", 20), ("lot", 10), ("overage", 15)];
    assert_eq!(told, expected.map(|(source, units)| (source.to_owned(), units)).into());
    project.reports_within(&stack, 45, WITHIN).await?;
    let plan = Call::get("/api/v1/billing/plan").bearer(&project.token).send(stack.aggregator()).await?;
    let billed = plan.ok::<Value>()?["billed"].clone();
    assert_eq!(
        [&billed["from_quota"], &billed["from_lots"], &billed["from_overage"]],
        [&json!(20), &json!(10), &json!(15)],
        "{billed}"
    );
    stack.finish()
}

#[tokio::test]
async fn what_answers_by_lease_have_said_is_what_is_billed() -> Result<()> {
    adds_up(Stack::start_with(Options { leases: true, sub_homes: 8, ..Options::default() }).await?).await
}

#[tokio::test]
async fn what_answers_by_the_home_have_said_is_what_is_billed() -> Result<()> {
    adds_up(Stack::start().await?).await
}
