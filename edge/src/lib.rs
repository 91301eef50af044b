//! The metering worker's Rust half: everything that decides, and nothing that waits.
//!
//! `entry.js` owns the platform: it receives requests, calls the homes' objects, forwards, and answers.
//! Between those steps it calls the synchronous functions here and does what they say, in the JSON of `contract.rs`. No Rust future ever runs in the worker, so no request can wake, block or abort another's
//! (the platform forbids I/O on behalf of another request). Nothing here may panic on request data.

mod agent;
mod conclude;
mod config;
mod contract;
mod fields;
mod gate;
#[cfg(feature = "worker")]
pub mod guard;
mod internal;
mod isolate;
pub mod library;
mod metrics;
mod observe;
#[cfg(test)]
mod openapi;
mod panics;
#[cfg(not(target_family = "wasm"))]
pub mod premise;
mod quick;
mod region;
#[cfg(not(target_family = "wasm"))]
pub mod remote;
mod step;
#[cfg(test)]
mod test_policy;
mod trip;

use shared::decision::Verdict;
use shared::home::HomeName;
use shared::json;
use shared::lease_question::LeaseQuestion;
use shared::policy::SignedPolicy;
use shared::problem::{ErrorCode, Problem};
use shared::random;
use shared::time::Timestamp;
use wasm_bindgen::prelude::wasm_bindgen;

pub use internal::{clock_push, move_clock, sign_call};
pub use metrics::{counted_paths, metrics};
pub use observe::{answered, observe_body, observed};
pub use panics::{overflow_for_test, panic_for_test};
pub use trip::{Asking, Trip};

use config::Config;
use contract::{Instruction, Next, Remembered, Settings};
use gate::Head;
use isolate::{Again, Place, Turn};
use region::Region;
use step::{Deciding, Failure, Step, Then};

/// Reads the worker's configuration. Must succeed before anything else is called.
///
/// A worker that was rebuilt after a panic must be configured again. `settings` are the texts of its variables, in JSON.
/// `random` are four random words that name this instance: its holders are called after them, so they must never be used
/// twice.
///
/// # Errors
/// Says which setting is wrong and what is accepted; never repeats a secret.
#[wasm_bindgen]
pub fn configure(settings: &str, random: &[u32]) -> Result<(), String> {
    panics::log_them();
    // What the texts are is not repeated: there are secrets among them.
    let all: Settings =
        json::read(settings).map_err(|_| "the settings are not those of this release".to_owned())?;
    let config = config::Config::read(&all.key_secrets, &all.signing_keys, &all.routes)?
        .with_rules(all.bill.trim_ascii(), all.shadow.trim_ascii())?
        .with_metrics(all.metrics_token.trim_ascii())?;
    let [counters, url, replicas, loss] =
        [&all.counters, &all.redis_url, &all.redis_replicas, &all.redis_accept_loss]
            .map(|text| text.trim_ascii());
    let config = config.with_counters(trip::Server::parse(counters, url, (replicas, loss))?);
    // Sub-homes are objects; what they are for, a Redis does not need.
    let sub_homes = config::sub_homes(all.sub_homes.trim_ascii())?;
    let sub_homes = if counters == "redis" { 0 } else { sub_homes };
    let region = Region::of(all.region.trim_ascii(), all.continent.trim_ascii());
    config::set(config);
    isolate::reset(random::bits(random), Place { region, sub_homes });
    Ok(())
}

/// Looks at a request's line and headers, decides it if that can be done here, and says what to do: an `Instruction` in JSON, as
/// all functions here say it that go on with a request.
///
/// A header that is missing is passed as an empty text. `upgrades` is whether the connection is to become something
/// other than HTTP; the sizes are the bytes of all header names and values, and what `Content-Length` announces.
#[expect(clippy::too_many_arguments, reason = "JavaScript hands over plain values only")]
#[wasm_bindgen]
#[must_use]
pub fn decide(
    method: &str,
    url: &str,
    host: &str,
    upgrades: bool,
    authorization: &str,
    agent: &str,
    header_bytes: u32,
    body_bytes: u32,
    now_ms: u64,
) -> String {
    let head = Head { method, url, host, upgrades, authorization, agent, header_bytes, body_bytes };
    config::with(|config| lease(config, gate::gate(config, &head), now_ms))
}

/// How long a forwarded body may be. One that announces no length is counted while it comes.
#[wasm_bindgen(js_name = forwardBytesMax)]
#[must_use]
pub fn forward_bytes_max() -> u32 {
    gate::FORWARD_BYTES_MAX
}

