//! A machine that stands still for seconds and goes on: nobody has died, so what is billed is what was served.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::chance::between_ms;
use tests::load::{Journal, Load, by_agent, by_kind, total};
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Options, Part, Stack};

/// Enough that many wait for the home when it stops.
const CLIENTS: usize = 60;
const STOPS: usize = 5;
/// Longer than a request waits for its home, and shorter than a client waits for its answer.
const STOP_MS: (u64, u64) = (1_200, 3_000);
const ANSWERS_BETWEEN_STOPS: u64 = 300;
const ROUND_MAX: Duration = Duration::from_secs(30);
/// How long a write of the slow home takes on average: as long as its callers wait for it.
const SLOW_MS: u64 = 1_000;
const WORK_MAX: Duration = Duration::from_secs(120);
const DRAIN_MAX: Duration = Duration::from_secs(40);

async fn bills_what_it_served(leases: bool, limits: Limits) -> Result<Journal> {
    let stack = Stack::start_with(Options { leases, ..Options::default() }).await?;
    let project = Project::ready(&stack, "still", limits).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    for _ in 0..STOPS {
        let before = load.answered();
        eventually("work goes on", ROUND_MAX, async || {
            Ok((load.answered() >= before + ANSWERS_BETWEEN_STOPS).then_some(()))
        })
        .await?;
        stack.stand_still(Part::Edge, between_ms(STOP_MS.0, STOP_MS.1)?).await?;
    }
    let journal = load.stop().await?;
    billed(&stack, &project, &journal).await?;
    stack.finish()?;
    Ok(journal)
}

/// What was served is used and billed, to the unit.
async fn billed(stack: &Stack, project: &Project, journal: &Journal) -> Result<()> {
    let served = total(&journal.acked);
    eprintln!("{served} served, {} unanswered, others {:?}", total(&journal.unanswered), journal.others);
    ensure!(total(&journal.unanswered) == 0, "{:?}", journal.unanswered);
    // What nobody was served has come back everywhere, and so nothing more can be billed.
    eventually("the home's numbers", DRAIN_MAX, async || {
        let quota: serde_json::Value = project.quota().await?.ok()?;
        ensure!(quota["used"] == served, "{served} served: {quota}");
        Ok(Some(()))
    })
    .await?;
    let usage = project.reports_within(stack, served, DRAIN_MAX).await?;
    assert_eq!(usage.by_kind(), by_kind(&journal.acked));
    assert_eq!(usage.by_agent(), by_agent(&journal.acked));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_home_decides_is_billed_only_if_its_answer_leaves() -> Result<()> {
    let journal = bills_what_it_served(false, Limits::WIDE).await?;
    ensure!(journal.others.get(&503).is_some_and(|refused| *refused > 0), "nobody was cut off");
    Ok(())
}

/// Near the hard stop the home decides what leases do not cover.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_near_a_hard_stop_is_billed_only_if_its_answer_leaves() -> Result<()> {
    const UNITS: u64 = 900;
    let limits = Limits { included: Some(UNITS), rpm: Some(1_000_000), ..Limits::COMMUNITY };
    let journal = bills_what_it_served(true, limits).await?;
    // Whoever was not served in time takes no unit from others.
    assert_eq!(total(&journal.acked), UNITS, "{:?}", journal.others);
    Ok(())
}

/// A home whose writes take about as long as anybody waits for them: some are answered in time, and some are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_slow_home_decides_is_billed_only_if_its_answer_leaves() -> Result<()> {
    const ANSWERS: u64 = 600;
    let edge_settings = vec![("METER_TEST_HOME_WRITE_MS", SLOW_MS.to_string())];
    let stack = Stack::start_with(Options { edge_settings, ..Options::default() }).await?;
    let project = Project::ready(&stack, "slow", Limits::WIDE).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    eventually("answers of both kinds", WORK_MAX, async || Ok((load.answered() >= ANSWERS).then_some(())))
        .await?;
    let journal = load.stop().await?;
    billed(&stack, &project, &journal).await?;
    ensure!(journal.others.get(&503).is_some_and(|refused| *refused > 0), "nobody waited in vain");
    stack.finish()
}
