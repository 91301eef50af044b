//! `meter-reporter receipt`: takes receipts that were carried back from `meter ingest FILE --receipts OUT`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use shared::json;

use super::{complain, folder};
use crate::clock::Clock;
use crate::config::Config;
use crate::meter::Meter;
use crate::receipts;
use crate::standing::Heard;
use crate::store::Store;

/// A receipt as it was carried.
#[derive(Debug, Deserialize)]
struct Carried {
    signature: String,
    body: String,
}

pub(super) async fn run(config: &Config, file: &Path) -> anyhow::Result<ExitCode> {
    let lines = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let told = match folder::take(&config.data)? {
        None => folder::tell(config, "/receipts", lines).await?,
        Some(_lock) => {
            let meter = Meter::open(&config.data, &config.source, &Clock::default()).await?;
            take(config, &meter, &lines).await?
        }
    };
    complain(&told);
    Ok(ExitCode::SUCCESS)
}

/// Takes each, whatever order they are in; says what came of them.
pub(crate) async fn take(config: &Config, meter: &Meter, lines: &str) -> anyhow::Result<String> {
    let (mut taken, mut watermark) = (0_u64, 0);
    for (number, line) in (1_u32..).zip(lines.lines().filter(|line| !line.trim().is_empty())) {
        let carried: Carried = json::read(line)
            .with_context(|| format!("line {number}: accepted is {{\"signature\",\"body\"}}"))?;
        let receipt = receipts::open(&config.keys, &carried.signature, carried.body.as_bytes(), None)
            .with_context(|| format!("line {number}"))?;
        let (life, last) = meter.look(|core, _| (core.home.incarnation().clone(), core.chain.seq));
        receipts::judge(&receipt, &config.source, (&life, last)).with_context(|| format!("line {number}"))?;
        let is_old = |heard: &Heard| heard.receipt.received_at >= receipt.received_at;
        if meter.look(|core, _| core.heard.as_ref().is_some_and(is_old)) {
            continue;
        }
        watermark = receipt.watermark;
        let open = Store::look(&config.data).await?.unacknowledged(life.as_str()).await?;
        // What was acknowledged when it was signed, not when it was carried.
        let heard = |now| Heard { at: receipt.received_at.min(now), receipt: receipt.clone() };
        meter
            .act(|core, now| {
                for (index, frozen) in open.iter().enumerate().filter(|(_, frozen)| frozen.seq <= watermark) {
                    let next = open.get(index.saturating_add(1));
                    let ends_round = next.is_none_or(|next| next.home_seq != frozen.home_seq);
                    core.acknowledge(frozen, ends_round, heard(now), now);
                }
                core.hear(heard(now));
            })
            .await?;
        taken = taken.saturating_add(1);
    }
    if lines.trim().is_empty() {
        bail!("there is no receipt in it");
    }
    Ok(format!("{taken} receipts are news; every report up to {watermark} is safe at the aggregator"))
}
