//! The aggregator's memory at full rate: it must be as large at the end as it was after the first minutes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::postgres::Postgres;
use tests::servers::Servers;

use crate::ours::Load;

/// Pieces of the run; the first two are the warming up.
const PIECES: u64 = 20;

/// What an allocator may keep at times, beside what we need.
const SLACK_KIB: u64 = 32 * 1_024;

/// Runs half of the time on each database.
pub(crate) async fn run(seconds: u64) -> Result<()> {
    let half = seconds.div_euclid(2);
    watch("sqlite", None, half).await?;
    let postgres = Postgres::start_on_disk().await?;
    watch("postgres", Some(postgres.create("books")?), half).await
}

async fn watch(name: &str, database: Option<String>, seconds: u64) -> Result<()> {
    let mut servers = Servers::on(database, None)?;
    let address = servers.add().await?;
    let process = servers.pid(0).context("it runs")?;
    let load = Load::prepare(&servers, &[address]).await?;
    let (mut rates, mut sizes) = (Vec::new(), Vec::new());
    for _ in 0..PIECES {
        rates.push(load.run(seconds.div_euclid(PIECES).max(1)).await?);
        sizes.push(memory(process, "VmRSS")?);
    }
    let peak = memory(process, "VmHWM")?;
    let early = sizes.iter().take(4).skip(2).max().copied().unwrap_or_default();
    let late = sizes.iter().rev().take(4).max().copied().unwrap_or_default();
    let rate = rates.iter().sum::<f64>() / rates.len() as f64;
    let ran = Duration::from_secs(seconds);
    println!(
        "{name:9} {ran:?} at {rate:.0} cells/s: {early} KiB after warming up, {late} KiB at the end, peak {peak} KiB"
    );
    ensure!(late <= early + SLACK_KIB, "the aggregator's memory grows: {sizes:?} KiB");
    Ok(())
}

/// A line of the process's status, in KiB.
fn memory(process: u32, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()).context("no such line")?;
    Ok(number.parse()?)
}
