//! A clock that is moved: months turn at the edge, and only with METER_TEST=1.

use anyhow::{Result, ensure};
use serde_json::Value;
use shared::moved::Moved;
use shared::problem::ErrorCode;
use shared::sign::SigningKeys;
use tests::client::{Answer, Call};
use tests::clock;
use tests::project::{Limits, Project};
use tests::stack::{Options, Part, Stack};

const CLOCK_PATH: &str = "/internal/clock";

async fn push(stack: &Stack, keys: &SigningKeys, offset_ms: u64) -> Result<Answer> {
    let signed = Moved { offset_ms }.sign(keys).map_err(anyhow::Error::msg)?;
    Call::post(CLOCK_PATH, serde_json::to_vec(&signed)?).send(stack.edge()).await
}

async fn period(project: &Project) -> Result<String> {
    let quota: Value = project.quota().await?.ok()?;
    Ok(quota["period"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_moved_clock_turns_the_month_and_outlives_a_restart() -> Result<()> {
    let mut stack = Stack::start_with(Options { moving_clock: true, ..Options::default() }).await?;
    let limits = Limits { included: Some(3), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "moved", limits).await?;
    for _ in 0..3 {
        assert_eq!(project.verify().await?.status, 200);
    }
    project.verify().await?.problem(ErrorCode::QuotaExhausted)?;
    let now = clock::now();
    let to_next_month = now.period().end().ms_since(now) + 60_000;
    let keys = stack.signing_keys()?;
    let moved: Value = push(&stack, &keys, to_next_month).await?.ok()?;
    assert_eq!(moved["offset_ms"].as_u64(), Some(to_next_month));
    let next = now.period().next().to_string();
    assert_eq!(period(&project).await?, next);
    assert_eq!(project.verify().await?.status, 200, "the new month has its own quota");

    // It never goes back, and a process that starts anew knows it before it decides anything.
    let kept: Value = push(&stack, &keys, 1).await?.ok()?;
    assert_eq!(kept["offset_ms"].as_u64(), Some(to_next_month));
    stack.kill(Part::Edge)?;
    stack.begin(&[Part::Edge]).await?;
    assert_eq!(period(&project).await?, next);
    stack.finish()
}

#[tokio::test]
async fn only_a_policy_key_moves_the_clock() -> Result<()> {
    let stack = Stack::start_with(Options { moving_clock: true, ..Options::default() }).await?;
    let stranger =
        SigningKeys::parse(&format!("policy:p1:{}", "ab".repeat(32))).map_err(anyhow::Error::msg)?;
    push(&stack, &stranger, 86_400_000).await?.problem(ErrorCode::SignatureRejected)?;
    Call::post(CLOCK_PATH, "{}").send(stack.edge()).await?.problem(ErrorCode::MalformedJson)?;
    let project = Project::ready(&stack, "still", Limits::COMMUNITY).await?;
    ensure!(period(&project).await? == clock::now().period().to_string());
    stack.finish()
}

#[tokio::test]
async fn a_real_meter_has_no_clock_to_move() -> Result<()> {
    let stack = Stack::start().await?;
    push(&stack, &stack.signing_keys()?, 86_400_000).await?.problem(ErrorCode::NotFound)?;
    stack.finish()
}
