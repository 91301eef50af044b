//! `meter-reporter export`: the same signed reports as a file, for a network without a way out.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use axum::http::Method;
use shared::json;
use shared::wire::INGEST_PATH;

use super::{complain, folder};
use crate::clock::Clock;
use crate::config::Config;
use crate::meter::Meter;
use crate::outbox::{Reporting, Sent, sign};
use crate::store::Store;

pub(super) async fn run(config: &Config, file: &Path) -> anyhow::Result<ExitCode> {
    let lines = match folder::take(&config.data)? {
        None => folder::ask(config, Method::POST, "/export").await?,
        Some(_lock) => {
            let meter = Meter::open(&config.data, &config.source, &Clock::default()).await?;
            lines(config, &meter).await?
        }
    };
    // Whole or not at all: half a file must never be carried anywhere.
    let mut half = file.as_os_str().to_owned();
    half.push(".part");
    fs::write(&half, &lines).with_context(|| format!("{} cannot be written", half.display()))?;
    fs::rename(&half, file).with_context(|| format!("{} cannot be written", file.display()))?;
    let reports = lines.lines().count();
    complain(&format!(
        "{reports} reports in {}; `meter ingest {}` takes them at the aggregator",
        file.display(),
        file.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Every report of this life that no receipt acknowledges, and one of what was counted since, signed.
pub(crate) async fn lines(config: &Config, meter: &Meter) -> anyhow::Result<String> {
    let who = Reporting { source: config.source.clone(), environment: config.environment };
    meter.act(|core, now| core.freeze(&who, now)).await?;
    let life = meter.look(|core, _| core.home.incarnation().to_string());
    let open = Store::look(&config.data).await?.unacknowledged(&life).await?;
    let mut signed = Vec::new();
    for frozen in open {
        let signature =
            sign(&frozen.body, &config.keys, meter.clock().unmoved()).map_err(anyhow::Error::msg)?;
        signed.push((frozen, signature));
    }
    meter
        .act(|core, now| {
            signed.iter().for_each(|(frozen, signature)| core.leave(frozen, signature, now));
            core.export(now);
        })
        .await?;
    let line = |(frozen, signature)| {
        let crate::store::Frozen { body, .. } = frozen;
        let mut line = json::write(&Sent { path: INGEST_PATH.to_owned(), signature, body });
        line.push('\n');
        line
    };
    Ok(signed.into_iter().map(line).collect())
}
