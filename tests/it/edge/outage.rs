//! The edge without its aggregator, and without its upstream.

use std::time::Duration;

use anyhow::Result;
use shared::kind::Kind;
use shared::problem::ErrorCode;
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Options, Part, Stack};
use tokio::task::JoinSet;

/// A home that failed to flush tries again after 30 seconds at the latest.
const DRAIN_MAX: Duration = Duration::from_secs(35);

#[tokio::test]
async fn a_home_that_cannot_get_its_policy_says_so_and_recovers() -> Result<()> {
    let mut stack = Stack::start_with(Options { later: vec![Part::Edge], ..Options::default() }).await?;
    let project = Project::create(&stack, "early", Limits::WIDE)?;
    stack.kill(Part::Aggregator)?;
    stack.begin(&[Part::Edge]).await?;
    for _ in 0..3 {
        let answer = project.verify().await?;
        answer.problem(ErrorCode::HomeUnavailable)?;
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    stack.begin(&[Part::Aggregator]).await?;
    eventually("the first allowed request", Duration::from_secs(5), async || {
        Ok((project.verify().await?.status == 200).then_some(()))
    })
    .await?;
    project.reports(&stack, 1).await?;
    stack.finish()
}

#[tokio::test]
async fn many_first_requests_at_once_are_all_decided() -> Result<()> {
    let mut stack = Stack::start_with(Options { later: vec![Part::Edge], ..Options::default() }).await?;
    let project = Project::create(&stack, "first", Limits::WIDE)?;
    stack.begin(&[Part::Edge]).await?;
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let project = project.clone();
        clients.spawn(async move { project.verify().await });
    }
    while let Some(answer) = clients.join_next().await {
        let answer = answer??;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    project.reports(&stack, 20).await?;
    stack.finish()
}

#[tokio::test]
async fn the_edge_decides_while_the_aggregator_is_away_and_reports_when_it_is_back() -> Result<()> {
    let mut stack = Stack::start().await?;
    let limits = Limits { included: Some(100), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "alone", limits).await?;
    for _ in 0..10 {
        assert_eq!(project.verify().await?.status, 200);
    }
    project.reports(&stack, 10).await?;
    stack.kill(Part::Aggregator)?;
    for number in 11..=100 {
        assert_eq!(project.verify().await?.status, 200, "request {number}");
    }
    project.verify().await?.problem(ErrorCode::QuotaExhausted)?;
    // A restarted edge knows what it has spent without asking anybody.
    stack.kill(Part::Edge)?;
    stack.begin(&[Part::Edge]).await?;
    project.verify().await?.problem(ErrorCode::QuotaExhausted)?;
    stack.begin(&[Part::Aggregator]).await?;
    project.reports_within(&stack, 100, DRAIN_MAX).await?;
    stack.finish()
}

#[tokio::test]
async fn an_upstream_that_is_away_is_a_502_and_the_unit_is_counted() -> Result<()> {
    let mut stack = Stack::start().await?;
    let project = Project::ready(&stack, "behind", Limits::WIDE).await?;
    stack.kill(Part::Upstream)?;
    let answer = project.verify().await?;
    answer.problem(ErrorCode::UpstreamUnavailable)?;
    assert!(answer.header("ratelimit").is_some() && answer.header("server-timing").is_some());
    stack.begin(&[Part::Upstream]).await?;
    let call = project.call(Kind::Verify, "bot");
    eventually("the upstream is reached again", Duration::from_secs(5), async || {
        Ok((call.send(stack.edge()).await?.status == 200).then_some(()))
    })
    .await?;
    stack.finish()
}
