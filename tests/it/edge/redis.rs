//! A Redis that has the homes, and what may become of it under load at a hard stop: no more is served than there is,
//! nothing is billed that was not served, and each loss of the server's memory costs no more than the escrow.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tests::load::{Load, total};
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Counters, Options, Part, Stack};

const CLIENTS: usize = 8;
const INCLUDED: u64 = 3_000;
/// A fiftieth of what is included: what a home may issue before it is acknowledged.
const ESCROW: u64 = INCLUDED.div_euclid(50);
/// Time enough for a hard stop on a busy machine: a new life of a home gives no permit of the minute it begins in.
const WAIT_MAX: Duration = Duration::from_secs(180);

async fn start() -> Result<(Stack, Project)> {
    let options = Options { leases: true, counters: Counters::Redis, ..Options::default() };
    let stack = Stack::start_with(options).await?;
    let limits = Limits { included: Some(INCLUDED), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "faulty", limits).await?;
    Ok((stack, project))
}

/// Serves a little more; it begins to be served again after what has happened.
async fn goes_on(load: &Load) -> Result<()> {
    let goal = load.acked() + 100;
    eventually("work goes on", WAIT_MAX, async || Ok((load.acked() >= goal).then_some(()))).await
}

/// Serves until the hard stop, and compares what was served and billed with what is included after so many losses.
async fn ends_exactly(stack: Stack, project: &Project, load: Load, losses: u64) -> Result<()> {
    eventually("the hard stop", WAIT_MAX, async || Ok((load.stopped_hard() > 0).then_some(()))).await?;
    let journal = load.stop().await?;
    let (served, unanswered) = (total(&journal.acked), total(&journal.unanswered));
    let told = format!("{served} served, {unanswered} unanswered, others {:?}", journal.others);
    assert!(served <= INCLUDED, "{told}");
    assert!(served + unanswered + losses * ESCROW >= INCLUDED, "no loss burns more than {ESCROW}: {told}");
    assert!(journal.others.keys().all(|status| [402, 429, 503].contains(status)), "{told}");
    // What is to be reported is, once nobody holds anything and everything is acknowledged.
    let usage = eventually("the last report", WAIT_MAX, async || {
        let quota: Value = project.quota().await?.ok()?;
        let usage = project.usage(&stack).await?;
        Ok((quota["used"] == usage.total && quota["remaining"] == 0).then_some(usage))
    })
    .await?;
    assert!(usage.total <= served + unanswered, "{} billed: {told}", usage.total);
    assert!(usage.total + losses * ESCROW >= served, "{} billed: {told}", usage.total);
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_costs_no_more_than_the_escrow() -> Result<()> {
    let (mut stack, project) = start().await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    goes_on(&load).await?;
    stack.kill(Part::Redis)?;
    stack.begin(&[Part::Redis]).await?;
    goes_on(&load).await?;
    ends_exactly(stack, &project, load, 1).await
}
