//! Four processes as isolates of one edge, whose homes a fifth has: the same promises as with one.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use shared::problem::ErrorCode;
use tests::chance::between_ms;
use tests::client::Call;
use tests::fleet::Fleet;
use tests::load::{Load, by_agent, by_kind, total};
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Options, Part, Stack};
use tests::stand_in::StandIn;

const ISOLATES: usize = 4;
const CLIENTS: usize = 64;
const ALLOWANCE: u64 = 4_000;
const DRAIN_MAX: Duration = Duration::from_secs(60);
const LOAD_MAX: Duration = Duration::from_secs(150);

async fn start(sub_homes: u32) -> Result<(Stack, Fleet)> {
    start_before(None, sub_homes).await
}

async fn start_before(upstream: Option<SocketAddr>, sub_homes: u32) -> Result<(Stack, Fleet)> {
    let edge_settings = vec![("METER_HOMES", "serve".to_owned())];
    let options = Options { leases: true, sub_homes, edge_settings, upstream, ..Options::default() };
    let stack = Stack::start_with(options).await?;
    let fleet = Fleet::start(&stack, ISOLATES).await?;
    Ok((stack, fleet))
}

fn limits() -> Limits {
    Limits { included: Some(ALLOWANCE), rpm: Some(1_000_000), ..Limits::COMMUNITY_FAST }
}

/// Twice the allowance is demanded; returns when that much was answered and nothing more is served.
async fn demanded(load: &Load) -> Result<()> {
    eventually("twice the allowance is demanded", LOAD_MAX, async || {
        Ok((load.stopped_hard() > 0 && load.answered() >= 2 * ALLOWANCE).then_some(()))
    })
    .await
}

async fn exact(sub_homes: u32) -> Result<()> {
    let (stack, fleet) = start(sub_homes).await?;
    let project = Project::ready(&stack, "four", limits()).await?;
    let load = Load::start(fleet.address(), &project.key, CLIENTS);
    demanded(&load).await?;
    let journal = load.stop().await?;
    assert_eq!(total(&journal.acked), ALLOWANCE, "{:?}", journal.others);
    assert_eq!(journal.unanswered, Default::default());
    let usage = project.reports_within(&stack, ALLOWANCE, DRAIN_MAX).await?;
    assert_eq!(usage.by_kind(), by_kind(&journal.acked));
    assert_eq!(usage.by_agent(), by_agent(&journal.acked));
    fleet.finish(&stack)?;
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_isolates_serve_the_allowance_exactly_and_all_of_it_is_billed() -> Result<()> {
    exact(0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_isolates_behind_sub_homes_serve_the_allowance_exactly() -> Result<()> {
    exact(8).await
}

async fn with_kills(sub_homes: u32) -> Result<()> {
    // It knows what was served, also where the answer was lost with the isolate.
    let upstream = StandIn::silent().await?;
    let (mut stack, mut fleet) = start_before(Some(upstream.address()), sub_homes).await?;
    let project = Project::ready(&stack, "killed", limits()).await?;
    let load = Load::start(fleet.address(), &project.key, CLIENTS);
    let mut kills = 0;
    while load.stopped_hard() == 0 && kills < 20 {
        tokio::time::sleep(between_ms(200, 900)?).await;
        // The home is one of five.
        let turn = usize::try_from(between_ms(0, 4)?.as_millis())?;
        if turn == ISOLATES {
            stack.kill(Part::Edge)?;
            stack.begin(&[Part::Edge]).await?;
        } else {
            fleet.kill(turn)?;
            fleet.begin(&stack, turn)?;
        }
        kills += 1;
    }
    demanded(&load).await?;
    let journal = load.stop().await?;
    let (served, unanswered) = (total(&journal.acked), total(&journal.unanswered));
    let forwarded = u64::try_from(upstream.seen().len())?;
    eprintln!(
        "{kills} kills, {served} served, {unanswered} unanswered, {forwarded} forwarded, others {:?}",
        journal.others
    );
    assert!(forwarded <= ALLOWANCE, "{forwarded} were forwarded");
    assert!(served <= forwarded && forwarded <= served + unanswered, "{served} of {forwarded} were answered");
    // Dead isolates keep 2 % of the allowance at the most, and what they had not reported.
    assert!(10 * (served + unanswered) >= 9 * ALLOWANCE, "{served} and {unanswered}");
    let mut billed = 0;
    // Whatever is still reported comes within a moment; it must not grow beyond what was served.
    for _ in 0..10 {
        billed = project.usage(&stack).await?.total;
        assert!(billed <= served + unanswered, "{billed} billed, {served} served, {unanswered} unanswered");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    eprintln!("{billed} billed");
    fleet.finish(&stack)?;
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_no_more_than_the_allowance_is_served_and_no_more_than_that_billed() -> Result<()> {
    with_kills(0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_behind_sub_homes() -> Result<()> {
    with_kills(8).await
}

#[tokio::test]
async fn only_processes_of_the_edge_may_call_its_homes_and_only_where_they_are_served() -> Result<()> {
    const CALL: &str = r#"["HOME","four/live","install","{}"]"#;
    let call = || Call::post("/internal/contact", CALL).header("palveron-signature", "t=1,k=e1,v1=00");
    let (stack, fleet) = start(0).await?;
    call().send(stack.edge()).await?.problem(ErrorCode::SignatureRejected)?;
    Call::post("/internal/contact", CALL).send(stack.edge()).await?.problem(ErrorCode::SignatureRejected)?;
    call().send(fleet.address()).await?.problem(ErrorCode::NotFound)?;
    fleet.finish(&stack)?;
    stack.finish()
}