/// Continues a request whose body was to be read.
#[wasm_bindgen]
#[must_use]
pub fn check(authorization: &str, agent: &str, body: &str, now_ms: u64) -> String {
    let head = Head::continued(authorization, agent);
    config::with(|config| lease(config, gate::check_body(config, &head, body), now_ms))
}

/// Decides a question that was allowed before by its number: 1 allows it, 2 does and asks for [`background`] work. With
/// 0 nothing has happened, and it is to be decided like a new one.
#[wasm_bindgen]
#[must_use]
pub fn again(number: u32, header_bytes: u32, body_bytes: u32, now_ms: f64) -> u32 {
    let Ok(number) = usize::try_from(number) else { return 0 };
    let again = Again { number, header_bytes, body_bytes };
    match isolate::with(|isolate| isolate.again(again, Timestamp::from_ms(whole(now_ms)))) {
        None => 0,
        Some(restless) => 1 + u32::from(restless),
    }
}

/// What is left after the last answer that has a number: permits, seconds of the minute, units, seconds of the month.
#[expect(clippy::as_conversions, reason = "exact below 2^53, and no plan has more units")]
#[wasm_bindgen]
#[must_use]
pub fn left(place: u32) -> f64 {
    isolate::with(|isolate| isolate.left(usize::try_from(place).unwrap_or_default())) as f64
}

/// JavaScript's milliseconds.
#[expect(clippy::as_conversions, reason = "whole and far below 2^53; what is neither is held at the ends")]
fn whole(ms: f64) -> u64 {
    ms as u64
}

/// What becomes of a request that waited in an instance which was lost: its home cannot be asked. It is given as to
/// [`decide`], which has found nothing wrong with its size, its host and its connection.
#[wasm_bindgen]
#[must_use]
pub fn lost(method: &str, url: &str, authorization: &str, agent: &str, now_ms: u64) -> String {
    let head = Head { method, url, ..Head::continued(authorization, agent) };
    let now = Timestamp::from_ms(now_ms);
    let step = config::with(|config| conclude::lost(config, gate::gate(config, &head), now));
    count(&step, now);
    Instruction::step(step).to_json()
}

/// What became of a request that waits for `home`.
#[wasm_bindgen]
#[must_use]
pub fn outcome(home: &str, token: u32, now_ms: u64) -> String {
    let Ok(name) = HomeName::parse(home) else { return Instruction::step(broken_step()).to_json() };
    let now = Timestamp::from_ms(now_ms);
    let turn = config::with(|config| isolate::with(|isolate| isolate.outcome(config, &name, token, now)));
    told(turn, &name, now)
}

/// The contacts that are to be sent for `home` now, as a list of `Contact` in JSON.
#[wasm_bindgen]
#[must_use]
pub fn contacts(home: &str, now_ms: u64) -> String {
    let now = Timestamp::from_ms(now_ms);
    let due = HomeName::parse(home).map(|name| isolate::with(|isolate| isolate.contacts(&name, now)));
    json::write(&due.unwrap_or_default())
}

/// Takes what `home` replied to a contact.
///
/// # Errors
/// When the reply is not one of a home.
#[wasm_bindgen]
pub fn receive(home: &str, reply: &str, now_ms: u64) -> Result<(), String> {
    let name = HomeName::parse(home).map_err(|error| error.to_string())?;
    let reply = json::read(reply).map_err(|error| error.to_string())?;
    isolate::with(|isolate| isolate.receive(&name, reply, Timestamp::from_ms(now_ms)));
    Ok(())
}

/// Begins the background loop of `home`'s holder; `undefined` if one runs or there is nothing to do.
#[wasm_bindgen]
#[must_use]
pub fn background(home: &str, now_ms: u64) -> Option<u32> {
    let name = HomeName::parse(home).ok()?;
    isolate::with(|isolate| isolate.begin_loop(&name, Timestamp::from_ms(now_ms)))
}

/// How many milliseconds that loop sleeps now; `undefined` ends it.
#[wasm_bindgen]
#[must_use]
pub fn nap(home: &str, number: u32, now_ms: u64) -> Option<u32> {
    let name = HomeName::parse(home).ok()?;
    let nap = isolate::with(|isolate| isolate.nap(&name, number, Timestamp::from_ms(now_ms)))?;
    u32::try_from(nap).ok()
}

/// Turns the home's reply to a step into the answer, or into how to forward the request.
#[wasm_bindgen]
#[must_use]
pub fn conclude(step: &str, reply: &str, now_ms: u64) -> String {
    let now = Timestamp::from_ms(now_ms);
    let complete = |deciding: &mut Deciding, verdict: Option<&mut Verdict>| {
        isolate::with(|isolate| isolate.take_verdict(deciding, verdict, now))
    };
    let Ok(deciding) = json::read::<Deciding>(step) else {
        return Instruction::step(broken_step()).to_json();
    };
    let home = deciding.home.clone();
    let step = config::with(|config| conclude::conclude(config, deciding, reply, now, complete));
    told(Turn::Step(step), &home, now)
}

