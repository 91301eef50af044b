//! Two aggregators on one Postgres do every piece of work once.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use shared::time::Timestamp;
use tests::client::Call;
use tests::clock;
use tests::poll::eventually;
use tests::postgres::Postgres;
use tests::receiver::Receiver;
use tests::servers::Servers;
use tests::stand_in::StandIn;

const WITHIN: Duration = Duration::from_secs(60);

async fn two_servers(postgres: &Postgres, edge: Option<&StandIn>) -> Result<Servers> {
    let mut servers = Servers::on(Some(postgres.create("books")?), edge.map(StandIn::address))?;
    servers.add().await?;
    servers.add().await?;
    Ok(servers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_postgres_push_each_policy_once() -> Result<()> {
    const PROJECTS: usize = 12;
    let (postgres, edge) = (Postgres::start().await?, StandIn::start().await?);
    let servers = two_servers(&postgres, Some(&edge)).await?;
    let reaches = async |count: usize| {
        eventually("the pushes", WITHIN, async || Ok((edge.seen().len() >= count).then_some(()))).await
    };
    // Commands are waited for aside: whoever stands in for the edge answers meanwhile.
    let create =
        |id: &str| tokio::task::block_in_place(|| servers.meter(&["project", "create", id, "--plan", "pro"]));
    for number in 0..PROJECTS {
        create(&format!("p{number}"))?;
    }
    reaches(PROJECTS).await?;
    // What is made last is pushed last: a second push of the others would have come before it.
    create("last")?;
    reaches(PROJECTS + 1).await?;
    // On a busy machine an answer may come too late: that push, and no other, is sent again.
    eventually("a push each, and one more for each that was not answered in time", WITHIN, async || {
        let logs = servers.logs()?;
        let failed = logs.lines().filter(|line| line.contains("the policy did not reach the edge")).count();
        Ok((edge.seen().len() == PROJECTS + 1 + failed).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_postgres_close_each_month_once() -> Result<()> {
    const PROJECTS: usize = 12;
    let postgres = Postgres::start().await?;
    let servers = two_servers(&postgres, None).await?;
    for number in 0..PROJECTS {
        servers.meter(&["project", "create", &format!("p{number}"), "--plan", "pro"])?;
    }
    let period = clock::now().period().to_string();
    // Into the month after next, so that this month is due to be closed.
    servers.meter(&["clock", "advance", "70d"])?;
    for number in 0..PROJECTS {
        let project = format!("p{number}");
        let words = ["statement", "--project", &project, "--period", &period, "--json"];
        eventually("the month's close", WITHIN, async || {
            let statement: Value = serde_json::from_str(&servers.meter(&words)?)?;
            Ok((statement.get("provisional") == Some(&Value::Bool(false))).then_some(()))
        })
        .await?;
    }
    let logs = servers.logs()?;
    let closes: Vec<&str> =
        logs.lines().filter_map(|line| line.split_once("period closed").map(|(_, what)| what)).collect();
    let distinct: BTreeSet<&str> = closes.iter().copied().collect();
    ensure!(closes.len() >= PROJECTS && closes.len() == distinct.len(), "a month closed twice: {closes:?}");
    ensure!(!logs.contains("ERROR"), "{logs}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushes_to_two_servers_on_one_postgres_add_up_and_cross_each_level_once() -> Result<()> {
    const HOMES: u64 = 6;
    const FLUSHES: u64 = 20;
    let postgres = Postgres::start().await?;
    let mut servers = Servers::on(Some(postgres.create("books")?), None)?;
    let addresses = [servers.add().await?, servers.add().await?];
    let token = servers.project("demo", HOMES * FLUSHES)?;
    let mut homes = tokio::task::JoinSet::new();
    for home in 0..HOMES {
        let mut flushes = Vec::new();
        for seq in 1..=FLUSHES {
            flushes.push(servers.signer()?.flush(&flush_of(home, seq))?);
        }
        homes.spawn(async move {
            for (flush, to) in flushes.into_iter().zip(addresses.into_iter().cycle()) {
                let answer = flush.send(to).await?;
                ensure!(answer.status == 200, "{}", answer.text());
            }
            anyhow::Ok(())
        });
    }
    for home in homes.join_all().await {
        home?;
    }
    let mut crossings = 0.0;
    for address in addresses {
        let metrics = Call::get("/metrics").send(address).await?.text();
        let line = metrics.lines().find_map(|line| line.strip_prefix("meter_crossings_total "));
        crossings += line.unwrap_or("0").parse::<f64>()?;
        let plan: Value =
            Call::get("/api/v1/billing/plan?project=demo").bearer(&token).send(address).await?.ok()?;
        assert_eq!(plan["used"], HOMES * FLUSHES, "{plan}");
        let levels: Vec<_> =
            plan["crossings"].as_array().into_iter().flatten().map(|one| one["percent"].clone()).collect();
        assert_eq!(levels, [80, 100], "{plan}");
    }
    assert!((crossings - 2.0).abs() < 0.5, "{crossings} crossings fired");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_postgres_deliver_each_event_once() -> Result<()> {
    const PROJECTS: u64 = 8;
    let (postgres, receiver) = (Postgres::start().await?, Receiver::start().await?);
    let mut servers = Servers::on(Some(postgres.create("books")?), None)?;
    let addresses = [servers.add().await?, servers.add().await?];
    for project in 0..PROJECTS {
        let id = format!("p{project}");
        servers.project(&id, 10)?;
        let event = ["--event", "usage.threshold_reached"];
        let words = ["webhooks", "create", "--project", &id, "--url", &receiver.url()];
        servers.meter(&[&words[..], &event].concat())?;
    }
    let mut homes = tokio::task::JoinSet::new();
    for project in 0..PROJECTS {
        for (address, units) in addresses.into_iter().zip([8, 10]) {
            let body = flush_of(0, units).replace("demo", &format!("p{project}"));
            let flush = servers.signer()?.flush(&body)?;
            homes.spawn(async move { anyhow::Ok(flush.send(address).await?.status) });
        }
    }
    for status in homes.join_all().await {
        ensure!(status? == 200, "a flush was not taken");
    }
    let expected = usize::try_from(2 * PROJECTS)?;
    let all = eventually("the deliveries", WITHIN, async || {
        Ok((receiver.kept().len() >= expected).then(|| receiver.received()))
    })
    .await?;
    // What is told last is delivered last: a second delivery of the others would have come before it.
    servers.project("last", 10)?;
    servers.meter(&["webhooks", "create", "--project", "last", "--url", &receiver.url()])?;
    let flush = servers.signer()?.flush(&flush_of(0, 9).replace("demo", "last"))?;
    ensure!(flush.send(addresses[0]).await?.status == 200, "the last flush was not taken");
    eventually("the last delivery", WITHIN, async || {
        Ok(receiver.received().iter().any(|one| one.body.contains("\"last\"")).then_some(()))
    })
    .await?;
    let distinct = receiver.kept().len();
    ensure!(receiver.received().len() == distinct, "{distinct} events, and {all:?}");
    ensure!(all.len() == expected, "{all:?}");
    Ok(())
}

/// A home's cumulative cell after that many flushes.
fn flush_of(home: u64, seq: u64) -> String {
    serde_json::json!({
        "project": "demo", "mode": "live", "source": "home", "incarnation": format!("aaaaaaa{home}"), "seq": seq,
        "cells": [{"day": clock::now().day().to_string(), "kind": "verify", "agent": "bot", "units": seq}],
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_moves_the_clock_finds_every_server_moved_and_waits_for_none_that_was_killed() -> Result<()> {
    const DAY_MS: u64 = 86_400_000;
    let postgres = Postgres::start().await?;
    let mut servers = Servers::on(Some(postgres.create("books")?), None)?;
    let living = [servers.add().await?, servers.add().await?];
    servers.add().await?;
    servers.kill(2)?;
    let made: Value = serde_json::from_str(&servers.meter(&["token", "create", "--operator", "--json"])?)?;
    let token = made.get("token").and_then(Value::as_str).context("a token")?.to_owned();
    let all_moved = async |days: u64| -> Result<()> {
        for server in living {
            let answer = Call::get("/api/v1/admin/clock").bearer(&token).send(server).await?;
            let seen: Value = answer.ok()?;
            let now = seen.get("now").and_then(Value::as_str).and_then(Timestamp::parse);
            let ahead_ms = now.context("an instant")?.ms_since(clock::now());
            ensure!(ahead_ms + 60_000 > days * DAY_MS, "{server} after {days} days: {seen}");
        }
        Ok(())
    };
    for days in 1..=3 {
        servers.meter(&["clock", "advance", "1d"])?;
        all_moved(days).await?;
    }
    let [first, _] = living;
    let advance = Call::post("/api/v1/admin/clock", r#"{"advance":"1d"}"#).json().bearer(&token);
    ensure!(advance.send(first).await?.status == 200, "moved over HTTP");
    all_moved(4).await
}
