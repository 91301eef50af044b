//! Leases in a real workerd: most answers need no home, and what dies with an isolate is bounded.

use std::time::Duration;

use anyhow::{Context, Result};
use shared::kind::Kind;
use tests::client::Connection;
use tests::load::{Journal, Load, by_agent, by_kind, total};
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Part, Stack};
use tests::usage::{Totals, Usage};

const CLIENTS: usize = 8;
/// Isolates report twice a second; this is time enough for the answer to come back, under load too.
const REPORTED_MAX: Duration = Duration::from_millis(1_500);
/// A home that could not flush waits 30 seconds at the longest.
const DRAIN_MAX: Duration = Duration::from_secs(40);
/// A hard stop is reached within this on a busy machine: what dead isolates hold makes the last units slow, more so where a
/// home is in a Redis.
const STOPPED_MAX: Duration = Duration::from_secs(300);

#[tokio::test]
async fn answers_by_lease_need_no_home_and_every_one_is_reported() -> Result<()> {
    let stack = Stack::start_leasing().await?;
    let project = Project::ready(&stack, "near", Limits::WIDE).await?;
    let mut connection = Connection::open(stack.edge()).await?;
    let mut at_home = 0;
    for number in 0..500_usize {
        let agent = format!("agent-{}", number % 5);
        let answer = connection.send(&project.call(Kind::ALL[number % 3], &agent)).await?;
        assert_eq!(answer.status, 200, "request {number}: {}", answer.text());
        match answer.header("server-timing").context("no Server-Timing")? {
            "meter;desc=home" => at_home += 1,
            timing => assert_eq!(timing, "meter;desc=lease"),
        }
    }
    // How many is a matter of speed, which the benchmark measures; a busy machine waits more often.
    assert!((1..500).contains(&at_home), "{at_home} of 500 answers waited for the home");
    let usage = project.reports(&stack, 500).await?;
    assert!(usage.by_agent().values().all(|units| *units == 100), "{:?}", usage.by_agent());
    stack.finish()
}

#[tokio::test]
async fn a_strict_project_is_always_decided_at_the_home() -> Result<()> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, "strict", Limits::WIDE).await?;
    for _ in 0..20 {
        let answer = project.verify().await?;
        assert_eq!((answer.status, answer.header("server-timing")), (200, Some("meter;desc=home")));
    }
    project.reports(&stack, 20).await?;
    stack.finish()
}

/// Each count is at most what was answered, or sent and never answered.
fn assert_at_most(billed: &Totals, acked: &Totals, unanswered: &Totals) {
    let of = |totals: &Totals, name: &str| totals.get(name).copied().unwrap_or_default();
    for (name, got) in billed {
        let most = of(acked, name) + of(unanswered, name);
        assert!(*got <= most, "{name}: billed {got}, served {most} at the most");
    }
}

fn assert_billed_what_was_served(usage: &Usage, journal: &Journal) {
    let Journal { acked, unanswered, .. } = journal;
    assert_at_most(&usage.by_kind(), &by_kind(acked), &by_kind(unanswered));
    assert_at_most(&usage.by_agent(), &by_agent(acked), &by_agent(unanswered));
}

/// Kills and restarts the edge while it is loaded; returns what it may have lost by that: the answers
/// of the time in which an isolate must have reported.
async fn kill_edge(stack: &mut Stack, load: &Load, go_on_to: u64) -> Result<u64> {
    eventually(
        "work goes on",
        Duration::from_secs(30),
        async || Ok((load.acked() >= go_on_to).then_some(())),
    )
    .await?;
    let before = load.acked();
    // Not a wait for anything: this is how long the load lasts.
    tokio::time::sleep(REPORTED_MAX).await;
    stack.kill(Part::Edge)?;
    let lost_max = load.acked() - before;
    stack.begin(&[Part::Edge]).await?;
    Ok(lost_max)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_isolate_bills_no_more_than_it_served_and_loses_little() -> Result<()> {
    let mut stack = Stack::start_leasing().await?;
    let project = Project::ready(&stack, "mortal", Limits::WIDE).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    let mut lost_max = 0;
    for _ in 0..4 {
        let go_on_to = load.acked() + 200;
        lost_max += kill_edge(&mut stack, &load, go_on_to).await?;
    }
    let go_on_to = load.acked() + 200;
    eventually(
        "work goes on",
        Duration::from_secs(30),
        async || Ok((load.acked() >= go_on_to).then_some(())),
    )
    .await?;
    let journal = load.stop().await?;
    let acked = total(&journal.acked);
    eprintln!(
        "{acked} acknowledged, {} unanswered, at most {lost_max} lost, others {:?}",
        total(&journal.unanswered),
        journal.others
    );
    let least = acked - lost_max;
    let usage = eventually("the usage report", DRAIN_MAX, async || {
        let usage = project.usage(&stack).await?;
        Ok((usage.total >= least).then_some(usage))
    })
    .await?;
    assert!(least > 800, "the kills left nothing to be sure of");
    assert_billed_what_was_served(&usage, &journal);
    assert!(journal.others.keys().all(|status| *status == 503), "{:?}", journal.others);
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hard_stop_is_not_overshot_though_isolates_die() -> Result<()> {
    let mut stack = Stack::start_leasing().await?;
    let limits = Limits { included: Some(8_000), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "edgeways", limits).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    for _ in 0..2 {
        let go_on_to = load.acked() + 300;
        kill_edge(&mut stack, &load, go_on_to).await?;
    }
    eventually("the hard stop", STOPPED_MAX, async || {
        let quota: serde_json::Value = project.quota().await?.ok()?;
        Ok((quota["remaining"] == 0).then_some(()))
    })
    .await?;
    let journal = load.stop().await?;
    let acked = total(&journal.acked);
    let unanswered = total(&journal.unanswered);
    eprintln!("{acked} acknowledged, {unanswered} unanswered, others {:?}", journal.others);
    assert!(acked <= 8_000, "{acked}");
    // Dead isolates strand two percent of the allowance at the most, all together.
    assert!(acked + unanswered >= 7_800, "{acked} and {unanswered}");
    let usage = project.usage(&stack).await?;
    assert_billed_what_was_served(&usage, &journal);
    stack.finish()
}
