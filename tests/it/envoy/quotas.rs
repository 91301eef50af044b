//! Envoy with quotas that it is handed ahead: how exact that is, and what is lost where a part is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use shared::time::Timestamp;
use tests::client::{Call, Connection};
use tests::clock;
use tests::envoy::Envoy;
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::Stack;
use tests::stand_in::StandIn;
use tokio::task::JoinSet;

use super::{call, ended, stack};

const CONFIGURATION: &str = "envoy-quota.yaml";
/// How long a quota may take to be used up, and to be reported, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// A stack, a service, and that many Envoys in front of it, each with a meter of its own.
async fn fleet(size: usize) -> Result<(Stack, StandIn, Vec<Envoy>)> {
    let (stack, service) = (stack().await?, StandIn::silent().await?);
    let mut envoys = Vec::new();
    for _ in 0..size {
        envoys.push(Envoy::start(&stack, CONFIGURATION, service.address()).await?);
    }
    Ok((stack, service, envoys))
}

fn since(began: Timestamp) -> Duration {
    Duration::from_millis(clock::now().ms_since(began))
}

fn finish(stack: Stack, envoys: Vec<Envoy>) -> Result<()> {
    for envoy in envoys {
        envoy.finish()?;
    }
    stack.finish()
}

/// Those that send until they are told to stop.
#[derive(Debug, Default)]
struct Crowd {
    allowed: AtomicU64,
    denied: AtomicU64,
    stop: AtomicBool,
}

impl Crowd {
    fn allowed(&self) -> u64 {
        self.allowed.load(Ordering::SeqCst)
    }

    async fn client(&self, at: SocketAddr, key: &str, agent: &str) -> Result<()> {
        let mut connection = Connection::open(at).await?;
        while !self.stop.load(Ordering::SeqCst) {
            match connection.send(&call(key, agent)).await?.status {
                200 => self.allowed.fetch_add(1, Ordering::SeqCst),
                429 => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    // Envoy denies before it has read the body, and closes.
                    connection = Connection::open(at).await?;
                    self.denied.fetch_add(1, Ordering::SeqCst)
                }
                other => anyhow::bail!("got {other}"),
            };
        }
        Ok(())
    }

    /// Starts that many clients of each Envoy.
    fn begin(self: &Arc<Self>, clients: usize, of: &[Envoy], key: &str) -> JoinSet<Result<()>> {
        let mut all = JoinSet::new();
        for envoy in of {
            for number in 0..clients {
                let (crowd, key, at) = (Arc::clone(self), key.to_owned(), envoy.address());
                all.spawn(async move { crowd.client(at, &key, &format!("agent-{}", number % 4)).await });
            }
        }
        all
    }

    async fn stop(&self, clients: JoinSet<Result<()>>) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        ended(clients).await
    }
}

fn reached(service: &StandIn) -> Result<u64> {
    Ok(u64::try_from(service.seen().iter().filter(|head| head.uri.path() == "/v1/verify").count())?)
}

/// One of the numbers of `meter_envoy_quota_units_total`.
async fn units(envoy: &Envoy, what: &str) -> Result<u64> {
    let (text, name) = (envoy.metrics().await?, format!("meter_envoy_quota_units_total{{what=\"{what}\"}} "));
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    Ok(line.map(str::parse).transpose()?.unwrap_or_default())
}

/// The home's numbers: used, left, forfeited.
async fn numbers(project: &Project) -> Result<[u64; 3]> {
    let quota: Value = project.quota().await?.ok()?;
    let number = |name: &str| quota.get(name).and_then(Value::as_u64).unwrap_or_default();
    Ok([number("used"), number("remaining"), number("forfeited")])
}

