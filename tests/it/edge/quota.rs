//! What `GET /v1/quota` tells from the first request on: what is used, and never what is only out on leases.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tests::client::Call;
use tests::fleet::Fleet;
use tests::load::{Load, total};
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Options, Part, Stack};

const INCLUDED: u64 = 1_000;
/// Two levels of holders have reported by then, on a busy machine.
const REPORTED_MAX: Duration = Duration::from_secs(15);
/// Who died is not heard of any more by then, on a busy machine.
const SILENT_MAX: Duration = Duration::from_secs(90);

/// A stack whose edge has the homes, and another process beside it as a second isolate.
async fn start(sub_homes: u32) -> Result<(Stack, Fleet, Project)> {
    let edge_settings = vec![("METER_HOMES", "serve".to_owned())];
    let options = Options { leases: true, sub_homes, edge_settings, ..Options::default() };
    let stack = Stack::start_with(options).await?;
    let fleet = Fleet::start(&stack, 1).await?;
    let limits = Limits { included: Some(INCLUDED), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "fresh", limits).await?;
    Ok((stack, fleet, project))
}

/// One check; how much it says is left.
async fn check(project: &Project, edge: SocketAddr) -> Result<u64> {
    let body = r#"{"kind":"verify","agent":"bot"}"#;
    let answer: Value = Call::post("/v1/check", body).json().bearer(&project.key).send(edge).await?.ok()?;
    answer["remaining"].as_u64().with_context(|| format!("got {answer}"))
}

/// What is used, forfeited and left.
async fn told(project: &Project, edge: SocketAddr) -> Result<(u64, u64, u64)> {
    let answer: Value = Call::get("/v1/quota").bearer(&project.key).send(edge).await?.ok()?;
    let number = |name: &str| answer[name].as_u64().with_context(|| format!("got {answer}"));
    Ok((number("used")?, number("forfeited")?, number("remaining")?))
}

async fn first_numbers(sub_homes: u32) -> Result<()> {
    let (stack, fleet, project) = start(sub_homes).await?;
    let edges = [stack.edge(), fleet.address()];
    assert_eq!(told(&project, stack.edge()).await?, (0, 0, INCLUDED));
    assert_eq!(check(&project, stack.edge()).await?, INCLUDED - 1);
    assert_eq!(told(&project, stack.edge()).await?, (1, 0, INCLUDED - 1));
    for n in 2..=50 {
        let left = check(&project, edges[n % 2]).await?;
        // Others may have served what they have not reported yet; what is left is never said to be less.
        assert!(left >= INCLUDED - u64::try_from(n)?, "{left} after {n}");
        let (used, ..) = told(&project, edges[n % 2]).await?;
        assert!(used <= u64::try_from(n)?, "{used} after {n}");
    }
    for edge in edges {
        eventually("both tell all", REPORTED_MAX, async || {
            Ok((told(&project, edge).await? == (50, 0, INCLUDED - 50)).then_some(()))
        })
        .await?;
    }
    fleet.finish(&stack)?;
    stack.finish()
}

#[tokio::test]
async fn the_first_numbers_of_a_project_are_what_is_used() -> Result<()> {
    first_numbers(0).await
}

#[tokio::test]
async fn the_same_is_told_through_sub_homes() -> Result<()> {
    first_numbers(8).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_nothing_is_used_that_was_not_served_and_the_rest_is_named_apart() -> Result<()> {
    let (mut stack, fleet, project) = start(8).await?;
    drop(fleet);
    let load = Load::start(stack.edge(), &project.key, 4);
    eventually("something is served", SILENT_MAX, async || Ok((load.acked() >= 200).then_some(()))).await?;
    stack.kill(Part::Edge)?;
    let journal = load.stop().await?;
    stack.begin(&[Part::Edge]).await?;
    let served = total(&journal.acked) + total(&journal.unanswered);
    eventually("what is lost is named", SILENT_MAX, async || {
        let (used, forfeited, left) = told(&project, stack.edge()).await?;
        assert!(used <= served, "{used} used, {served} served");
        assert_eq!(used + forfeited + left, INCLUDED, "{used} used, {forfeited} forfeited, {left} left");
        // What was served and not reported is among what is forfeited: it is not left.
        Ok((used + forfeited >= total(&journal.acked)).then_some(()))
    })
    .await?;
    stack.finish()
}
