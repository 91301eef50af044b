//! Homes on a cluster, and what may become of it under load at a hard stop: a slot that is moved, a primary that is killed
//! or given up. Each begins a new life of the homes there and costs no more than the escrow; a slot that nobody has is
//! said, and clients are told to come again.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kit::cluster::Cluster;
use serde_json::Value;
use shared::kind::Kind;
use tests::config;
use tests::load::Load;
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Counters, Options, Stack};
use tokio::task::block_in_place;

use super::redis::{CLIENTS, INCLUDED, ends_exactly, goes_on};

/// After so long without an answer a primary is given up.
const NODE_TIMEOUT: Duration = Duration::from_secs(3);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Projects whose homes are spread over all three primaries.
const NAMES: [&str; 6] = ["north", "south", "east", "blue", "river", "sea"];

/// A meter on a cluster, which ends after it.
struct Parts {
    stack: Stack,
    project: Project,
    cluster: Cluster,
}

impl Parts {
    /// The slot of the project's home.
    fn slot(&self) -> Result<u16> {
        Ok(self.cluster.key(&format!("*:home:{}/live", self.project.id))?.1)
    }

    fn place(&self) -> Result<(u16, SocketAddr)> {
        let slot = self.slot()?;
        Ok((slot, self.cluster.owner(slot, None)?))
    }
}

async fn start(replicas: u32) -> Result<Parts> {
    let cluster = Cluster::start(&config::valkey()?, NODE_TIMEOUT)?;
    let options = Options {
        leases: true,
        counters: Counters::Redis,
        redis_of_test: Some((cluster.url(), replicas)),
        ..Options::default()
    };
    let stack = Stack::start_with(options).await?;
    let limits = Limits { included: Some(INCLUDED), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "clustered", limits).await?;
    Ok(Parts { stack, project, cluster })
}

