//! The metering worker's Rust half: everything that decides, and nothing that waits.
//!
//! `entry.js` owns the platform: it receives requests, calls the home object, forwards, and answers.
//! Between those steps it calls the synchronous functions here with plain text and does what they
//! say. No Rust future ever runs in the worker, so no request can wake, block or abort another's
//! (the platform forbids I/O on behalf of another request). Nothing here may panic on request data.

mod conclude;
mod config;
mod gate;
mod home_object;
mod home_store;
mod step;

use shared::policy::SignedPolicy;
use shared::problem::{ErrorCode, Problem};
use shared::time::Timestamp;
use wasm_bindgen::prelude::wasm_bindgen;

pub use home_object::HomeObject;

use gate::Head;
use step::{Failure, Step};

/// Reads the worker's configuration. Must succeed before anything else is called; a worker that was
/// rebuilt after a panic must be configured again.
///
/// # Errors
/// Says which setting is wrong and what is accepted; never repeats a secret.
#[wasm_bindgen]
pub fn configure(key_secrets: &str, signing_keys: &str, routes: &str) -> Result<(), String> {
    config::set(config::Config::read(key_secrets, signing_keys, routes)?);
    Ok(())
}

/// Looks at a request's line and headers and says what to do, as a [`Step`] in JSON.
///
/// A header that is missing is passed as an empty text. `sizes` are the bytes of all header names and
/// values, and what `Content-Length` announces.
#[wasm_bindgen]
#[must_use]
pub fn gate(method: &str, url: &str, authorization: &str, agent: &str, sizes: &[u32]) -> String {
    let size = |at: usize| sizes.get(at).copied().unwrap_or_default();
    let head = Head { method, url, authorization, agent, header_bytes: size(0), body_bytes: size(1) };
    config::with(|config| gate::gate(config, &head)).to_json()
}

/// Continues a step that wanted the request's body.
#[wasm_bindgen]
#[must_use]
pub fn read_body(step: &str, body: &str) -> String {
    serde_json::from_str(step)
        .map_or_else(|_| broken_step(), |reading| gate::read_body(reading, body))
        .to_json()
}

/// Turns the home's reply to a step into the answer, or into how to forward the request.
#[wasm_bindgen]
#[must_use]
pub fn conclude(step: &str, reply: &str, now_ms: u64) -> String {
    let now = Timestamp::from_ms(now_ms);
    let conclude = |deciding| config::with(|config| conclude::conclude(config, deciding, reply, now));
    serde_json::from_str(step).map_or_else(|_| broken_step(), conclude).to_json()
}

/// The homes that a pushed policy is for, or the answer that refuses it, as a [`Step`] in JSON.
#[wasm_bindgen]
#[must_use]
pub fn policy_push(body: &str) -> String {
    config::with(|config| match serde_json::from_str::<SignedPolicy>(body) {
        Ok(signed) => match signed.open(&config.signing_keys) {
            Ok(policy) => Step::Install { homes: gate::homes_of(&policy.project), version: policy.version },
            Err(error) => Step::problem(&Problem::new(ErrorCode::SignatureRejected, error.to_string())),
        },
        Err(_) => Step::problem(&Problem::new(ErrorCode::MalformedJson, "The body is not a signed policy.")),
    })
    .to_json()
}

/// The answer to a failure of the platform around us, as a [`Step`] in JSON.
#[wasm_bindgen]
#[must_use]
pub fn failure(code: &str) -> String {
    Step::Answer(Failure::parse(code).answer()).to_json()
}

/// A step that this release did not write: only a mixed deployment can cause it.
fn broken_step() -> Step {
    Step::Answer(Failure::Internal.answer())
}
