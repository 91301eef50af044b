//! The meter inside a worker of your own, written in Rust: the same decision, by leases of its own.
//!
//! Nothing here does I/O: a [`Platform`] does, with whatever your worker is built on. A request waits
//! only for what it sends itself and for its own timer, because the platforms that workers run on
//! forbid one request to wait for another's I/O. `examples/rust-worker` shows all of it.

use serde::Deserialize;
use shared::decision::Ask;
use shared::home::HomeName;
use shared::ids::AgentId;
use shared::json;
use shared::key::KeySecrets;
use shared::problem::ErrorCode;
use shared::random;
use shared::source::Source;
use shared::time::Timestamp;

use crate::conclude;
use crate::config::{self, Config};
use crate::contract::Contact;
use crate::gate::{self, Refused};
use crate::isolate::{self, Place, Turn};
use crate::region::Region;
use crate::step::{Answer, Deciding, Failure, Step, Then};

pub use shared::kind::Kind;

/// How long a request that waits sleeps before it looks again, in milliseconds: soon at first.
const NAP_MS: (u32, u32) = (2, 25);
/// The most times that a request looks; a holder refuses long before.
const LOOKS_MAX: u32 = 1_000;

/// What the platform does for the meter.
pub trait Platform {
    /// The platform's time, in milliseconds since the epoch. It may stand still between I/O.
    fn now_ms(&self) -> u64;

    /// Waits that long.
    fn sleep(&self, ms: u32) -> impl Future<Output = ()>;

    /// Calls `contact(home, contact)` of the object of that name: of the class `MeterHome` where it is
    /// the home itself, else of `MeterSubHome`.
    ///
    /// # Errors
    /// When it did not answer. It is asked again.
    fn contact(
        &self,
        object: &str,
        home: &str,
        contact: &str,
    ) -> impl Future<Output = Result<String, String>>;

    /// Calls `decide(home, ask, call)` of the home.
    ///
    /// # Errors
    /// When it did not answer.
    fn decide(&self, home: &str, ask: &str, call: &str) -> impl Future<Output = Result<String, String>>;
}

/// What is to be decided.
#[derive(Debug, Clone)]
pub struct Check<'a> {
    /// The project key, `pk_live_…` or `pk_test_…`.
    pub key: &'a str,
    /// What it is counted as.
    pub kind: Kind,
    /// For which agent, if that is known.
    pub agent: Option<&'a str>,
    /// How many units it stands for, 1 to 1,000.
    pub cost: u32,
    /// Whether to decide without counting.
    pub dry_run: bool,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is served.
    pub allowed: bool,
    /// `ok`, or the code of `docs/errors` that says why not.
    pub code: String,
    /// Units left of the month, as far as they are known here; `None` where there is no limit.
    pub remaining: Option<u64>,
    /// After how long it may be tried again, where waiting helps.
    pub retry_after_ms: Option<u64>,
    /// What pays for it, where it was counted: of several the dearest.
    pub source: Option<Source>,
    /// The home that wants [`background`] work, to be done when the answer has left.
    pub restless: Option<String>,
}

impl Decision {
    fn refused(code: &str) -> Self {
        Self {
            allowed: false,
            code: code.to_owned(),
            remaining: None,
            retry_after_ms: None,
            source: None,
            restless: None,
        }
    }
}

/// How the meter is to be, by the texts of the settings that the edge has, too. All but the first may be empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings<'a> {
    /// `METER_KEY_SECRETS`: `1:<hex>,…`, under which project keys are verified.
    pub key_secrets: &'a str,
    /// `METER_ROUTES`: what a request is counted as, by its path.
    pub routes: &'a str,
    /// `METER_SHADOW`: with `1`, limits are told of, but nobody is denied for them.
    pub shadow: &'a str,
    /// `METER_REGION`: the region that the deployment names.
    pub region: &'a str,
    /// The continent of the first request, as the platform tells it; it is the region where none is named.
    pub continent: &'a str,
    /// `METER_SUB_HOMES`: how many sub-homes to expect before a policy has said it.
    pub sub_homes: &'a str,
}

/// A request that a worker of your own receives, as far as the meter looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The path. It says what the request is counted as, where a route of the settings names it.
    pub path: &'a str,
    /// What it is counted as where none does.
    pub kind: Kind,
    /// The `Authorization` header; empty where there is none.
    pub authorization: &'a str,
    /// The `Palveron-Agent` header; empty where there is none.
    pub agent: &'a str,
    /// How many units it stands for, 1 to 1,000.
    pub cost: u32,
}