/// The homes that a pushed policy is for, or the answer that refuses it, as a [`Step`] in JSON.
#[wasm_bindgen]
#[must_use]
pub fn policy_push(body: &str) -> String {
    config::with(|config| match json::read::<SignedPolicy>(body) {
        Ok(signed) => match signed.open(&config.signing_keys) {
            Ok(policy) => Step::Install { homes: gate::homes_of(&policy.project), version: policy.version },
            Err(error) => Step::problem(&Problem::new(ErrorCode::SignatureRejected, error.to_string())),
        },
        Err(_) => Step::problem(&Problem::new(ErrorCode::MalformedJson, "The body is not a signed policy.")),
    })
    .to_json()
}

/// The homes whose leases are asked for, or the answer that refuses it, as a [`Step`] in JSON.
#[wasm_bindgen(js_name = leasesAsked)]
#[must_use]
pub fn leases_asked(body: &str, now_ms: u64) -> String {
    let now = Timestamp::from_ms(now_ms);
    config::with(|config| match json::read::<SignedPolicy>(body) {
        Ok(signed) => match LeaseQuestion::open(&signed, &config.signing_keys, now) {
            Ok(question) => Step::Leases { homes: gate::homes_of(&question.leases_of) },
            Err(error) => Step::problem(&Problem::new(ErrorCode::SignatureRejected, error.to_string())),
        },
        Err(_) => {
            Step::problem(&Problem::new(ErrorCode::MalformedJson, "The body is not a signed question."))
        }
    })
    .to_json()
}

/// The answer to a failure of the platform around us, as a [`Step`] in JSON.
#[wasm_bindgen]
#[must_use]
pub fn failure(code: &str) -> String {
    Step::Answer(Failure::parse(code).answer()).to_json()
}

/// Decides a question here if its leases allow it.
fn lease(config: &Config, step: Step, now_ms: u64) -> String {
    let now = Timestamp::from_ms(now_ms);
    match step {
        Step::Decide(deciding) if deciding.then != Then::Quota => {
            let name = deciding.home.clone();
            told(isolate::with(|isolate| isolate.decide(config, deciding, now)), &name, now)
        }
        step @ (Step::Answer(_)
        | Step::ReadBody(_)
        | Step::ReadObservation(_)
        | Step::Observe(_)
        | Step::Decide(_)
        | Step::Forward { .. }
        | Step::ReadPolicy { .. }
        | Step::ReadLeases { .. }
        | Step::Leases { .. }
        | Step::Metrics
        | Step::Install { .. }) => {
            count(&step, now);
            Instruction::step(step).to_json()
        }
    }
}

/// Counts a step that refuses a request, or that serves what a limit would have refused.
fn count(step: &Step, now: Timestamp) {
    isolate::with(|isolate| isolate.count_step(step, now));
}

/// A turn as `entry.js` reads it.
fn told(turn: Turn, home: &HomeName, now: Timestamp) -> String {
    if let Turn::Step(step) = &turn {
        count(step, now);
    }
    let restless = isolate::with(|isolate| isolate.is_restless(home, now));
    let (next, known) = match turn {
        // Whoever waits does that work.
        Turn::Wait(token) => return Instruction::wait(home.clone(), token).to_json(),
        Turn::Step(step) => (step, None),
        Turn::Allowed(allowed) => {
            let step = config::with(|config| allowed.step(config));
            let form = allowed.form(&step);
            let known = form.map(|form| {
                let number = isolate::with(|isolate| isolate.know(allowed));
                Remembered { number, home: home.clone(), form }
            });
            (step, known)
        }
    };
    let wants = match &next {
        // What is refused is reported too.
        Step::Answer(_) | Step::Forward { .. } => restless,
        Step::Decide(deciding) => deciding.restless,
        Step::ReadBody(_)
        | Step::ReadObservation(_)
        | Step::Observe(_)
        | Step::ReadPolicy { .. }
        | Step::ReadLeases { .. }
        | Step::Leases { .. }
        | Step::Metrics
        | Step::Install { .. } => false,
    };
    Instruction { next: Next::Step(next), restless: wants.then(|| home.clone()), known }.to_json()
}

/// A step that this release did not write: only a mixed deployment can cause it.
fn broken_step() -> Step {
    Step::Answer(Failure::Internal.answer())
}
