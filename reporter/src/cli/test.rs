//! `meter-reporter test`: every step towards the aggregator, one line each, and what to do about the first that fails.

use std::process::ExitCode;

use axum::http::Method;
use serde::Deserialize;
use shared::json;

use super::{folder, print, serve};
use crate::clock::Clock;
use crate::config::Config;
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::sender::Outcome;
use crate::standing::{Cause, Failure, State};
use crate::transport::Step;

/// How far clocks may differ, in milliseconds, before it is worth a word: signatures bear five minutes.
const CLOCK_MS_MAX: u64 = 60_000;
/// The steps in their order.
const STEPS: [Step; 5] = [Step::Name, Step::Connect, Step::Proxy, Step::Tls, Step::Answer];

/// The outcome, as a running reporter tells it.
#[derive(Debug, Deserialize)]
struct Told {
    acknowledged: u64,
    failure: Option<Failure>,
    steps: Vec<(String, String)>,
    clock_ahead_ms: Option<i64>,
}

impl From<Outcome> for Told {
    fn from(outcome: Outcome) -> Self {
        let Outcome { acknowledged, failure, steps, clock_ahead_ms } = outcome;
        Self { acknowledged, failure, steps, clock_ahead_ms }
    }
}

pub(super) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    print(&format!("  settings    read: {config}"))?;
    if config.is_air_gap() {
        print(
            "  air gap     no connection is opened; `meter-reporter export FILE` writes what is to be carried",
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let told = match folder::take(&config.data)? {
        None => json::read(&folder::ask(&config, Method::POST, "/send").await?)?,
        Some(_lock) => {
            let meter = Meter::open(&config.data, &config.source, &Clock::default()).await?;
            match serve::sender(&config, &meter, &Metrics::default()).await? {
                Some(sender) => Told::from(sender.send().await?),
                None => return Ok(ExitCode::SUCCESS),
            }
        }
    };
    report(&told)
}

fn report(told: &Told) -> anyhow::Result<ExitCode> {
    for (step, what) in &told.steps {
        print(&format!("✓ {step:<12}{what}"))?;
    }
    if let Some(ahead) = told.clock_ahead_ms {
        let sign = if ahead.unsigned_abs() <= CLOCK_MS_MAX { '✓' } else { '!' };
        print(&format!("{sign} {:<12}the aggregator's is {ahead} ms ahead of ours", "clock"))?;
    }
    let Some(failure) = &told.failure else {
        print("✓ key         the receipt is signed under it")?;
        print(&format!("✓ reported    {} reports acknowledged", told.acknowledged))?;
        return Ok(ExitCode::SUCCESS);
    };
    let (step, advice) = failed_step(failure);
    print(&format!("✗ {step:<12}{}", failure.detail))?;
    print(&format!("  what to do  {advice}"))?;
    Ok(ExitCode::FAILURE)
}

/// Which step failed, and what to do about it.
fn failed_step(failure: &Failure) -> (String, &'static str) {
    let state = match failure.cause {
        Cause::Unreachable => {
            let beginning = |step: &Step| failure.detail.starts_with(&format!("{step}: "));
            let step = STEPS.into_iter().find(beginning).unwrap_or(Step::Answer);
            return (step.to_string(), step.advice());
        }
        Cause::RefusedKey => State::RefusedKey,
        Cause::RefusedClock => State::RefusedClock,
        Cause::ContractEnded => State::ContractEnded,
        Cause::Forked => State::Forked,
        Cause::RefusedReport => State::RefusedReport,
    };
    let word = match state {
        State::RefusedKey => "key",
        State::RefusedClock => "clock",
        State::ContractEnded => "contract",
        State::Forked => "folder",
        State::Ok | State::Late | State::Silent | State::RefusedReport | State::AirGap => "report",
    };
    (word.to_owned(), state.advice())
}
