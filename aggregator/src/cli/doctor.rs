//! `meter doctor`: whether a server would find here what it needs, and what to do where it would not.
//!
//! It must never repair anything, and never stop at the first thing that is wrong.

use std::fmt;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use shared::sign::SKEW_SECONDS_MAX;
use shared::time::Timestamp;

use super::print::{self, Format};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, StripeSettings};
use crate::edge::client::EdgeClient;
use crate::store::{Database, Store, StoreError, WhenMissing};
use crate::stripe::client::Stripe;
use crate::stripe::sync_goods;

/// The path at which the edge says that it lives.
const EDGE_HEALTH: &str = "/healthz";

/// A clock that is so far off is on its way to where signatures are refused.
const SKEW_WARN_SECONDS: u64 = 30;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    format: Format,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it must be.
    Ok,
    /// A server runs with it, but somebody should look.
    Look,
    /// A server would not start, or would not do all of its work.
    Wrong,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "✓",
            Self::Look => "!",
            Self::Wrong => "✗",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    thing: &'static str,
    state: State,
    /// What was found, and what to do about it.
    found: String,
}

/// All that was looked at, in the order in which a server needs it.
#[derive(Debug, Default, Serialize)]
struct Findings {
    findings: Vec<Finding>,
}

impl Findings {
    fn note(&mut self, thing: &'static str, state: State, found: impl Into<String>) {
        self.findings.push(Finding { thing, state, found: found.into() });
    }

    fn count(&self, state: State) -> usize {
        self.findings.iter().filter(|finding| finding.state == state).count()
    }

