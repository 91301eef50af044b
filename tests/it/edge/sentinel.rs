//! Homes on servers that sentinels watch, and what a fail-over may do under load at a hard stop: each begins a new life
//! and costs no more than the escrow, a primary that was given up acknowledges nothing any more, and clients are told
//! to come again meanwhile.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kit::watched::Watched;
use tests::config;
use tests::load::Load;
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Counters, Options, Stack};

use super::redis::{CLIENTS, INCLUDED, ends_exactly, goes_on};

/// After so long without an answer a primary is given up.
const DOWN_AFTER: Duration = Duration::from_secs(3);

/// A meter on servers that sentinels watch; they end after it.
struct Parts {
    stack: Stack,
    project: Project,
    watched: Watched,
}

async fn start(replicas: u32) -> Result<Parts> {
    let watched = Watched::start(&config::valkey()?, DOWN_AFTER)?;
    let options = Options {
        leases: true,
        counters: Counters::Redis,
        redis_of_test: Some((watched.url(), replicas)),
        ..Options::default()
    };
    let stack = Stack::start_with(options).await?;
    let limits = Limits { included: Some(INCLUDED), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "watched", limits).await?;
    Ok(Parts { stack, project, watched })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fail_over_on_purpose_costs_no_more_than_the_escrow() -> Result<()> {
    let Parts { stack, project, watched } = start(1).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    goes_on(&load).await?;
    tokio::task::block_in_place(|| watched.fail_over())?;
    goes_on(&load).await?;
    ends_exactly(stack, &project, load, 1).await
}

/// With and without a replica's disk that is waited for: without, the primary that was given up may say yes to what
/// nobody else hears of, and no more than the escrow.
async fn stands_still(replicas: u32) -> Result<()> {
    let Parts { stack, project, mut watched } = start(replicas).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    goes_on(&load).await?;
    let before = watched.primary()?;
    watched.at(before)?.stand_still()?;
    let refused = eventually("clients are told to come again", DOWN_AFTER * 2, async || {
        let answer = project.quota().await?;
        Ok((answer.status == 503).then_some(answer))
    });
    ensure!(refused.await?.header("retry-after").is_some(), "no Retry-After");
    tokio::time::sleep(DOWN_AFTER * 2).await;
    tokio::task::block_in_place(|| watched.wait_for_another(before))?;
    watched.at(before)?.go_on()?;
    goes_on(&load).await?;
    ends_exactly(stack, &project, load, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_stood_still_and_was_given_up_acknowledges_nothing_that_counts_twice() -> Result<()> {
    stands_still(1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_one_that_waits_for_no_replica() -> Result<()> {
    stands_still(0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_has_never_heard_of_is_not_issued_again_once_it_is_the_primary() -> Result<()> {
    let Parts { stack, project, mut watched } = start(0).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    goes_on(&load).await?;
    let before = watched.primary()?;
    let primary = watched.at(before)?;
    // Its replicas are sent away, and it goes on to say yes.
    primary.ask(&["ACL", "SETUSER", "default", "-psync", "-sync"])?;
    primary.ask(&["CLIENT", "KILL", "TYPE", "replica"])?;
    goes_on(&load).await?;
    ensure!(primary.ask(&["INFO", "replication"])?.contains("connected_slaves:0"), "a replica came back");
    primary.kill()?;
    tokio::task::block_in_place(|| watched.wait_for_another(before))?;
    goes_on(&load).await?;
    ends_exactly(stack, &project, load, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_are_gone_or_stand_still_are_passed_over() -> Result<()> {
    let Parts { stack, project, mut watched } = start(1).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    goes_on(&load).await?;
    let [gone, still, ..] = watched.sentinels() else { anyhow::bail!("there are three") };
    gone.kill()?;
    still.stand_still()?;
    // Longer than anybody is believed.
    thread::sleep(Duration::from_secs(3));
    goes_on(&load).await?;
    let checked = stack.meter(&["redis", "check"])?;
    ensure!(checked.contains("it is a primary"), "{checked}");
    let [_, still, ..] = watched.sentinels() else { anyhow::bail!("there are three") };
    still.go_on()?;
    let journal = load.stop().await?;
    ensure!(!journal.others.contains_key(&402), "{:?}", journal.others);
    let unknown = watched.url().replace("/meter", "/other");
    let error = stack.meter_with(&["redis", "check"], &[("REDIS_URL", &unknown)]).err();
    let error = format!("{:#}", error.context("nobody knows that name")?);
    ensure!(error.contains("knows no primary called other"), "{error}");
    stack.finish()
}
