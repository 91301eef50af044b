//! Calls by another process of the edge, and what those are told that cannot be taken.
//!
//! Calls are signed with the edge's key by the machine's own clock; nothing here trusts a path or a peer.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use shared::problem::{ErrorCode, Problem};
use shared::sign::{Purpose, SKEW_SECONDS_MAX, Signed, fingerprint};
use shared::time::Timestamp;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::keys;

/// How much older than the first call that an instance hears a call may be, in seconds: what was under way when it
/// began, and clocks that differ.
const BEFORE_SECONDS_MAX: u64 = 5;

thread_local! {
    static HEARD: RefCell<Heard> = RefCell::default();
}

/// The calls that count something, for as long as their signatures are good: each of them counts once.
#[derive(Debug, Default)]
struct Heard {
    /// Signed before this second it may have been heard by an instance that is gone.
    since: Option<u64>,
    /// By the second they were signed in.
    calls: BTreeMap<u64, BTreeSet<u128>>,
}

impl Heard {
    /// Whether a call is heard for the first time; what can no longer be sent again is forgotten.
    fn is_new(&mut self, (signed, mac): (u64, u128), now: u64) -> bool {
        let since = *self.since.get_or_insert(now.saturating_sub(BEFORE_SECONDS_MAX));
        self.calls = self.calls.split_off(&now.saturating_sub(SKEW_SECONDS_MAX));
        signed >= since && self.calls.entry(signed).or_default().insert(mac)
    }
}

/// The problem that refuses a call which counts something and whose verified signature was used before.
#[wasm_bindgen(js_name = refuseReplay)]
#[must_use]
pub fn refuse_replay(signature: &str, wall_ms: u64) -> Option<String> {
    let now = Timestamp::from_ms(wall_ms).as_seconds();
    let new =
        fingerprint(signature).is_some_and(|call| HEARD.with_borrow_mut(|heard| heard.is_new(call, now)));
    let detail = "The call was taken before, or may have been. Sign it anew.";
    (!new).then(|| Problem::new(ErrorCode::SignatureRejected, detail).to_json())
}

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
        "bad_request" => (ErrorCode::BadRequest, "The body could not be read to its end."),
        "request_timeout" => (ErrorCode::RequestTimeout, "The body did not arrive in time."),
        "not_found" => (ErrorCode::NotFound, "Homes are called by processes of the edge only."),
        "not_ready" => {
            (ErrorCode::NotReady, "The worker is not configured. Its log says which setting is missing.")
        }
        _ => (ErrorCode::HomeUnavailable, "The home could not be reached in time. Send the call again."),
    };
    Problem::new(code, detail).to_json()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_new_once_for_as_long_as_its_signature_is_good() {
        let mut heard = Heard::default();
        assert!(heard.is_new((1_000, 1), 1_000));
        assert!(!heard.is_new((1_000, 1), 1_000), "sent again at once");
        assert!(!heard.is_new((1_000, 1), 1_300), "and when it is just still good");
        assert!(heard.is_new((1_000, 2), 1_001) && heard.is_new((1_299, 1), 1_300), "others count");
        heard.is_new((2_000, 3), 2_000);
        assert_eq!(heard.calls.len(), 1, "what is too old for its signature is forgotten");
    }

    #[test]
    fn what_an_instance_that_is_gone_may_have_heard_is_refused() {
        let mut heard = Heard::default();
        assert!(heard.is_new((999, 1), 1_000), "it was under way");
        assert!(!heard.is_new((994, 2), 1_000));
    }
}
