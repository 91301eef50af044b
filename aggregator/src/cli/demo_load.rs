//! `meter demo-load`: a day of governance requests at the edge, squeezed into minutes, so that a dashboard has something
//! to show. Its requests are counted and billed like any others: it must never run without being told the key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, header};
use clap::Args;
use http_body_util::{BodyExt as _, Full};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::print::{self, Format};
use crate::clock::Clock;
use crate::config::Config;
use crate::edge::client::EdgeUrl;
use crate::edge::outbound::Outbound;
use crate::random;

/// How busy each hour of a working day is, in hundredths of its mean.
const HOURS: [u64; 24] = [
    30, 22, 18, 16, 18, 28, 52, 88, 122, 158, 176, 178, 150, 162, 178, 176, 160, 138, 122, 104, 92, 84, 72,
    56,
];

/// What is asked for, and how often of a hundred times.
const KINDS: [(&str, u64); 3] = [("verify", 68), ("mcp_tool_call", 23), ("extension_event", 9)];

/// Who asks, and how often of a hundred times: a few agents do most, as everywhere.
const AGENTS: [(&str, u64); 8] = [
    ("support-bot", 34),
    ("code-review", 21),
    ("release-bot", 14),
    ("research", 11),
    ("billing-helper", 8),
    ("browser", 6),
    ("onboarding", 4),
    ("nightly-audit", 2),
];

/// One request of so many is followed by what its model has read and written.
const OBSERVED_EACH: u64 = 5;

/// How often more is sent.
const TICK: Duration = Duration::from_millis(100);

/// How often it says how far it is.
const PROGRESS_TICKS: u64 = 20;

/// Requests on their way at once; an edge that is slower is sent less.
const IN_FLIGHT_MAX: usize = 64;

/// How what was not answered is counted.
const NO_ANSWER: &str = "no answer";

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct DemoLoad {
    /// A project key, such as PROJECT_KEY of a demo; a test key's units are never billed
    #[arg(long, value_name = "KEY")]
    key: String,
    /// How many requests a second on average
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=2_000))]
    rate: u64,
    /// Into how many minutes the day is squeezed
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_440))]
    minutes: u64,
    #[command(flatten)]
    format: Format,
}

/// What became of the requests.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    /// Requests that were sent.
    sent: u64,
    /// What was answered: the code of each decision, `observed`, or the status of what is neither.
    answers: BTreeMap<String, u64>,
}

/// One request.
struct Asked {
    uri: axum::http::Uri,
    key: String,
    body: String,
}

pub(super) async fn run(load: DemoLoad, config: Config) -> anyhow::Result<()> {
    let client = Outbound::to(&config.edge_url).map_err(anyhow::Error::msg)?;
    let places = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let (mut running, mut outcome) = (JoinSet::new(), Outcome::default());
    let whole_ms = load.minutes.saturating_mul(60_000);
    let (clock, mut tick) = (Clock::system(), tokio::time::interval(TICK));
    let begun = clock.now();
    for ticks in 0_u64.. {
        tick.tick().await;
        let elapsed_ms = clock.now().ms_since(begun).min(whole_ms);
        let due = due(elapsed_ms, whole_ms, load.rate);
        while outcome.sent < due {
            for asked in requests(&load, &config.edge_url)? {
                let (place, client) = (Arc::clone(&places).acquire_owned().await?, client.clone());
                running.spawn(async move {
                    let answer = send(&client, asked).await;
                    drop(place);
                    answer
                });
            }
            outcome.sent = outcome.sent.saturating_add(1);
        }
        while let Some(answered) = running.try_join_next() {
            outcome.count(answered.ok().flatten());
        }
        if ticks.is_multiple_of(PROGRESS_TICKS) {
            let hour = elapsed_ms.saturating_mul(24).checked_div(whole_ms).unwrap_or(0);
            print::remark(
                load.format,
                &format!("{hour:02}:00 of the day, {} requests, {}", outcome.sent, outcome.told()),
            );
        }
        if elapsed_ms >= whole_ms {
            break;
        }
    }
    while let Some(answered) = running.join_next().await {
        outcome.count(answered.ok().flatten());
    }
    print::result(load.format, &outcome, |outcome| format!("{} requests: {}", outcome.sent, outcome.told()))?;
    if outcome.answers.keys().all(|answer| answer == NO_ANSWER) {
        bail!(
            "{} answered nothing; `cargo xtask dev` starts an edge, EDGE_URL names another",
            config.edge_url
        );
    }
    Ok(())
}

impl Outcome {
    fn count(&mut self, answer: Option<String>) {
        let alike = self.answers.entry(answer.unwrap_or_else(|| NO_ANSWER.to_owned())).or_default();
        *alike = alike.saturating_add(1);
    }

