//! A sub-home whose storage was lost or restored, in a real workerd: it begins a new life, so that nothing it had in
//! stock is issued twice, and nothing is billed twice.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tests::load::{Load, total};
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Options, Part, Stack};

const CLIENTS: usize = 8;
const INCLUDED: u64 = 3_000;
/// Time enough for a hard stop and for what a dead process left, on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// What is out with isolates and in stock when a process dies three times: a second of this load each.
const STRANDED_MAX: u64 = 1_500;

/// One sub-home, so that every isolate asks the one whose storage is changed.
async fn start() -> Result<Stack> {
    Stack::start_with(Options { leases: true, sub_homes: 1, ..Options::default() }).await
}

async fn serve_more(load: &Load, units: u64) -> Result<()> {
    let goal = load.acked() + units;
    eventually("work goes on", WAIT_MAX, async || Ok((load.acked() >= goal).then_some(()))).await
}

/// The files of the sub-home's database.
fn stored(stack: &Stack) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = stack.stored_by_homes()?;
    files.retain(|(path, _)| path.to_string_lossy().contains("sub-home"));
    assert!(!files.is_empty(), "no sub-home was asked");
    Ok(files)
}

fn put_back(stack: &Stack, copy: &[(PathBuf, Vec<u8>)]) -> Result<()> {
    for (path, _) in stored(stack)? {
        fs::remove_file(path)?;
    }
    for (path, content) in copy {
        fs::write(path, content)?;
    }
    Ok(())
}

/// Serves until the hard stop, and compares what was served and billed with the allowance.
async fn ends_exactly(stack: Stack, project: &Project, load: Load) -> Result<()> {
    eventually("the hard stop", WAIT_MAX, async || Ok((load.stopped_hard() > 0).then_some(()))).await?;
    let journal = load.stop().await?;
    let (acked, unanswered) = (total(&journal.acked), total(&journal.unanswered));
    eprintln!("{acked} acknowledged, {unanswered} unanswered, others {:?}", journal.others);
    assert!(acked <= INCLUDED, "{acked} served of {INCLUDED}");
    assert!(acked + unanswered >= INCLUDED - STRANDED_MAX, "{acked} and {unanswered}");
    // What can still be reported is, within the longest report interval.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let usage = project.usage(&stack).await?;
    assert!(usage.total <= acked + unanswered, "{} billed, {acked} served", usage.total);
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_a_sub_homes_storage_issues_nothing_twice() -> Result<()> {
    let mut stack = start().await?;
    let limits = Limits { included: Some(INCLUDED), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "restored", limits).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    serve_more(&load, 300).await?;
    stack.kill(Part::Edge)?;
    let copy = stored(&stack)?;
    stack.begin(&[Part::Edge]).await?;
    serve_more(&load, 300).await?;
    stack.kill(Part::Edge)?;
    put_back(&stack, &copy)?;
    stack.begin(&[Part::Edge]).await?;
    serve_more(&load, 300).await?;
    let log = stack.log(Part::Edge)?;
    assert!(log.contains("a sub-home begins a new life"), "the older copy went unnoticed");
    ends_exactly(stack, &project, load).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sub_home_whose_storage_was_lost_begins_anew_and_nothing_is_overshot() -> Result<()> {
    let mut stack = start().await?;
    let limits = Limits { included: Some(INCLUDED), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "lost", limits).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    serve_more(&load, 300).await?;
    stack.kill(Part::Edge)?;
    for (path, _) in stored(&stack)? {
        fs::remove_file(path)?;
    }
    stack.begin(&[Part::Edge]).await?;
    serve_more(&load, 300).await?;
    ends_exactly(stack, &project, load).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sub_home_that_was_only_killed_keeps_its_life_and_its_reports() -> Result<()> {
    let mut stack = start().await?;
    let project = Project::ready(&stack, "same", Limits::WIDE).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    for _ in 0..2 {
        serve_more(&load, 300).await?;
        stack.kill(Part::Edge)?;
        stack.begin(&[Part::Edge]).await?;
    }
    serve_more(&load, 300).await?;
    load.stop().await?;
    assert!(
        !stack.log(Part::Edge)?.contains("a sub-home begins a new life"),
        "its storage was as it left it"
    );
    stack.finish()
}
