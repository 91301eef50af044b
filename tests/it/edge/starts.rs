//! How an aggregator starts where nobody answers whom REDIS_URL names: what may pass by itself is waited for and said, and
//! whoever waited in vain is told what to do.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kit::cluster::Cluster;
use kit::redis::{LASTING, Redis};
use kit::watched::Watched;
use tests::config;
use tests::stack::{Counters, Options, Part, Stack};
use tokio::task::block_in_place;

/// After so long without an answer a primary is given up.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(3);
const WAITS: &str = "waits for the Redis since";
const NOBODY: &str = "Connection refused";

/// A meter of which nothing runs yet.
async fn stack(url: String) -> Result<Stack> {
    let options = Options {
        leases: true,
        counters: Counters::Redis,
        redis_of_test: Some((url, 0)),
        later: vec![Part::Aggregator, Part::Edge, Part::Upstream],
        ..Options::default()
    };
    Stack::start_with(options).await
}

/// Starts the aggregator, which waits first.
async fn starts_after_waiting(mut stack: Stack) -> Result<()> {
    stack.begin(&[Part::Aggregator]).await?;
    let log = stack.log(Part::Aggregator)?;
    ensure!(log.contains(WAITS), "it has not waited: {log}");
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_said_once_with_what_to_do_and_waited_for_no_longer_than_is_said() -> Result<()> {
    let stack = stack(format!("redis://{}", kit::ports::free()?)).await?;
    let said = |words: &[&str]| {
        let error = block_in_place(|| stack.meter(words)).err().context("there is a server")?;
        let text = format!("{error:#}");
        let last = text.lines().rfind(|line| line.contains("cannot be asked")).unwrap_or_default();
        ensure!(last.matches(NOBODY).count() == 1, "{text}");
        ensure!(last.ends_with("start the server, or let REDIS_URL name where it listens"), "{last}");
        anyhow::Ok(text)
    };
    ensure!(!said(&["redis", "check"])?.contains(WAITS), "a check says how it is now");
    let text = said(&["serve"])?;
    ensure!(text.matches(WAITS).count() >= 6 && text.contains("waited 60 s for the Redis"), "{text}");
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_later_is_waited_for() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("meter-later-{}", std::process::id()));
    let mut redis = Redis::start(&config::valkey()?, &folder, &LASTING)?;
    redis.kill()?;
    let stack = stack(redis.url()).await?;
    let log = stack.scratch().join("aggregator.log");
    let comes = thread::spawn(move || {
        while !std::fs::read_to_string(&log).is_ok_and(|log| log.contains(WAITS)) {
            thread::sleep(Duration::from_millis(20));
        }
        redis.begin().map(|()| redis)
    });
    starts_after_waiting(stack).await?;
    drop(comes.join().ok().context("it has not come")??);
    Ok(std::fs::remove_dir_all(folder)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fail_over_of_sentinels_is_waited_for() -> Result<()> {
    let mut watched = Watched::start(&config::valkey()?, GIVEN_UP_AFTER)?;
    let stack = stack(watched.url()).await?;
    let primary = watched.primary()?;
    watched.at(primary)?.kill()?;
    starts_after_waiting(stack).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fail_over_of_a_cluster_is_waited_for() -> Result<()> {
    let mut cluster = Cluster::start(&config::valkey()?, GIVEN_UP_AFTER)?;
    let stack = stack(cluster.url()).await?;
    let primary = cluster.owner(0, None)?;
    cluster.at(primary)?.kill()?;
    starts_after_waiting(stack).await
}