    fn text(&self) -> String {
        let lines =
            self.findings.iter().map(|Finding { thing, state, found }| format!("{state} {thing}: {found}"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Looks at everything, prints it, and fails where something is wrong.
pub(super) async fn run(doctor: Doctor, config: Result<Config, ConfigError>) -> anyhow::Result<()> {
    let mut findings = Findings::default();
    for remark in Config::unknown_variables() {
        findings.note("settings", State::Look, remark);
    }
    match config {
        Ok(config) => examine(&config, &mut findings).await,
        Err(ConfigError(lines)) => {
            lines.into_iter().for_each(|line| findings.note("settings", State::Wrong, line))
        }
    }
    print::result(doctor.format, &findings, Findings::text)?;
    match findings.count(State::Wrong) {
        0 => Ok(()),
        wrong => bail!("{wrong} of {} things are wrong", findings.findings.len()),
    }
}

async fn examine(config: &Config, findings: &mut Findings) {
    findings.note("settings", State::Ok, "every variable that is set is accepted");
    keys(config, findings);
    let store = database(config, findings).await;
    edge(config, findings).await;
    if let Some(store) = &store {
        waiting(store, findings).await;
    }
    stripe(config, store.as_ref(), findings).await;
    if let Some(store) = store {
        store.close().await;
    }
}

fn keys(config: &Config, findings: &mut Findings) {
    let missing = [config.check_signing_keys().err(), config.key_secrets().err()];
    let missing: Vec<String> = missing.into_iter().flatten().flat_map(|error| error.0).collect();
    if missing.is_empty() {
        findings.note("keys", State::Ok, "there are keys for projects, for the edge and for policies");
    }
    for line in missing {
        findings.note("keys", State::Wrong, line);
    }
    if config.webhook_seal.is_none() {
        let found = "METER_SECRET_KEY is not set: what is shown once is sealed with a key made from METER_KEY_SECRETS, and is lost with it";
        findings.note("keys", State::Look, found);
    }
    if config.test {
        findings.note(
            "keys",
            State::Look,
            "METER_TEST=1: anybody with a token of the operator may move the clock",
        );
    }
}

/// The books: whether they are there, of this release, durable, and take a write.
async fn database(config: &Config, findings: &mut Findings) -> Option<Store> {
    let (thing, place) = ("database", &config.database);
    let store = match Store::open(place, WhenMissing::Refuse).await {
        Ok(store) => store,
        Err(error) => {
            findings.note(thing, State::Wrong, format!("{place}: {error}"));
            return None;
        }
    };
    match store.check_writable().await {
        Ok(()) => {
            let found = match place {
                Database::Sqlite(_) => "takes durable writes; back it up with `meter backup`",
                Database::Postgres(_) => "takes durable writes, and its clock and settings are accepted",
            };
            findings.note(thing, State::Ok, format!("{place} {found}"));
        }
        Err(error) => findings.note(thing, State::Wrong, format!("{place} takes no writes: {error}")),
    }
    Some(store)
}

/// The edge: whether it answers where policies are pushed to, and whether its clock and ours can trust each other.
async fn edge(config: &Config, findings: &mut Findings) {
    let (thing, url) = ("edge", &config.edge_url);
    let answer = match EdgeClient::new(url.clone()) {
        Ok(client) => client.get(EDGE_HEALTH).await.map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    let (status, date) = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let found =
                format!("{url}: {error}; policies and new keys do not reach it. Start it, or set EDGE_URL");
            return findings.note(thing, State::Wrong, found);
        }
    };
    if !status.is_success() {
        let found = format!("{url}{EDGE_HEALTH} answered {status}: EDGE_URL names something else");
        return findings.note(thing, State::Wrong, found);
    }
    findings.note(thing, State::Ok, format!("{url} answers"));
    match date {
        None => findings.note("clock", State::Look, "the edge says no time; keep both clocks by NTP"),
        Some(date) => skew(date, Clock::system().now(), findings),
    }
}

/// How far the edge's clock is from ours: signatures between them are good for so long only.
fn skew(theirs: Timestamp, ours: Timestamp, findings: &mut Findings) {
    let seconds = theirs.as_seconds().abs_diff(ours.as_seconds());
    let (state, what) = match seconds {
        0..SKEW_WARN_SECONDS => (State::Ok, "is well within"),
        SKEW_WARN_SECONDS..=SKEW_SECONDS_MAX => {
            (State::Look, "comes near; set both by NTP. It may not exceed")
        }
        _ => (State::Wrong, "is beyond; set both by NTP. Accepted are at most"),
    };
    findings.note(
        "clock",
        state,
        format!("the edge's is {seconds} s from ours, which {what} {SKEW_SECONDS_MAX} s"),
    );
}

/// Policies that the edge has not taken.
async fn waiting(store: &Store, findings: &mut Findings) {
    let thing = "policies";
    match store.waiting_pushes().await {
        Ok(waiting) if waiting.is_empty() => {
            findings.note(thing, State::Ok, "the edge has the newest of every project")
        }
        Ok(waiting) => {
            let some: Vec<&str> = waiting.iter().take(3).map(|(project, _)| project.as_str()).collect();
            let (count, some) = (waiting.len(), some.join(", "));
            let found = format!(
                "{count} wait for the edge ({some}); a running server pushes them and logs why it cannot"
            );
            findings.note(thing, State::Look, found);
        }
        Err(error) => findings.note(thing, State::Wrong, error.to_string()),
    }
}

/// Stripe: whether it answers to the key, and whether what is sold there is what the catalogue says.
async fn stripe(config: &Config, store: Option<&Store>, findings: &mut Findings) {
    let thing = "stripe";
    let Some(StripeSettings { key, base, .. }) = &config.stripe else {
        let found =
            "STRIPE_SECRET_KEY is not set: plans and packs cannot be bought, closed months are not invoiced";
        return findings.note(thing, State::Look, found);
    };
    let Some(store) = store else {
        return findings.note(thing, State::Look, "it was not asked, because the books cannot be read");
    };
    let api = match Stripe::new(key, base.as_deref()) {
        Ok(api) => api,
        Err(error) => return findings.note(thing, State::Wrong, error),
    };
    let mode = if api.livemode() { "live" } else { "test" };
    let (state, found) = match goods(&api, store).await {
        Ok(0) => (State::Ok, format!("takes the {mode} key; products and prices are as the catalogue says")),
        Ok(differ) => {
            let found = format!(
                "{differ} products or prices differ from the catalogue; `meter stripe sync` shows and mends them"
            );
            (State::Wrong, found)
        }
        Err(error) => {
            let found = format!(
                "it cannot be asked with this key: {error}; check STRIPE_SECRET_KEY, and that Stripe can be reached from here"
            );
            (State::Wrong, found)
        }
    };
    findings.note(thing, state, found);
}

async fn goods(api: &Stripe, store: &Store) -> Result<usize, String> {
    let catalogue = store.newest_catalogue().await.map_err(|error: StoreError| error.to_string())?;
    let found = sync_goods::differences(api, store, &catalogue).await.map_err(|error| error.to_string())?;
    Ok(found.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_judged_by_what_signatures_bear() {
        let ours = Timestamp::from_ms(1_800_000_000_000);
        for (ahead_s, expected) in
            [(0, State::Ok), (29, State::Ok), (30, State::Look), (300, State::Look), (301, State::Wrong)]
        {
            let (mut early, mut late) = (Findings::default(), Findings::default());
            skew(ours.plus_ms(ahead_s * 1_000), ours, &mut early);
            skew(ours, ours.plus_ms(ahead_s * 1_000), &mut late);
            assert_eq!((early.findings[0].state, late.findings[0].state), (expected, expected), "{ahead_s}");
        }
    }

    #[tokio::test]
    async fn everything_is_looked_at_when_everything_is_wrong() {
        let folder = std::env::temp_dir().join(format!("meter-doctor-{}", std::process::id()));
        let variables = |name: &str| match name {
            "DATABASE_URL" => Some(format!("sqlite://{}/none.db", folder.display())),
            // The port of discard, which nothing listens on here.
            "EDGE_URL" => Some("http://127.0.0.1:9".to_owned()),
            _ => None,
        };
        let mut findings = Findings::default();
        examine(&Config::read(&variables).unwrap(), &mut findings).await;
        let wrong: Vec<&str> = findings
            .findings
            .iter()
            .filter(|found| found.state == State::Wrong)
            .map(|found| found.thing)
            .collect();
        assert_eq!(wrong, ["keys", "keys", "keys", "database", "edge"], "{}", findings.text());
        assert!(!folder.exists(), "a question makes no database");
    }
}
