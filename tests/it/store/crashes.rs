//! `kill -9` of aggregators and of Postgres at random while flushes come in: nothing that was acknowledged is
//! lost, and every ledger balances. `cargo xtask soak kills` runs it for a minute each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::client::Call;
use tests::poll::eventually;
use tests::postgres::Postgres;
use tests::servers::{Servers, Signer};
use tests::{chance, clock, config};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long it runs within the suite.
const SECONDS: u64 = 12;

/// How many times that it goes on where a busy machine has done too little.
const PATIENCE: u64 = 10;

const HOMES: u64 = 8;
const WITHIN: Duration = Duration::from_secs(60);

/// What all homes do together.
#[derive(Debug, Default)]
struct Work {
    /// Whether they are to stop.
    over: AtomicBool,
    /// How many flushes were acknowledged.
    acks: AtomicU64,
}

/// What one home was told.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// The units of its last flush that was acknowledged.
    acknowledged: u64,
    /// The units of the last that it sent.
    sent: u64,
}

/// Flushes a growing cell to whichever server answers, again until it is acknowledged, until told to stop.
async fn home(number: u64, signer: Signer, to: Vec<SocketAddr>, work: Arc<Work>) -> Result<Told> {
    let mut told = Told::default();
    let mut servers = to.into_iter().cycle().skip(usize::try_from(number)?);
    while !work.over.load(Ordering::SeqCst) {
        let units = told.acknowledged + 1;
        told.sent = units;
        let server = servers.next().context("there are servers")?;
        match signer.flush(&flush_of(number, units))?.send(server).await {
            Ok(answer) if answer.status == 200 => {
                told.acknowledged = units;
                work.acks.fetch_add(1, Ordering::SeqCst);
            }
            // Cells are cumulative: the same flush again changes nothing, whatever became of the first.
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    Ok(told)
}

fn flush_of(home: u64, units: u64) -> String {
    let day = clock::now().day().to_string();
    serde_json::json!({
        "project": "demo", "mode": "live", "source": "home", "incarnation": format!("aaaaaaa{home}"), "seq": units,
        "cells": [{"day": day, "kind": "verify", "agent": format!("home-{home}"), "units": units}],
    })
    .to_string()
}

/// Kills until the time is over and enough was done; says how often it killed an aggregator and how often Postgres.
async fn kill_at_random(
    servers: &mut Servers,
    count: usize,
    mut postgres: Option<&mut Postgres>,
    (seconds, work): (u64, &Work),
) -> Result<[u64; 2]> {
    let mut kills = [0, 0];
    let begun = Instant::now();
    let lasts = |times: u64| begun.elapsed() < Duration::from_secs(seconds * times);
    let enough = |[of_aggregators, of_postgres]: [u64; 2], has_postgres: bool| {
        let kills = seconds.div_euclid(6);
        work.acks.load(Ordering::SeqCst) > seconds * 5
            && of_aggregators >= kills
            && (!has_postgres || of_postgres >= kills.div_euclid(2))
    };
    while lasts(1) || (lasts(PATIENCE) && !enough(kills, postgres.is_some())) {
        tokio::time::sleep(chance::between_ms(300, 1_200)?).await;
        let victim = usize::try_from(chance::between_ms(0, 2)?.as_millis())?;
        match &mut postgres {
            Some(postgres) if victim == count => {
                postgres.kill()?;
                postgres.begin().await?;
                kills[1] += 1;
            }
            Some(_) | None => {
                let victim = victim.min(count - 1);
                servers.kill(victim)?;
                servers.launch(victim)?;
                kills[0] += 1;
            }
        }
        for index in 0..count {
            servers.ready(index).await?;
        }
    }
    ensure!(enough(kills, postgres.is_some()), "too little was done: {work:?}, kills {kills:?}");
    Ok(kills)
}

async fn survives(mut postgres: Option<Postgres>) -> Result<()> {
    let seconds = config::soak_seconds(SECONDS)?;
    clock::with_seconds_of_day(seconds * PATIENCE + 120).await;
    let database = postgres.as_ref().map(|postgres| postgres.create("books")).transpose()?;
    let mut servers = Servers::on(database, None)?;
    // A file of SQLite has one server at a time.
    let mut to = vec![servers.add().await?];
    if postgres.is_some() {
        to.push(servers.add().await?);
    }
    let token = servers.project("demo", 1_000)?;
    let work = Arc::new(Work::default());
    let mut homes = JoinSet::new();
    for number in 0..HOMES {
        let (signer, to, work) = (servers.signer()?, to.clone(), Arc::clone(&work));
        homes.spawn(async move { (number, home(number, signer, to, work).await) });
    }
    let [of_aggregators, of_postgres] =
        kill_at_random(&mut servers, to.len(), postgres.as_mut(), (seconds, &work)).await?;
    work.over.store(true, Ordering::SeqCst);
    for (number, told) in homes.join_all().await {
        let told = told?;
        let path = "/api/v1/usage?project=demo&group_by=agent";
        let day = clock::now().day();
        let report: Value =
            Call::get(&format!("{path}&from={day}&to={day}")).bearer(&token).send(to[0]).await?.ok()?;
        let agent = format!("home-{number}");
        let groups = report["groups"].as_array().context("no groups")?;
        let stored = groups.iter().find(|group| group["key"] == agent.as_str()).map(|group| &group["units"]);
        let stored = stored.and_then(Value::as_u64).with_context(|| format!("no {agent} in {report}"))?;
        ensure!(stored >= told.acknowledged, "{agent}: {told:?}, but the books have {stored}");
        ensure!(stored <= told.sent, "{agent}: {told:?}, but the books have {stored}");
    }
    // A server that starts audits every ledger first.
    servers.kill(0)?;
    let before = servers.logs()?.matches("the ledgers were audited").count();
    servers.launch(0)?;
    servers.ready(0).await?;
    eventually("an audit", WITHIN, async || {
        Ok((servers.logs()?.matches("the ledgers were audited").count() > before).then_some(()))
    })
    .await?;
    let logs = servers.logs()?;
    ensure!(!logs.contains("does not balance") && !logs.contains("panicked"), "{logs}");
    let acks = work.acks.load(Ordering::SeqCst);
    eprintln!(
        "{acks} flushes acknowledged through {of_aggregators} kills of aggregators and {of_postgres} of Postgres"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_through_kills_of_aggregators_and_of_postgres() -> Result<()> {
    survives(Some(Postgres::start().await?)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_through_kills_of_aggregators_on_sqlite() -> Result<()> {
    survives(None).await
}
