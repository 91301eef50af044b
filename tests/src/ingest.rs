//! Flushes as a home would send them, and as it would not.

use anyhow::{Context, Result};
use serde_json::json;
use shared::sign::{Purpose, SIGNATURE_HEADER, Signed};
use shared::time::Timestamp;
use shared::wire::INGEST_PATH;

use crate::client::Call;
use crate::clock;
use crate::stack::Stack;

/// A flush of one cell of today, as text, so that a changed wire format is seen.
#[must_use]
pub fn flush_of(project: &str, seq: u64, units: u64) -> String {
    flush_at(project, seq, units, clock::now())
}

/// As [`flush_of`], of the day of that instant.
#[must_use]
pub fn flush_at(project: &str, seq: u64, units: u64, at: Timestamp) -> String {
    let cell = json!({"day": at.day().to_string(), "kind": "verify", "agent": "bot", "units": units,
        "tokens_in": 0, "tokens_out": 0, "anchors": 0});
    json!({"project": project, "mode": "live", "source": "home", "incarnation": "0123456789abcdef",
        "seq": seq, "cells": [cell]})
    .to_string()
}

/// The signature of a body under this stack's key of that purpose.
///
/// # Errors
/// When the stack has no such key.
pub fn signature(stack: &Stack, purpose: Purpose, body: &[u8], at: Timestamp) -> Result<String> {
    let keys = stack.signing_keys()?;
    let key = keys.current(purpose).context("no key of that purpose")?;
    Ok(Signed { method: "POST", path: INGEST_PATH, body }.sign(key, at))
}

/// A rightly signed flush.
///
/// # Errors
/// As [`signature`].
pub fn signed(stack: &Stack, body: &str) -> Result<Call> {
    signed_at(stack, body, clock::now())
}

/// As [`signed`], for an aggregator whose clock shows that instant.
///
/// # Errors
/// As [`signature`].
pub fn signed_at(stack: &Stack, body: &str, at: Timestamp) -> Result<Call> {
    let signature = signature(stack, Purpose::Edge, body.as_bytes(), at)?;
    Ok(Call::post(INGEST_PATH, body.to_owned()).json().header(SIGNATURE_HEADER, signature))
}
