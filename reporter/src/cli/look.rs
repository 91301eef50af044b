//! The glass box: what would be sent, what was, and how it is. Nothing here changes anything.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use axum::http::Method;
use serde::Serialize;
use shared::json;
use shared::time::{Day, Timestamp};

use super::{complain, folder, print};
use crate::clock::Clock;
use crate::config::Config;
use crate::http::Status;
use crate::meter::Core;
use crate::outbox::{Chain, Reporting, follows, hash};
use crate::store::{Frozen, Store};

/// Reports that are read at once.
const PAGE: u32 = 100;

/// Prints the next payload.
pub(super) async fn show(config: &Config) -> anyhow::Result<ExitCode> {
    let mut store = Store::look(&config.data).await?;
    let now = Clock::default().now();
    let mut core = Core::read(&mut store, &config.source, now).await?;
    let frozen = store.unacknowledged(core.home.incarnation().as_str()).await?;
    if !frozen.is_empty() {
        complain(&format!("{} frozen reports wait for a receipt and go first, as they are:", frozen.len()));
    }
    for report in &frozen {
        print(&report.body)?;
    }
    // This memory is thrown away: nothing of it is ever written.
    let who = Reporting { source: config.source.clone(), environment: config.environment };
    complain("What would be reported now, if nothing more were counted:");
    for report in core.freeze(&who, now) {
        print(&report.body)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A report as it was sent.
#[derive(Debug, Serialize)]
struct Line<'a> {
    incarnation: &'a str,
    seq: u64,
    built_at: String,
    sent_at: Option<String>,
    attempts: u64,
    acknowledged_at: Option<String>,
    signature: &'a str,
    sha256: String,
    body: &'a str,
}

/// Prints everything that was ever sent, and walks the chain of all that was ever made.
pub(super) async fn sent(config: &Config, since: Option<&str>) -> anyhow::Result<ExitCode> {
    let since = match since {
        Some(text) => Day::parse(text)
            .map(Day::start)
            .with_context(|| format!("--since: got {text:?}, accepted is a date such as 2026-11-23"))?,
        None => Timestamp::default(),
    };
    let mut store = Store::look(&config.data).await?;
    let mut pruned = store.pruned().await?;
    let (mut after, mut life, mut chain) = (0, String::new(), Chain::default());
    let (mut walked, mut shown, mut lives) = (0_u64, 0_u64, 0_u64);
    loop {
        let page = store.reports(after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        for (_, report) in &page {
            if report.incarnation != life {
                // What came before it is removed where it was pruned.
                let begins = pruned.remove(&report.incarnation).unwrap_or_default();
                (life, chain) = (report.incarnation.clone(), begins);
                lives = lives.saturating_add(1);
            }
            chain = match follows(&chain, report) {
                Ok(chain) => chain,
                Err(broken) => bail!("the chain is broken: {broken}. Somebody has changed the data folder"),
            };
            walked = walked.saturating_add(1);
            let Some(signature) = report.signature.as_deref() else { continue };
            if report.sent_ms.is_some_and(|ms| ms >= since.as_ms()) {
                print(&json::write(&line(report, signature)))?;
                shown = shown.saturating_add(1);
            }
        }
    }
    complain(&format!(
        "{shown} shown; the chain holds: {walked} reports in {lives} lives, each names the body before it"
    ));
    Ok(ExitCode::SUCCESS)
}

fn line<'a>(report: &'a Frozen, signature: &'a str) -> Line<'a> {
    let at = |ms: u64| Timestamp::from_ms(ms).to_string();
    Line {
        incarnation: &report.incarnation,
        seq: report.seq,
        built_at: at(report.built_ms),
        sent_at: report.sent_ms.map(at),
        attempts: report.attempts,
        acknowledged_at: report.acked_ms.map(at),
        signature,
        sha256: hash(&report.body),
        body: &report.body,
    }
}

/// Says how it is: as the running reporter says, else as its folder does.
pub(super) async fn status(config: &Config, as_json: bool) -> anyhow::Result<ExitCode> {
    let status = match folder::take(&config.data)? {
        None => json::read(&folder::ask(config, Method::GET, "/status").await?)?,
        Some(_lock) => {
            if !as_json {
                complain("The reporter does not run: this is what its folder says.");
            }
            let mut store = Store::look(&config.data).await?;
            let now = Clock::default().now();
            Status::of(config, &Core::read(&mut store, &config.source, now).await?, now)
        }
    };
    print(&if as_json { json::write(&status) } else { status.text().trim_end().to_owned() })?;
    Ok(ExitCode::SUCCESS)
}