/// What becomes of a request that is received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guarded {
    /// It may be served, and was counted.
    Passed {
        /// Headers of its answer: `RateLimit`, `RateLimit-Policy`, `Server-Timing`, `Palveron-Source`.
        headers: Vec<(String, String)>,
        /// The home that wants [`background`] work, to be done when the answer has left.
        restless: Option<String>,
    },
    /// It is refused, with the same answer as the edge gives.
    Refused {
        /// The status.
        status: u16,
        /// Names and values of the headers.
        headers: Vec<(String, String)>,
        /// The body, `application/problem+json`.
        body: String,
        /// The home that wants [`background`] work: refusals are reported, too.
        restless: Option<String>,
    },
}

/// Reads the settings, and takes four random words that name this instance and were never used before. Once, before
/// anything else.
///
/// # Errors
/// Says which setting is wrong and what is accepted; never repeats a secret.
pub fn configure(settings: &Settings<'_>, random: [u32; 4]) -> Result<(), String> {
    let key_secrets =
        KeySecrets::parse(settings.key_secrets).map_err(|error| format!("METER_KEY_SECRETS: {error}"))?;
    let config =
        Config::for_keys(key_secrets).with_routes(settings.routes)?.with_rules("", settings.shadow)?;
    let place = Place {
        region: Region::of(settings.region, settings.continent),
        sub_homes: config::sub_homes(settings.sub_homes)?,
    };
    config::set(config);
    isolate::reset(random::bits(&random), place);
    Ok(())
}

/// Decides a request, and counts it if it is allowed.
pub async fn check(platform: &impl Platform, check: &Check<'_>) -> Decision {
    match question(check) {
        Ok(deciding) => {
            let (step, restless) = decide(platform, deciding).await;
            Decision { restless, ..decision(step) }
        }
        Err(code) => Decision::refused(code),
    }
}

/// Decides a request that somebody has sent to your worker, and counts it if it may be served: as the edge would, with
/// the same answers.
pub async fn guard(platform: &impl Platform, received: &Received<'_>) -> Guarded {
    let (step, restless) = match config::with(|config| received.deciding(config)) {
        Ok(deciding) => decide(platform, deciding).await,
        Err(answer) => (Step::Answer(*answer), None),
    };
    let refused = |Answer { status, headers, body, .. }| (status, headers, body);
    let (status, headers, body) = match step {
        Step::Forward { headers, would_deny, source, .. } => {
            let headers = conclude::answer_headers(headers, source, &would_deny);
            return Guarded::Passed { headers, restless };
        }
        Step::Answer(answer) => refused(answer),
        Step::ReadBody(_)
        | Step::ReadObservation(_)
        | Step::Observe(_)
        | Step::Decide(_)
        | Step::ReadPolicy { .. }
        | Step::ReadLeases { .. }
        | Step::Leases { .. }
        | Step::Metrics
        | Step::Install { .. } => refused(Failure::Internal.answer()),
    };
    Guarded::Refused { status, headers, body, restless }
}

impl Received<'_> {
    fn deciding(&self, config: &Config) -> Result<Deciding, Refused> {
        let key = config.caller(self.authorization).ok_or_else(|| Box::new(gate::unauthorized_answer()))?;
        let agent = gate::agent_of_header(self.agent)?;
        gate::cost_of(self.cost)?;
        let kind = config.routes.route_of(self.path).map_or(self.kind, |route| route.kind);
        let home = HomeName { project: key.project, mode: key.mode };
        let ask = Ask { key: key.id, kind, agent, cost: self.cost, dry_run: false, held: false };
        // It goes on to whoever has received it, who needs no signature of ours.
        Ok(Deciding::new(home, ask, Then::nothing_to_forward()))
    }
}

/// Decides a question, and says which home wants [`background`] work then.
async fn decide(platform: &impl Platform, deciding: Deciding) -> (Step, Option<String>) {
    let home = deciding.home.clone();
    let turn =
        config::with(|config| isolate::with(|isolate| isolate.decide(config, deciding, now(platform))));
    let step = match turn {
        Turn::Step(step) => step,
        Turn::Allowed(allowed) => config::with(|config| allowed.into_step(config)),
        Turn::Wait(token) => wait(platform, &home, token).await,
    };
    let step = if let Step::Decide(deciding) = step { at_home(platform, deciding).await } else { step };
    let restless = isolate::with(|isolate| {
        isolate.count_step(&step, now(platform));
        isolate.is_restless(&home, now(platform))
    });
    (step, restless.then(|| home.to_string()))
}

