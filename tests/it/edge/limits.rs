//! Requests per minute and the hard stop, alone and with many clients at once.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use shared::kind::Kind;
use shared::problem::ErrorCode;
use shared::time::Timestamp;
use tests::client::Connection;
use tests::clock;
use tests::project::{Limits, Project};
use tests::stack::Stack;
use tokio::task::JoinSet;

#[tokio::test]
async fn the_61st_request_of_a_minute_is_told_when_to_come_back() -> Result<()> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, "minute", Limits::COMMUNITY).await?;
    // The wait comes first: an idle connection may be closed by the other side.
    clock::with_seconds_of_minute(20).await;
    let mut connection = Connection::open(stack.edge()).await?;
    let minute = clock::now().minute();
    for number in 1..=60 {
        let answer = connection.send(&project.call(Kind::Verify, "bot")).await?;
        assert_eq!(answer.status, 200, "request {number}: {}", answer.text());
        let left = format!("\"rpm\";r={};", 60 - number);
        assert!(
            answer.header("ratelimit").is_some_and(|limit| limit.starts_with(&left)),
            "{:?}",
            answer.headers
        );
    }
    let denied = connection.send(&project.call(Kind::Verify, "bot")).await?;
    let problem = denied.problem(ErrorCode::RateLimited)?;
    assert_eq!(problem.resets_at, Some(minute.end().to_string()));
    let seconds: u64 = denied.header("retry-after").context("no Retry-After")?.parse()?;
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(clock::now().minute(), minute, "the test itself took longer than the minute");

    // A denied request is no unit, and another kind has no minute of its own.
    connection.send(&project.call(Kind::McpToolCall, "other")).await?.problem(ErrorCode::RateLimited)?;
    project.reports(&stack, 60).await?;
    stack.finish()
}

#[tokio::test]
async fn the_request_after_the_last_of_the_month_gets_402_with_a_way_on() -> Result<()> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, "month", Limits::COMMUNITY_FAST).await?;
    let mut connection = Connection::open(stack.edge()).await?;
    for number in 1..=1_000 {
        let kind = Kind::ALL[number % 3];
        let answer = connection.send(&project.call(kind, "bot")).await?;
        assert_eq!(answer.status, 200, "request {number}: {}", answer.text());
    }
    for kind in Kind::ALL {
        let denied = connection.send(&project.call(kind, "bot")).await?;
        let problem = denied.problem(ErrorCode::QuotaExhausted)?;
        let reset = clock::now().period().end();
        assert_eq!(problem.resets_at, Some(reset.to_string()));
        assert!(reset.to_string().ends_with("-01T00:00:00Z"), "{reset}");
        assert_eq!(problem.upgrade_url.as_deref(), Some("https://palveron.com/pricing"));
        assert_is_until(denied.header("retry-after"), reset)?;
    }
    project.reports(&stack, 1_000).await?;
    stack.finish()
}

fn assert_is_until(retry_after: Option<&str>, reset: Timestamp) -> Result<()> {
    let got: u64 = retry_after.context("no Retry-After")?.parse()?;
    let left = reset.ms_since(clock::now()).div_ceil(1_000);
    assert!((left..=left + 10).contains(&got), "got {got}, {left} s are left");
    Ok(())
}

#[tokio::test]
async fn fifty_clients_at_once_get_exactly_what_is_left() -> Result<()> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, "rush", Limits::COMMUNITY_FAST).await?;
    let mut clients = JoinSet::new();
    for client in 0..50_usize {
        let (edge, project) = (stack.edge(), project.clone());
        clients.spawn(async move {
            let mut connection = Connection::open(edge).await?;
            let mut statuses = Vec::new();
            for _ in 0..40 {
                let agent = format!("agent-{}", client % 5);
                statuses.push(connection.send(&project.call(Kind::ALL[client % 3], &agent)).await?.status);
            }
            anyhow::Ok(statuses)
        });
    }
    let mut statuses: BTreeMap<u16, u32> = BTreeMap::new();
    while let Some(client) = clients.join_next().await {
        client??.into_iter().for_each(|status| *statuses.entry(status).or_default() += 1);
    }
    assert_eq!(statuses, BTreeMap::from([(200, 1_000), (402, 1_000)]));
    project.reports(&stack, 1_000).await?;
    stack.finish()
}
