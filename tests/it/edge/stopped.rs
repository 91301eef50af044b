//! A machine that stands still for seconds and goes on: nobody has died, so what is billed is what was served.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::chance::between_ms;
use tests::load::{Load, by_agent, by_kind, total};
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
const DRAIN_MAX: Duration = Duration::from_secs(40);

async fn bills_what_it_served(leases: bool, limits: Limits) -> Result<()> {
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
    let served = total(&journal.acked);
    eprintln!("{served} served, {} unanswered, others {:?}", total(&journal.unanswered), journal.others);
    ensure!(total(&journal.unanswered) == 0, "{:?}", journal.unanswered);
    ensure!(journal.others.get(&503).is_some_and(|refused| *refused > 0), "nobody was cut off");
    // What nobody was served has come back everywhere, and so nothing more can be billed.
    eventually("the home's numbers", DRAIN_MAX, async || {
        let quota: serde_json::Value = project.quota().await?.ok()?;
        ensure!(quota["used"] == served, "{served} served: {quota}");
        Ok(Some(()))
    })
    .await?;
    let usage = project.reports_within(&stack, served, DRAIN_MAX).await?;
    assert_eq!(usage.by_kind(), by_kind(&journal.acked));
    assert_eq!(usage.by_agent(), by_agent(&journal.acked));
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_home_decides_is_billed_only_if_its_answer_leaves() -> Result<()> {
    bills_what_it_served(false, Limits::WIDE).await
}
