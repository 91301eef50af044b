//! Calls by another process of the edge, and what those are told that cannot be taken.
//!
//! Calls are signed with the edge's key by the machine's own clock; nothing here trusts a path or a peer.

use alloc::string::{String, ToString};

use shared::problem::{ErrorCode, Problem};
use shared::sign::{Purpose, Signed};
use shared::time::Timestamp;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::keys;

/// The problem that refuses a call by another process, as JSON; `undefined` accepts it.
#[wasm_bindgen(js_name = refuseCall)]
#[must_use]
pub fn refuse_call(path: &str, body: &str, signature: &str, wall_ms: u64) -> Option<String> {
    let signed = Signed { method: "POST", path, body: body.as_bytes() };
    let now = Timestamp::from_ms(wall_ms);
    let error = keys::with(|keys| signed.verify(signature, keys, Purpose::Edge, now).map(|_| ())).err()?;
    Some(Problem::new(ErrorCode::SignatureRejected, error.to_string()).to_json())
}

/// The problem that tells of a failure around the homes, as JSON. A code that is none of these is `home_unavailable`.
#[wasm_bindgen]
#[must_use]
pub fn failure(code: &str) -> String {
    let (code, detail) = match code {
        "body_too_large" => (ErrorCode::BodyTooLarge, "The body is larger than this path accepts."),
        "not_found" => (ErrorCode::NotFound, "Homes are called by processes of the edge only."),
        "not_ready" => {
            (ErrorCode::NotReady, "The worker is not configured. Its log says which setting is missing.")
        }
        _ => (ErrorCode::HomeUnavailable, "The home could not be reached in time. Send the call again."),
    };
    Problem::new(code, detail).to_json()
}