    fn told(&self) -> String {
        let each = self.answers.iter().map(|(answer, count)| format!("{count} × {answer}"));
        each.collect::<Vec<_>>().join(", ")
    }
}

/// How many requests are to be sent until so much of the day has gone by.
fn due(elapsed_ms: u64, whole_ms: u64, rate: u64) -> u64 {
    // In hundredths of an hour's mean: whole hours, and a part of the present one.
    let day = u128::from(elapsed_ms).saturating_mul(24);
    let (hours, part) = (day.checked_div(u128::from(whole_ms)), day.checked_rem(u128::from(whole_ms)));
    let hours = hours.and_then(|hours| usize::try_from(hours).ok()).unwrap_or(HOURS.len());
    let past: u128 = HOURS
        .iter()
        .take(hours)
        .map(|hour| u128::from(*hour))
        .sum::<u128>()
        .saturating_mul(u128::from(whole_ms));
    let present = HOURS.get(hours).map_or(0, |hour| u128::from(*hour).saturating_mul(part.unwrap_or(0)));
    let all = past.saturating_add(present).saturating_mul(u128::from(rate));
    // Hundredths, 24 of an hour's part, and milliseconds.
    let requests = all.checked_div(100 * 24 * 1_000).unwrap_or(0);
    u64::try_from(requests).unwrap_or(u64::MAX)
}

/// A governance request, and now and then what was observed of it.
fn requests(load: &DemoLoad, edge: &EdgeUrl) -> anyhow::Result<Vec<Asked>> {
    let [kind, agent, each, tokens] = random::bytes::<4>()?.map(u64::from);
    let agent = chosen(&AGENTS, agent);
    let check = format!(r#"{{"kind":"{}","agent":"{agent}"}}"#, chosen(&KINDS, kind));
    let asked = |path: &str, body: String| -> anyhow::Result<Asked> {
        Ok(Asked { uri: edge.join(path)?, key: load.key.clone(), body })
    };
    let mut all = vec![asked("/v1/check", check)?];
    if each.is_multiple_of(OBSERVED_EACH) {
        let (read, written) =
            (tokens.saturating_mul(17).saturating_add(120), tokens.saturating_mul(3).saturating_add(20));
        all.push(asked(
            "/v1/observe",
            format!(r#"{{"agent":"{agent}","tokens_in":{read},"tokens_out":{written}}}"#),
        )?);
    }
    Ok(all)
}

/// The one of the weighted words that a random byte falls on.
fn chosen(words: &[(&'static str, u64)], byte: u64) -> &'static str {
    let mut at = byte.saturating_mul(100).checked_div(256).unwrap_or(0);
    for (word, weight) in words {
        match at.checked_sub(*weight) {
            None => return word,
            Some(rest) => at = rest,
        }
    }
    words.first().map_or("", |(word, _)| word)
}

/// What was answered; `None` where nothing was.
async fn send(client: &Outbound, asked: Asked) -> Option<String> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(asked.uri)
        .header(header::AUTHORIZATION, format!("Bearer {}", asked.key))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(asked.body)))
        .ok()?;
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, client.send(request)).await.ok()?.ok()?;
    let status = answer.status();
    // Read to its end in any case, so that the connection can be used again.
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    let decision = serde_json::from_slice::<Value>(&body).ok();
    let code = decision.as_ref().and_then(|decision| decision.get("code")).and_then(Value::as_str);
    Some(match code {
        Some(code) => code.to_owned(),
        None if status == StatusCode::OK => "observed".to_owned(),
        None => status.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_its_mean_and_its_nights_are_quiet() {
        assert_eq!(HOURS.iter().sum::<u64>(), 2_400, "hundredths of the mean");
        for minutes in [1, 10, 1_440] {
            let whole = minutes * 60_000;
            assert_eq!(due(whole, whole, 20), minutes * 60 * 20);
            assert_eq!(due(0, whole, 20), 0);
            let (morning, noon) = (due(minutes * 15_000, whole, 20), due(minutes * 30_000, whole, 20));
            assert!(morning * 6 < noon, "{morning} until six, {noon} until noon");
        }
    }

    #[test]
    fn weights_are_percentages_and_every_byte_falls_on_a_word() {
        for words in [&AGENTS[..], &KINDS[..]] {
            assert_eq!(words.iter().map(|(_, weight)| weight).sum::<u64>(), 100);
            let mut seen: Vec<&str> = (0..256).map(|byte| chosen(words, byte)).collect();
            seen.dedup();
            assert_eq!(seen, words.iter().map(|(word, _)| *word).collect::<Vec<_>>());
        }
    }
}
