//! What the parts of one meter tell each other over HTTP: calls between processes of the edge, and
//! how far the clock of tests was moved.
//!
//! Calls are signed with the edge's key by the machine's own clock; nothing here trusts a path or a peer.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use shared::json;
use shared::moved::Moved;
use shared::policy::SignedPolicy;
use shared::problem::{ErrorCode, Problem};
use shared::sign::{Purpose, Signed};
use shared::time::Timestamp;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::config;
use crate::step::Step;

/// How far the meter's clock is ahead of the machine's, in milliseconds.
static MOVED_MS: AtomicU64 = AtomicU64::new(0);

/// The signature of a call to another process of the edge; empty where there is no key.
#[wasm_bindgen(js_name = signCall)]
#[must_use]
pub fn sign_call(path: &str, body: &str, wall_ms: u64) -> String {
    let signed = Signed { method: "POST", path, body: body.as_bytes() };
    config::with(|config| {
        let key = config.signing_keys.current(Purpose::Edge);
        key.map(|key| signed.sign(key, Timestamp::from_ms(wall_ms))).unwrap_or_default()
    })
}

/// How far the clock is to be moved, as `entry.js` reads it.
#[derive(Debug, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum ClockStep {
    Move(Moved),
}

/// Reads what `POST /internal/clock` brought: how far to move, or the answer that refuses it.
#[wasm_bindgen(js_name = clockPush)]
#[must_use]
pub fn clock_push(body: &str) -> String {
    let Ok(signed) = json::read::<SignedPolicy>(body) else {
        let detail = "The body must be a signed document: {\"document\",\"k\",\"v1\"}.";
        return Step::problem(&Problem::new(ErrorCode::MalformedJson, detail)).to_json();
    };
    match config::with(|config| Moved::open(&signed, &config.signing_keys)) {
        Ok(moved) => json::write(&ClockStep::Move(moved)),
        Err(error) => Step::problem(&Problem::new(ErrorCode::SignatureRejected, error.to_string())).to_json(),
    }
}

/// Notes how far the meter's clock is ahead of the machine's, for what others check by their own clock.
#[wasm_bindgen(js_name = moveClock)]
pub fn move_clock(offset_ms: u64) {
    MOVED_MS.store(offset_ms, Ordering::Relaxed);
}

/// The machine's time at the meter's `now`.
pub(crate) fn wall(now: Timestamp) -> Timestamp {
    Timestamp::from_ms(now.as_ms().saturating_sub(MOVED_MS.load(Ordering::Relaxed)))
}
