//! What an operator changes, and how soon the edge knows.

use std::time::Duration;

use anyhow::{Result, ensure};
use shared::ids::Mode;
use shared::kind::Kind;
use shared::policy::SignedPolicy;
use shared::problem::ErrorCode;
use shared::sign::SigningKeys;
use shared::wire::POLICY_PATH;
use tests::client::Call;
use tests::poll::eventually;
use tests::project::{Limits, Project, create_key, governed};
use tests::stack::Stack;

/// How soon a raise is usable.
const RAISE_MAX: Duration = Duration::from_secs(2);
/// How soon a cut or a revocation binds.
const CUT_MAX: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_revoked_key_is_refused_within_ten_seconds_and_its_sisters_are_not() -> Result<()> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, "keys", Limits::WIDE).await?;
    let (_, sister) = create_key(&stack, "keys", Mode::Live)?;
    stack.meter(&["key", "revoke", "--project", "keys", "--key", project.key_id.as_str()])?;
    let refused = eventually("the revoked key is refused", CUT_MAX, async || {
        let answer = project.verify().await?;
        ensure!(answer.status != 200, "still allowed");
        Ok(Some(answer))
    });
    refused.await?.problem(ErrorCode::Unauthorized)?;
    eventually("the sister is accepted", RAISE_MAX, async || {
        let answer = governed(&sister, Kind::Verify, "bot").send(stack.edge()).await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    project.quota().await?.problem(ErrorCode::Unauthorized)?;
    stack.finish()
}

#[tokio::test]
async fn raised_limits_are_usable_within_two_seconds() -> Result<()> {
    let stack = Stack::start().await?;
    let limits = Limits { included: Some(3), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "raise", limits).await?;
    for _ in 0..3 {
        assert_eq!(project.verify().await?.status, 200);
    }
    project.verify().await?.problem(ErrorCode::QuotaExhausted)?;
    project.set(&stack, "--included", "5")?;
    let allowed = async || Ok((project.verify().await?.status == 200).then_some(()));
    eventually("the raised quota", RAISE_MAX, allowed).await?;
    assert_eq!(project.verify().await?.status, 200);
    project.verify().await?.problem(ErrorCode::QuotaExhausted)?;

    project.set(&stack, "--plan", "pro")?;
    project.set(&stack, "--included", "10000")?;
    eventually("the larger plan", RAISE_MAX, allowed).await?;
    project.reports(&stack, 6).await?;
    stack.finish()
}

#[tokio::test]
async fn a_suspended_project_is_told_so_until_it_is_resumed() -> Result<()> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, "pause", Limits::WIDE).await?;
    project.set(&stack, "--suspended", "true")?;
    let told = eventually("the suspension", CUT_MAX, async || {
        let answer = project.verify().await?;
        Ok((answer.status != 200).then_some(answer))
    });
    told.await?.problem(ErrorCode::ProjectSuspended)?;
    project.set(&stack, "--suspended", "false")?;
    eventually("the end of the suspension", RAISE_MAX, async || {
        Ok((project.verify().await?.status == 200).then_some(()))
    })
    .await?;
    stack.finish()
}

#[tokio::test]
async fn a_plan_admits_only_so_many_agents() -> Result<()> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, "agents", Limits::COMMUNITY_FAST).await?;
    for agent in ["a", "b", "c", "d", "e", "a"] {
        assert_eq!(project.call(Kind::Verify, agent).send(stack.edge()).await?.status, 200, "{agent}");
    }
    project.call(Kind::Verify, "f").send(stack.edge()).await?.problem(ErrorCode::AgentLimit)?;
    assert_eq!(project.call(Kind::Verify, "e").send(stack.edge()).await?.status, 200);
    project.reports(&stack, 7).await?;
    stack.finish()
}

#[tokio::test]
async fn only_the_aggregator_can_push_a_policy() -> Result<()> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, "pushed", Limits::COMMUNITY).await?;
    let before = project.quota().await?.text();
    let document =
        format!("{{\"project\":\"pushed\",\"version\":99,\"pad\":\"{}\"}}", "x".repeat(300 * 1024));
    let stranger =
        SigningKeys::parse(&format!("policy:p1:{}", "ab".repeat(32))).map_err(anyhow::Error::msg)?;
    let forged = |document: &str| {
        let k = shared::ids::SigningKeyId::parse("p1")?;
        let key = stranger.find(shared::sign::Purpose::Policy, &k);
        let v1 = key.map(|key| key.mac_hex(&[document.as_bytes()])).unwrap_or_default();
        anyhow::Ok(serde_json::to_string(&SignedPolicy { document: document.to_owned(), k, v1 })?)
    };
    let cases = [
        (Call::post(POLICY_PATH, ""), ErrorCode::MalformedJson),
        (Call::post(POLICY_PATH, "{}"), ErrorCode::MalformedJson),
        (Call::post(POLICY_PATH, forged("{}")?), ErrorCode::SignatureRejected),
        (Call::post(POLICY_PATH, forged(&document)?), ErrorCode::BodyTooLarge),
        (Call::get(POLICY_PATH), ErrorCode::MethodNotAllowed),
    ];
    for (call, code) in cases {
        call.send(stack.edge()).await?.problem(code)?;
    }
    assert_eq!(numbers(&project.quota().await?.text()), numbers(&before));
    stack.finish()
}

/// The quota without the minute's numbers, which time changes.
fn numbers(quota: &str) -> Option<&str> {
    quota.split_once("\"rpm\"").map(|(numbers, _)| numbers)
}
