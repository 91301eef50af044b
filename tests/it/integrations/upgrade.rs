//! A release takes the place of another under load, and gives it back where that can read the books: nobody is refused, and
//! not a unit is lost.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::config;
use tests::load::{Load, by_agent, by_kind, total};
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Options, Part, Stack};

const CLIENTS: usize = 8;
/// Proof that work went on meanwhile.
const ACKS_BETWEEN: u64 = 200;
const WITHIN: Duration = Duration::from_secs(40);

async fn goes_on(load: &Load) -> Result<()> {
    let before = load.acked();
    eventually("work goes on", WITHIN, async || {
        Ok((load.acked() >= before.saturating_add(ACKS_BETWEEN)).then_some(()))
    })
    .await
}

/// Starts the aggregator. A release that knows fewer migrations than the books have refuses in words, and changes nothing.
async fn begins(stack: &mut Stack) -> Result<bool> {
    let Err(refused) = stack.begin(&[Part::Aggregator]).await else { return Ok(true) };
    let refused = format!("{refused:#}");
    ensure!(refused.contains("was made by a newer release"), "{refused}");
    stack.kill(Part::Aggregator)?;
    Ok(false)
}

/// The other release is that of `METER_TEST_OTHER_RELEASE`, which makes the books; where that is not set,
/// this release takes its own place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_release_takes_the_aggregators_place_under_load_and_gives_it_back() -> Result<()> {
    let this = config::meter_program()?;
    let other = config::other_release()?.unwrap_or_else(|| this.clone());
    let options = Options { leases: true, later: vec![Part::Aggregator], ..Options::default() };
    let mut stack = Stack::start_with(options).await?;
    stack.set_meter(&other);
    stack.begin(&[Part::Aggregator]).await?;
    let project = Project::ready(&stack, "upgraded", Limits::WIDE).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    let mut serves = true;
    for next in [&this, &other, &this] {
        goes_on(&load).await?;
        if serves {
            let ended = stack.terminate(Part::Aggregator).await?;
            ensure!(ended.success(), "it did not end politely: {ended}");
        }
        goes_on(&load).await?;
        stack.set_meter(next);
        serves = begins(&mut stack).await?;
        ensure!(serves || next == &other, "this release has to serve");
    }
    goes_on(&load).await?;
    let journal = load.stop().await?;
    assert_eq!((&journal.unanswered, &journal.others), (&Default::default(), &Default::default()));
    let usage = project.reports_within(&stack, total(&journal.acked), WITHIN).await?;
    assert_eq!(usage.by_kind(), by_kind(&journal.acked));
    assert_eq!(usage.by_agent(), by_agent(&journal.acked));
    stack.finish()
}