/// Waits until clients are told to come again.
async fn refused(project: &Project) -> Result<()> {
    let refused = eventually("clients are told to come again", WAIT_MAX, async || {
        let answer = project.quota().await?;
        Ok((answer.status == 503).then_some(answer))
    });
    ensure!(refused.await?.header("retry-after").is_some(), "no Retry-After");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn homes_on_every_server_are_decided_for_told_of_and_billed_to_the_unit() -> Result<()> {
    let Parts { stack, project, cluster } = start(1).await?;
    let checked = stack.meter(&["redis", "check"])?;
    ensure!(checked.contains("each slot of the cluster has a server"), "{checked}");
    ensure!(checked.matches("it is a primary").count() == 3, "{checked}");
    // Their names are so that each server has some.
    let mut projects = vec![project];
    for name in NAMES {
        projects.push(Project::ready(&stack, name, Limits::COMMUNITY_FAST).await?);
    }
    let mut owners = Vec::new();
    for (number, project) in projects.iter().enumerate() {
        for _ in 0..=number {
            let answer = project.call(Kind::Verify, "bot").send(stack.edge()).await?;
            ensure!(answer.status == 200, "{}: {}", project.id, answer.text());
        }
        let (_, slot) = cluster.key(&format!("*:home:{}/live", project.id))?;
        owners.push(cluster.owner(slot, None)?);
    }
    owners.sort();
    owners.dedup();
    ensure!(owners.len() == 3, "homes are on {owners:?} alone");
    for (number, project) in (1..).zip(&projects) {
        let reported = eventually("the books have all of it", WAIT_MAX, async || {
            let quota: Value = project.quota().await?.ok()?;
            let usage = project.usage(&stack).await?;
            Ok((quota["used"] == usage.total && usage.total >= number).then_some(usage.total))
        });
        assert_eq!(reported.await?, number, "{}", project.id);
        // What is changed arrives in each home.
        project.set(&stack, "--included", "1")?;
        eventually("the new limit", WAIT_MAX, async || {
            let answer = project.verify().await?;
            Ok((answer.status == 402).then_some(()))
        })
        .await?;
    }
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_moved_under_load_costs_no_more_than_the_escrow() -> Result<()> {
    let parts = start(1).await?;
    let load = Load::start(parts.stack.edge(), &parts.project.key, CLIENTS);
    goes_on(&load).await?;
    let slot = parts.slot()?;
    let to = parts.cluster.another(slot)?;
    // Keys that are still there are served there, and those that are gone where they went.
    block_in_place(|| parts.cluster.begin_move(slot, to))?;
    goes_on(&load).await?;
    ensure!(block_in_place(|| parts.cluster.carry(slot, to))? > 0, "there were no keys");
    goes_on(&load).await?;
    block_in_place(|| parts.cluster.end_move(slot, to))?;
    goes_on(&load).await?;
    ensure!(parts.cluster.owner(slot, None)? == to, "it was not moved");
    ends_exactly(parts.stack, &parts.project, load, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_of_a_cluster_that_is_killed_costs_no_more_than_the_escrow() -> Result<()> {
    let mut parts = start(0).await?;
    let load = Load::start(parts.stack.edge(), &parts.project.key, CLIENTS);
    goes_on(&load).await?;
    let (slot, before) = parts.place()?;
    parts.cluster.at(before)?.kill()?;
    block_in_place(|| parts.cluster.wait_for_another(slot, before))?;
    goes_on(&load).await?;
    ends_exactly(parts.stack, &parts.project, load, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_of_a_cluster_that_stood_still_and_was_given_up_counts_nothing_twice() -> Result<()> {
    let mut parts = start(0).await?;
    let load = Load::start(parts.stack.edge(), &parts.project.key, CLIENTS);
    goes_on(&load).await?;
    let (slot, before) = parts.place()?;
    parts.cluster.at(before)?.stand_still()?;
    refused(&parts.project).await?;
    block_in_place(|| parts.cluster.wait_for_another(slot, before))?;
    // Isolates and aggregators have found the other one by then.
    goes_on(&load).await?;
    parts.cluster.at(before)?.go_on()?;
    goes_on(&load).await?;
    ends_exactly(parts.stack, &parts.project, load, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_of_a_cluster_that_goes_on_at_once_when_it_is_given_up_counts_nothing_twice() -> Result<()>
{
    let mut parts = start(0).await?;
    let load = Load::start(parts.stack.edge(), &parts.project.key, CLIENTS);
    goes_on(&load).await?;
    let (slot, before) = parts.place()?;
    parts.cluster.at(before)?.stand_still()?;
    block_in_place(|| parts.cluster.wait_for_another(slot, before))?;
    // It has clients still, and does not know yet that it was given up.
    parts.cluster.at(before)?.go_on()?;
    goes_on(&load).await?;
    ends_exactly(parts.stack, &parts.project, load, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_no_server_has_is_said_and_work_goes_on_once_one_has_it() -> Result<()> {
    let parts = start(1).await?;
    let load = Load::start(parts.stack.edge(), &parts.project.key, CLIENTS);
    goes_on(&load).await?;
    let (slot, owner) = parts.place()?;
    block_in_place(|| parts.cluster.drop_slot(slot))?;
    refused(&parts.project).await?;
    let told = parts.stack.meter(&["redis", "check"]).err().context("a slot is missing")?;
    ensure!(format!("{told:#}").contains(&format!("has slots {slot}-{slot}: ")), "{told:#}");
    block_in_place(|| parts.cluster.give_slot(slot, owner))?;
    goes_on(&load).await?;
    ends_exactly(parts.stack, &parts.project, load, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_a_cluster_that_are_gone_are_passed_over_and_one_alone_is_not_taken_for_all() -> Result<()>
{
    let mut parts = start(0).await?;
    let (_, owner) = parts.place()?;
    // A fail-over of another primary costs this project nothing.
    let other = parts.cluster.another(parts.slot()?)?;
    let others = parts.cluster.slot_of(other)?;
    let load = Load::start(parts.stack.edge(), &parts.project.key, CLIENTS);
    parts.cluster.at(other)?.kill()?;
    goes_on(&load).await?;
    ensure!(parts.place()?.1 == owner, "the home is where it was");
    block_in_place(|| parts.cluster.wait_for_another(others, other))?;
    // Of those that are named one is gone.
    let checked = parts.stack.meter(&["redis", "check"])?;
    ensure!(checked.matches("it is a primary").count() == 3, "{checked}");
    let alone = format!("redis://{owner}");
    let error = parts.stack.meter_with(&["redis", "check"], &[("REDIS_URL", &alone)]).err();
    let error = format!("{:#}", error.context("one is not all")?);
    ensure!(error.contains("separated by commas"), "{error}");
    ends_exactly(parts.stack, &parts.project, load, 0).await
}
