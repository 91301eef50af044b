//! The keys that flushes and calls are signed with, and that policies are verified by: all that homes are configured with.

use std::cell::RefCell;

use shared::sign::{Purpose, SigningKeys};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::panics;

thread_local! {
    static KEYS: RefCell<SigningKeys> = RefCell::default();
}

/// Reads the signing keys. Must succeed before anything else is called, and again after a panic.
///
/// # Errors
/// Says what is wrong with METER_SIGNING_KEYS and what is accepted; never repeats a secret.
#[wasm_bindgen]
pub fn configure(signing_keys: &str) -> Result<(), String> {
    panics::log_them();
    KEYS.set(SigningKeys::required(signing_keys, &[Purpose::Edge, Purpose::Policy])?);
    Ok(())
}

/// Reads them.
pub(crate) fn with<T>(f: impl FnOnce(&SigningKeys) -> T) -> T {
    KEYS.with_borrow(f)
}
