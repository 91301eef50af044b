//! `meter redis`: what the Redis promises that has the homes, and what `meter serve` makes of it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Subcommand;
use redis_rows::Servers;

use super::print::{self, Format};
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::counters::promise::{Promise, Wanted};
use crate::counters::settings::RedisSettings;
use crate::counters::{Counters, CountersError, Judged};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Ask the server about its settings, and say which of them would lose acknowledged units
    Check(Format),
}

/// How long a server that starts, or a fail-over, is waited for: until it is noticed (15 s in a cluster that nobody has
/// set, 30 s with sentinels) and somewhat longer.
const PASSES_MAX: Duration = Duration::from_secs(60);
/// Between two looks at it.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Between two words about it.
const LOOKS_EACH: u64 = 5;

pub(super) async fn run(command: Command, config: &Config) -> anyhow::Result<()> {
    let Command::Check(format) = command;
    let counters = connect(config)?.context(
        "REDIS_URL is not set; accepted is redis://host:port, redis://host:port,host:port for a cluster, or \
                  sentinel://host:port/name",
    )?;
    let settings = settings(config)?;
    let judged = counters.facts().await.map_err(|error| no_entry(settings, &error))?;
    let promises = promises(settings, judged);
    print::result(format, &promises, |promises| {
        promises.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    })?;
    let broken = broken(&promises).len();
    ensure!(broken == 0, "{broken} of these must be changed before homes may be there");
    Ok(())
}

/// Refuses a Redis that has the homes and would lose acknowledged units. What may pass by itself is waited for.
pub(super) async fn require_lasting(config: &Config) -> anyhow::Result<()> {
    let Some(counters) = connect(config)? else { return Ok(()) };
    let settings = settings(config)?;
    let promises = promises(settings, settled(settings, &counters).await?);
    for promise in &promises {
        tracing::info!("the Redis: {promise}");
    }
    let broken = broken(&promises);
    ensure!(
        broken.is_empty(),
        "the Redis that REDIS_URL names may lose what it has acknowledged; REDIS_ACCEPT_LOSS=<units> accepts that:\n{}",
        broken.join("\n")
    );
    Ok(())
}

/// What the servers say of themselves, once nothing of it may pass by itself.
async fn settled(settings: &RedisSettings, counters: &Counters) -> anyhow::Result<Judged> {
    let watch = Stopwatch::start();
    let mut looks = 0_u64;
    loop {
        let judged = counters.facts().await;
        let why = match &judged {
            Ok(judged) => judged.unsettled(wanted(settings)),
            Err(error) => error.may_pass().then(|| error.to_string()),
        };
        let is_over = watch.elapsed() >= PASSES_MAX;
        match (judged, why) {
            (judged, None) => return judged.map_err(|error| no_entry(settings, &error)),
            // What each server says is told.
            (Ok(judged), Some(_)) if is_over => return Ok(judged),
            (Err(error), Some(_)) if is_over => {
                let waited = format!("waited {} s for the Redis", PASSES_MAX.as_secs());
                return Err(no_entry(settings, &error).context(waited));
            }
            (_, Some(why)) if looks.is_multiple_of(LOOKS_EACH) => {
                let (waited, most) = (watch.elapsed().as_secs(), PASSES_MAX.as_secs());
                tracing::warn!("waits for the Redis since {waited} s, for {most} s at most: {why}");
            }
            (_, Some(_)) => {}
        }
        looks = looks.saturating_add(1);
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// Why nothing can be asked, and what to do.
fn no_entry(settings: &RedisSettings, error: &CountersError) -> anyhow::Error {
    let advice = error.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
    anyhow::anyhow!("REDIS_URL: {} cannot be asked: {error}{advice}", settings.address)
}

/// The Redis that has the homes, if one has; nothing is connected yet.
pub(super) fn connect(config: &Config) -> anyhow::Result<Option<Counters>> {
    let Some(redis) = &config.redis else { return Ok(None) };
    let counters = Counters::new(redis);
    Ok(Some(counters.with_context(|| format!("REDIS_URL: {} cannot be used", redis.address))?))
}

fn settings(config: &Config) -> anyhow::Result<&RedisSettings> {
    config.redis.as_ref().context("REDIS_URL is not set")
}

fn wanted(settings: &RedisSettings) -> Wanted {
    let servers = settings.address.servers();
    Wanted {
        loss: settings.accepted_loss,
        replicas: settings.replicas,
        is_watched: !matches!(servers, Servers::One(_)),
        is_cluster: matches!(servers, Servers::Cluster { .. }),
    }
}

fn promises(settings: &RedisSettings, judged: Judged) -> Vec<Promise> {
    let wanted = wanted(settings);
    let mut promises: Vec<Promise> =
        wanted.is_cluster.then(|| Promise::of_slots(&judged.missing)).into_iter().collect();
    for (server, facts) in judged.servers {
        let of_server = match facts {
            Ok(facts) => facts.promises(wanted),
            Err(error) => {
                let advice = error.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
                vec![Promise::Broken(format!("it cannot be asked: {error}{advice}"))]
            }
        };
        promises.extend(of_server.into_iter().map(|promise| promise.of(&server)));
    }
    promises
}

fn broken(promises: &[Promise]) -> Vec<String> {
    let broken = promises.iter().filter(|promise| matches!(promise, Promise::Broken(_)));
    broken.map(ToString::to_string).collect()
}
