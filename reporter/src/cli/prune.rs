//! `meter-reporter prune`: removes old reports that have arrived, and keeps what the chain of the rest begins with.
//!
//! It never happens by itself: reports are the proof of what has left.

use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use shared::time::Day;

use super::{folder, print};
use crate::clock::Clock;
use crate::config::Config;
use crate::store::Store;

/// A year of a contract and what is argued about it afterwards: younger reports are kept whatever is said, in days.
const KEPT_DAYS_MIN: u64 = 400;
const DAY_MS: u64 = 86_400_000;

pub(super) async fn run(config: &Config, before: &str, yes: bool) -> anyhow::Result<ExitCode> {
    let before = Day::parse(before)
        .with_context(|| format!("--before: got {before:?}, accepted is a date such as 2026-11-23"))?;
    let age_ms = Clock::default().now().ms_since(before.start());
    ensure!(
        age_ms >= KEPT_DAYS_MIN.saturating_mul(DAY_MS),
        "--before: got {before}, accepted are days at least {KEPT_DAYS_MIN} days ago: younger reports are kept"
    );
    let Some(_lock) = folder::take(&config.data)? else {
        bail!("the reporter runs: stop it first, so that nobody else writes to the folder");
    };
    // The folder is made by counting, never by this.
    drop(Store::look(&config.data).await?);
    let mut store = Store::open(&config.data).await?;
    let count = store.prune(before.start(), yes).await?;
    print(&format!("{count} reports of before {before} have arrived and are the newest of no life."))?;
    print(if yes {
        "They are removed. The chain of the rest begins with the hash of the last one, and `meter-reporter sent` walks it."
    } else {
        "Nothing was done. Say --yes to remove them."
    })?;
    Ok(ExitCode::SUCCESS)
}