async fn is_served(envoy: &Envoy, project: &Project) -> Result<()> {
    eventually("it is served", PATIENCE, async || {
        Ok((call(&project.key, "bot").send(envoy.address()).await?.status == 200).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_hard_stop_under_many_clients_of_two_envoys_is_reached_to_the_unit_and_billed_to_the_unit()
-> Result<()> {
    let (stack, service, envoys) = fleet(2).await?;
    let project = Project::ready(&stack, "stop", Limits::COMMUNITY_FAST).await?;
    let (crowd, began) = (Arc::new(Crowd::default()), clock::now());
    let clients = crowd.begin(16, &envoys, &project.key);
    eventually("all of it is served", PATIENCE, async || Ok((crowd.allowed() >= 1_000).then_some(())))
        .await?;
    let took = since(began);
    // Whoever would be served beyond it has time to be.
    tokio::time::sleep(Duration::from_secs(12)).await;
    crowd.stop(clients).await?;
    assert_eq!(crowd.allowed(), 1_000, "{crowd:?}");
    assert_eq!(reached(&service)?, 1_000, "the service has seen what was allowed");
    project.reports_within(&stack, 1_000, PATIENCE).await?;
    let denied = crowd.denied.load(Ordering::SeqCst);
    eprintln!("1,000 units by two Envoys in {took:?}, {denied} denied meanwhile and after");
    finish(stack, envoys)
}

#[tokio::test]
async fn a_small_quota_is_served_to_the_end_wherever_it_lay() -> Result<()> {
    let (stack, service, envoys) = fleet(2).await?;
    let project =
        Project::ready(&stack, "small", Limits { included: Some(30), ..Limits::COMMUNITY_FAST }).await?;
    // One Envoy has ten of them, and nobody asks it again.
    is_served(&envoys[0], &project).await?;
    let (crowd, began) = (Arc::new(Crowd::default()), clock::now());
    let clients = crowd.begin(2, &envoys[1..], &project.key);
    eventually("all of it is served", PATIENCE, async || Ok((reached(&service)? >= 30).then_some(())))
        .await?;
    let took = since(began);
    tokio::time::sleep(Duration::from_secs(12)).await;
    crowd.stop(clients).await?;
    assert_eq!(reached(&service)?, 30);
    project.reports_within(&stack, 30, PATIENCE).await?;
    eprintln!("30 units, of which another Envoy had ten, in {took:?}");
    finish(stack, envoys)
}

#[tokio::test]
async fn the_minute_is_kept() -> Result<()> {
    let (stack, service, envoys) = fleet(1).await?;
    let limits = Limits { rpm: Some(60), included: Some(10_000), ..Limits::COMMUNITY };
    let project = Project::ready(&stack, "minute", limits).await?;
    clock::with_seconds_of_minute(45).await;
    let crowd = Arc::new(Crowd::default());
    let clients = crowd.begin(8, &envoys, &project.key);
    tokio::time::sleep(Duration::from_secs(25)).await;
    crowd.stop(clients).await?;
    let served = reached(&service)?;
    // What one bucket gave back may not find another that asks within the minute.
    ensure!((40..=60).contains(&served), "{crowd:?}");
    project.reports_within(&stack, served, PATIENCE).await?;
    eprintln!("{served} of 60 a minute");
    finish(stack, envoys)
}

#[tokio::test]
async fn whoever_has_no_key_of_ours_is_denied_and_who_is_suspended_is_within_seconds() -> Result<()> {
    let (stack, service, envoys) = fleet(1).await?;
    let project = Project::ready(&stack, "keys", Limits::WIDE).await?;
    let envoy = &envoys[0];
    for _ in 0..3 {
        for key in ["pk_live_keys", "x"] {
            assert_eq!(call(key, "bot").send(envoy.address()).await?.status, 429, "{key}");
        }
        assert_eq!(Call::get("/v1/verify").send(envoy.address()).await?.status, 429);
        // An agent's name that is none of ours.
        assert_eq!(call(&project.key, "~other").send(envoy.address()).await?.status, 429);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(reached(&service)?, 0);
    // One that names no agent has a bucket of its own.
    eventually("it is served", PATIENCE, async || {
        let nobody = Call::post("/v1/verify", "{}").json().bearer(&project.key);
        Ok((nobody.send(envoy.address()).await?.status == 200).then_some(()))
    })
    .await?;
    is_served(envoy, &project).await?;
    assert!(service.seen().iter().all(|head| !head.headers.contains_key("authorization")), "the key stays");
    let crowd = Arc::new(Crowd::default());
    let clients = crowd.begin(4, &envoys, &project.key);
    eventually("many are served", PATIENCE, async || Ok((crowd.allowed() > 100).then_some(()))).await?;
    project.set(&stack, "--suspended", "true")?;
    let began = clock::now();
    let mut last = (crowd.allowed(), clock::now());
    eventually("nobody is served any more", PATIENCE, async || {
        if crowd.allowed() > last.0 {
            last = (crowd.allowed(), clock::now());
        }
        Ok((since(last.1) > Duration::from_secs(12)).then_some(()))
    })
    .await?;
    let took = Duration::from_millis(last.1.ms_since(began));
    crowd.stop(clients).await?;
    ensure!(took < Duration::from_secs(25), "{took:?}");
    eprintln!("a suspended project was served for {took:?} more");
    project.reports_within(&stack, reached(&service)?, PATIENCE).await?;
    finish(stack, envoys)
}

#[tokio::test]
async fn a_killed_envoy_burns_what_it_had_not_reported_and_nobody_is_billed_for_it() -> Result<()> {
    let (stack, service, mut envoys) = fleet(2).await?;
    let project = Project::ready(&stack, "dead", Limits::COMMUNITY_FAST).await?;
    let crowd = Arc::new(Crowd::default());
    let mut clients = crowd.begin(8, &envoys[..1], &project.key);
    eventually("many are served", PATIENCE, async || Ok((crowd.allowed() > 100).then_some(()))).await?;
    envoys[0].kill_envoy()?;
    // Their connections break.
    while clients.join_next().await.is_some() {}
    let crowd = Arc::new(Crowd::default());
    let clients = crowd.begin(8, &envoys[1..], &project.key);
    let left = async || {
        let mut all = 0;
        for envoy in &envoys {
            all += units(envoy, "assigned").await? - units(envoy, "returned").await?;
        }
        Ok((all == 1_000).then_some(()))
    };
    eventually("all of it was assigned", PATIENCE, left).await?;
    let mut last = (0, clock::now());
    eventually("nobody is served any more", PATIENCE, async || {
        if crowd.allowed() > last.0 {
            last = (crowd.allowed(), clock::now());
        }
        Ok((since(last.1) > Duration::from_secs(25)).then_some(()))
    })
    .await?;
    crowd.stop(clients).await?;
    let served = reached(&service)?;
    let mut billed = 0;
    for envoy in &envoys {
        billed += units(envoy, "served").await?;
    }
    ensure!(billed <= served && served <= 1_000, "{billed} billed of {served}");
    project.reports_within(&stack, billed, PATIENCE).await?;
    eprintln!("an Envoy was killed: {served} served, {billed} billed, {} burnt", 1_000 - billed);
    let [dead, alive] = <[Envoy; 2]>::try_from(envoys).map_err(|_| anyhow::anyhow!("two"))?;
    drop(dead);
    alive.finish()?;
    stack.finish()
}

#[tokio::test]
async fn a_killed_meter_burns_what_it_had_assigned_and_nothing_is_served_twice() -> Result<()> {
    let (stack, service, mut envoys) = fleet(1).await?;
    let project = Project::ready(&stack, "killed", Limits::COMMUNITY_FAST).await?;
    let crowd = Arc::new(Crowd::default());
    let clients = crowd.begin(8, &envoys, &project.key);
    for at_least in [100, 300] {
        eventually("some are served", PATIENCE, async || Ok((crowd.allowed() >= at_least).then_some(())))
            .await?;
        envoys[0].kill()?;
        envoys[0].begin().await?;
    }
    let settled = eventually("every unit is used, left or forfeited", PATIENCE, async || {
        let [used, remaining, forfeited] = numbers(&project).await?;
        Ok((remaining == 0 && used + forfeited == 1_000).then_some((used, forfeited)))
    });
    let (used, forfeited) = settled.await?;
    crowd.stop(clients).await?;
    let served = reached(&service)?;
    ensure!(used <= served && served <= 1_000, "billed {used} of {served} served");
    project.reports_within(&stack, used, PATIENCE).await?;
    eprintln!("a meter was killed twice: {served} served, {used} billed, {forfeited} forfeited");
    finish(stack, envoys)
}

#[tokio::test]
async fn a_cut_stream_and_an_envoy_that_stands_still_cost_nobody_a_unit_too_many() -> Result<()> {
    let (stack, service, envoys) = fleet(1).await?;
    let project = Project::ready(&stack, "cut", Limits::COMMUNITY_FAST).await?;
    let crowd = Arc::new(Crowd::default());
    let clients = crowd.begin(8, &envoys, &project.key);
    for at_least in [50, 150, 300] {
        eventually("some are served", PATIENCE, async || Ok((crowd.allowed() >= at_least).then_some(())))
            .await?;
        envoys[0].cut();
    }
    envoys[0].stand_still(Duration::from_secs(12)).await?;
    let mut last = (0, clock::now());
    eventually("nobody is served any more", PATIENCE, async || {
        if crowd.allowed() > last.0 {
            last = (crowd.allowed(), clock::now());
        }
        Ok((since(last.1) > Duration::from_secs(30)).then_some(()))
    })
    .await?;
    crowd.stop(clients).await?;
    let (served, billed) = (reached(&service)?, units(&envoys[0], "served").await?);
    ensure!(billed <= served && served <= 1_000, "{billed} billed of {served}");
    ensure!(billed >= 300, "most of it is billed: {billed}");
    project.reports_within(&stack, billed, PATIENCE).await?;
    let lost = units(&envoys[0], "unassigned").await?;
    eprintln!("cut three times and stood still: {served} served, {billed} billed, {lost} reported too late");
    finish(stack, envoys)
}

#[tokio::test]
async fn a_meter_that_is_told_to_stop_takes_back_what_envoy_has() -> Result<()> {
    let (stack, service, mut envoys) = fleet(1).await?;
    let project = Project::ready(&stack, "stopped", Limits::COMMUNITY_FAST).await?;
    is_served(&envoys[0], &project).await?;
    for _ in 0..3 {
        call(&project.key, "bot").send(envoys[0].address()).await?;
    }
    let status = envoys[0].terminate().await?;
    ensure!(status.success(), "{status}: {}", envoys[0].log());
    let served = reached(&service)?;
    assert_eq!(numbers(&project).await?, [served, 1_000 - served, 0], "{}", envoys[0].log());
    project.reports(&stack, served).await?;
    envoys[0].begin().await?;
    is_served(&envoys[0], &project).await?;
    finish(stack, envoys)
}
