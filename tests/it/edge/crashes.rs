//! `kill -9` under load: what was answered 200 is billed, and nothing twice.

use std::time::Duration;

use anyhow::Result;
use tests::chance::between_ms;
use tests::load::{Journal, Load, by_agent, by_kind, total};
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Part, Stack};
use tests::usage::{Totals, Usage};

const CLIENTS: usize = 8;
/// Proof that a round was no idle one: a test under load that served nothing would pass any comparison.
const ACKS_BETWEEN_KILLS: u64 = 50;
/// How long a round may take to get there, restarts included.
const ROUND_MAX: Duration = Duration::from_secs(30);
/// A home that could not flush waits 30 seconds at the longest.
const DRAIN_MAX: Duration = Duration::from_secs(40);

/// Lets the load run for a random while in which work is done.
async fn run_a_while(load: &Load) -> Result<()> {
    let before = load.acked();
    let pause = between_ms(800, 1_600)?;
    eprintln!("{before} acknowledged; the next kill comes {pause:?} after work goes on");
    eventually("work goes on", ROUND_MAX, async || {
        Ok((load.acked() >= before + ACKS_BETWEEN_KILLS).then_some(()))
    })
    .await?;
    tokio::time::sleep(pause).await;
    Ok(())
}

/// Waits until nothing more can come: no report changes while the edge has nothing left to send.
async fn drained(stack: &Stack, project: &Project, journal: &Journal) -> Result<Usage> {
    let acked = total(&journal.acked);
    // What was spent at the home is what will be billed: the home itself says how much that is.
    let quota: serde_json::Value = project.quota().await?.ok()?;
    let used = quota["used"].as_u64().unwrap_or_default();
    assert!(used >= acked, "the home has forgotten units: {used} used, {acked} acknowledged");
    project.reports_within(stack, used, DRAIN_MAX).await
}

/// Each count lies between what was acknowledged and that plus what nobody answered.
fn assert_between(acked: &Totals, billed: &Totals, unanswered: &Totals) {
    let of = |totals: &Totals, name: &str| totals.get(name).copied().unwrap_or_default();
    for name in acked.keys().chain(billed.keys()) {
        let (low, got) = (of(acked, name), of(billed, name));
        let high = low + of(unanswered, name);
        assert!((low..=high).contains(&got), "{name}: billed {got}, served {low} to {high}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_request_is_lost_or_billed_twice_when_any_part_is_killed() -> Result<()> {
    let mut stack = Stack::start().await?;
    let project = Project::ready(&stack, "crash", Limits::WIDE).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    let rounds: [&[Part]; 8] = [
        &[Part::Edge],
        &[Part::Aggregator],
        &[Part::Edge, Part::Aggregator],
        &[Part::Edge],
        &[Part::Aggregator, Part::Edge],
        &[Part::Edge],
        &[Part::Aggregator],
        &[Part::Edge],
    ];
    for parts in rounds {
        run_a_while(&load).await?;
        for part in parts {
            stack.kill(*part)?;
        }
        stack.begin(parts).await?;
    }
    run_a_while(&load).await?;
    let journal = load.stop().await?;
    let usage = drained(&stack, &project, &journal).await?;
    let Journal { acked, unanswered, others } = &journal;
    eprintln!(
        "{} acknowledged, {} unanswered, {} billed, others {others:?}",
        total(acked),
        total(unanswered),
        usage.total
    );
    assert!(total(acked) >= 9 * ACKS_BETWEEN_KILLS);
    // A kill cuts off one request of each client, and perhaps one more that the dying socket still took.
    assert!(total(unanswered) <= 12 * u64::try_from(CLIENTS)?, "{unanswered:?}");
    assert!((total(acked)..=total(acked) + total(unanswered)).contains(&usage.total));
    assert_between(&by_kind(acked), &usage.by_kind(), &by_kind(unanswered));
    assert_between(&by_agent(acked), &usage.by_agent(), &by_agent(unanswered));
    assert!(others.keys().all(|status| *status == 503), "{others:?}");
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_only_the_aggregator_is_killed_nobody_notices_and_the_bill_is_exact() -> Result<()> {
    let mut stack = Stack::start().await?;
    let project = Project::ready(&stack, "steady", Limits::WIDE).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    for _ in 0..5 {
        run_a_while(&load).await?;
        stack.kill(Part::Aggregator)?;
        run_a_while(&load).await?;
        stack.begin(&[Part::Aggregator]).await?;
    }
    let journal = load.stop().await?;
    assert_eq!((&journal.unanswered, &journal.others), (&Default::default(), &Default::default()));
    let usage = project.reports_within(&stack, total(&journal.acked), DRAIN_MAX).await?;
    assert_eq!(usage.by_kind(), by_kind(&journal.acked));
    assert_eq!(usage.by_agent(), by_agent(&journal.acked));
    stack.finish()
}

#[tokio::test]
async fn what_was_not_flushed_before_a_crash_is_reported_without_another_request() -> Result<()> {
    let mut stack = Stack::start().await?;
    let project = Project::ready(&stack, "silent", Limits::WIDE).await?;
    stack.kill(Part::Aggregator)?;
    for _ in 0..7 {
        assert_eq!(project.verify().await?.status, 200);
    }
    stack.kill(Part::Edge)?;
    stack.begin(&[Part::Edge, Part::Aggregator]).await?;
    project.reports_within(&stack, 7, DRAIN_MAX).await?;
    stack.finish()
}