/// Reports, renews and returns what a home has issued, while there is anything to do. Run it under
/// what keeps a worker alive when the answer has left (`ctx.wait_until`).
pub async fn background(platform: &impl Platform, home: &str) {
    let Ok(home) = HomeName::parse(home) else { return };
    exchange(platform, &home).await;
    let Some(number) = isolate::with(|isolate| isolate.begin_loop(&home, now(platform))) else { return };
    while let Some(ms) = isolate::with(|isolate| isolate.nap(&home, number, now(platform))) {
        platform.sleep(u32::try_from(ms).unwrap_or(NAP_MS.1)).await;
        exchange(platform, &home).await;
    }
}

fn now(platform: &impl Platform) -> Timestamp {
    Timestamp::from_ms(platform.now_ms())
}

fn question(check: &Check<'_>) -> Result<Deciding, &'static str> {
    let asked = config::with(|config| asked(config, check, Then::Check));
    asked.map_err(|answer| match answer.status {
        401 => "unauthorized",
        _ => "field_rejected",
    })
}

/// The question that somebody asks by values, or how it is refused.
pub(crate) fn asked(config: &Config, check: &Check<'_>, then: Then) -> Result<Deciding, Refused> {
    let key = config.caller(&format!("Bearer {}", check.key));
    let key = key.ok_or_else(|| Box::new(gate::unauthorized_answer()))?;
    let agent = match check.agent {
        Some(text) => gate::agent_of("agent", text)?,
        None => AgentId::none(),
    };
    gate::cost_of(check.cost)?;
    let home = HomeName { project: key.project, mode: key.mode };
    let ask =
        Ask { key: key.id, kind: check.kind, agent, cost: check.cost, dry_run: check.dry_run, held: false };
    Ok(Deciding::new(home, ask, then))
}

/// Sends what is due and takes the replies.
async fn exchange(platform: &impl Platform, home: &HomeName) {
    let due = isolate::with(|isolate| isolate.contacts(home, now(platform)));
    let name = home.to_string();
    for Contact { object, contact } in due {
        if let Ok(reply) = platform.contact(&object, &name, &contact).await
            && let Ok(reply) = json::read(&reply)
        {
            isolate::with(|isolate| isolate.receive(home, reply, now(platform)));
        }
    }
}

async fn wait(platform: &impl Platform, home: &HomeName, token: u32) -> Step {
    let mut nap = NAP_MS.0;
    for _ in 0..LOOKS_MAX {
        exchange(platform, home).await;
        let turn = config::with(|config| {
            isolate::with(|isolate| isolate.outcome(config, home, token, now(platform)))
        });
        match turn {
            Turn::Step(step) => return step,
            Turn::Allowed(allowed) => return config::with(|config| allowed.into_step(config)),
            Turn::Wait(_) => platform.sleep(nap).await,
        }
        nap = nap.saturating_mul(2).min(NAP_MS.1);
    }
    Step::Answer(Failure::Home.answer())
}

async fn at_home(platform: &impl Platform, deciding: Deciding) -> Step {
    let (home, ask) = (deciding.home.to_string(), json::write(&deciding.ask));
    let call = deciding.call.map(|call| call.to_string()).unwrap_or_default();
    let reply = platform.decide(&home, &ask, &call).await.unwrap_or_default();
    let now = now(platform);
    config::with(|config| {
        conclude::conclude(config, deciding, &reply, now, |deciding, verdict| {
            isolate::with(|isolate| isolate.take_verdict(deciding, verdict, now))
        })
    })
}

/// The parts of an answer to `/v1/check`, or of a problem, that callers branch on.
#[derive(Debug, Deserialize)]
struct Told {
    #[serde(default)]
    allowed: bool,
    code: String,
    #[serde(default)]
    remaining: Option<u64>,
    #[serde(default)]
    retry_after_ms: Option<u64>,
    #[serde(default)]
    source: Option<Source>,
}

fn decision(step: Step) -> Decision {
    let unavailable = || Decision::refused("home_unavailable");
    let Step::Answer(answer) = step else { return unavailable() };
    if answer.status == ErrorCode::Unauthorized.status() {
        return Decision::refused("unauthorized");
    }
    json::read::<Told>(&answer.body).map_or_else(
        |_| unavailable(),
        |Told { allowed, code, remaining, retry_after_ms, source }| Decision {
            allowed,
            code,
            remaining,
            retry_after_ms,
            source,
            restless: None,
        },
    )
}

#[cfg(test)]
mod tests;
