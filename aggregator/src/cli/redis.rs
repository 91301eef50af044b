//! `meter redis`: what the Redis promises that has the homes, and what `meter serve` makes of it.

use anyhow::{Context as _, ensure};
use clap::Subcommand;
use redis_rows::Servers;

use super::print::{self, Format};
use crate::config::Config;
use crate::counters::Counters;
use crate::counters::promise::{Promise, Wanted};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Ask the server about its settings, and say which of them would lose acknowledged units
    Check(Format),
}

pub(super) async fn run(command: Command, config: &Config) -> anyhow::Result<()> {
    let Command::Check(format) = command;
    let counters = connect(config)?.context(
        "REDIS_URL is not set; accepted is redis://host:port, redis://host:port,host:port for a cluster, or \
                  sentinel://host:port/name",
    )?;
    let promises = promises(config, &counters).await?;
    print::result(format, &promises, |promises| {
        promises.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    })?;
    let broken = broken(&promises).len();
    ensure!(broken == 0, "{broken} of these must be changed before homes may be there");
    Ok(())
}

/// Refuses a Redis that has the homes and would lose acknowledged units.
pub(super) async fn require_lasting(config: &Config) -> anyhow::Result<()> {
    let Some(counters) = connect(config)? else { return Ok(()) };
    let promises = promises(config, &counters).await?;
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

/// The Redis that has the homes, if one has; nothing is connected yet.
pub(super) fn connect(config: &Config) -> anyhow::Result<Option<Counters>> {
    let Some(redis) = &config.redis else { return Ok(None) };
    let counters = Counters::new(redis);
    Ok(Some(counters.with_context(|| format!("REDIS_URL: {} cannot be used", redis.address))?))
}

async fn promises(config: &Config, counters: &Counters) -> anyhow::Result<Vec<Promise>> {
    let judged = counters.facts().await.with_context(|| match &config.redis {
        Some(redis) => format!("REDIS_URL: {} does not let us in", redis.address),
        None => "REDIS_URL".to_owned(),
    })?;
    let servers = config.redis.as_ref().map(|redis| redis.address.servers());
    let is_cluster = matches!(servers, Some(Servers::Cluster { .. }));
    let wanted = config.redis.as_ref().map(|redis| Wanted {
        loss: redis.accepted_loss,
        replicas: redis.replicas,
        is_watched: !matches!(redis.address.servers(), Servers::One(_)),
        is_cluster,
    });
    let wanted = wanted.unwrap_or_default();
    let mut promises: Vec<Promise> =
        is_cluster.then(|| Promise::of_slots(&judged.missing)).into_iter().collect();
    for (server, facts) in judged.servers {
        let of_server = match facts {
            Ok(facts) => facts.promises(wanted),
            Err(error) => vec![Promise::Broken(format!("it does not let us in: {error}"))],
        };
        promises.extend(of_server.into_iter().map(|promise| promise.of(&server)));
    }
    Ok(promises)
}

fn broken(promises: &[Promise]) -> Vec<String> {
    let broken = promises.iter().filter(|promise| matches!(promise, Promise::Broken(_)));
    broken.map(ToString::to_string).collect()
}
