//! The aggregator's side of a report, as little of it as a reporter sees.
//!
//! It verifies signatures, merges cells by their maximum, looks at the chain, and answers with a signed receipt. What it
//! does wrong, a test tells it to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::cell::{CellKey, Counts};
use shared::policy::Policy;
use shared::report::{Report, ReportReceipt, ReporterKey};
use shared::sign::{Purpose, SIGNATURE_HEADER, Signed, SigningKeys};
use shared::time::Timestamp;
use shared::wire::INGEST_PATH;
use tokio::net::TcpListener;

use crate::clock;

/// What is done to a report beside taking it.
#[derive(Debug, Clone, Default)]
pub enum Mood {
    /// Taken and acknowledged.
    #[default]
    Good,
    /// Taken, and the receipt is lost.
    Deaf,
    /// Neither taken nor answered as the aggregator does.
    Broken,
    /// Taken, and the receipt is signed by nobody who may.
    Forged,
    /// Refused with a problem of that status and code.
    Refusing(u16, &'static str),
}

/// What was taken.
#[derive(Debug, Default)]
pub struct Taken {
    /// Every body that was posted and rightly signed, in order.
    pub bodies: Vec<String>,
    /// What all lives together have counted.
    pub cells: BTreeMap<(String, CellKey), Counts>,
    /// Of each life the last number and the hash of its body.
    lives: BTreeMap<String, (u64, String)>,
    /// Requests that were not rightly signed.
    pub unsigned: u64,
}

impl Taken {
    /// Units of all cells.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.cells.values().map(|counts| counts.units.get()).sum()
    }

    /// The lives that have reported.
    #[must_use]
    pub fn lives(&self) -> usize {
        self.lives.len()
    }
}

/// The books.
#[derive(Debug, Clone)]
pub struct Books {
    address: SocketAddr,
    state: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    keys: SigningKeys,
    policy: Policy,
    mood: Mood,
    taken: Taken,
    offset_ms: u64,
}

impl Books {
    /// Begins to listen; it ends with the test's runtime. `key` is a reporter's, or a list of them.
    ///
    /// # Errors
    /// When no port is free, or the key is none.
    pub async fn start(key: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let books = Self::at(listener.local_addr()?, key)?;
        let app = books.router();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(books)
    }

    /// Books that somebody else listens for.
    ///
    /// # Errors
    /// When the key is none.
    pub fn at(address: SocketAddr, key: &str) -> Result<Self> {
        let (_, keys) = ReporterKey::list(key).map_err(anyhow::Error::msg)?;
        let inner = Inner {
            keys,
            policy: policy(1, 1_000_000, 60_000)?,
            mood: Mood::Good,
            taken: Taken::default(),
            offset_ms: 0,
        };
        Ok(Self { address, state: Arc::new(Mutex::new(inner)) })
    }

    /// What answers.
    pub fn router(&self) -> Router {
        Router::new().fallback(take).with_state(self.clone())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it is from now on.
    pub fn mood(&self, mood: Mood) {
        self.inner().mood = mood;
    }

    /// Under which keys it verifies and signs from now on.
    ///
    /// # Errors
    /// When the key is none.
    pub fn keys(&self, key: &str) -> Result<()> {
        self.inner().keys = ReporterKey::list(key).map_err(anyhow::Error::msg)?.1;
        Ok(())
    }

    /// What it has reporters enforce from now on.
    pub fn policy(&self, policy: Policy) {
        self.inner().policy = policy;
    }

    /// How far its clock is ahead from now on; signatures are judged by the machine's.
    pub fn moved(&self, offset_ms: u64) {
        self.inner().offset_ms = offset_ms;
    }

    /// Looks at what was taken.
    pub fn taken<T>(&self, look: impl FnOnce(&Taken) -> T) -> T {
        look(&self.inner().taken)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A policy of an enterprise contract.
///
/// # Errors
/// When that is no policy of this release.
pub fn policy(version: u64, included: u64, rpm: u32) -> Result<Policy> {
    let text = json!({
        "project": "acme", "version": version, "plan": "enterprise", "status": "active", "rpm": rpm,
        "agents_max": null, "keys": ["k001"], "upgrade_url": "https://palveron.com/pricing",
        "allowance": {"period": clock::now().period().to_string(), "included": included, "lots": 0, "credits": 0,
            "next_included": included, "overage": {"rule": "stop"}},
    });
    serde_json::from_value(text).context("a policy of another release")
}

async fn take(State(books): State<Books>, headers: HeaderMap, body: Bytes) -> Response {
    let mut inner = books.inner();
    if let Mood::Broken = inner.mood {
        return (StatusCode::BAD_GATEWAY, "<html>who knows</html>").into_response();
    }
    let header = headers.get(SIGNATURE_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let signed = Signed { method: "POST", path: INGEST_PATH, body: &body };
    let verified = signed.verify(header, &inner.keys, Purpose::Reporter, clock::now()).cloned();
    let Ok(key) = verified else {
        inner.taken.unsigned += 1;
        return problem(401, "signature_rejected");
    };
    if let Mood::Refusing(status, code) = inner.mood {
        return problem(status, code);
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    let report: Report = match serde_json::from_str(&text) {
        Ok(report) => report,
        Err(_) => return problem(422, "field_rejected"),
    };
    if report.check().is_err() {
        return problem(422, "field_rejected");
    }
    let Some(watermark) = merge(&mut inner.taken, report.clone(), &text) else {
        return problem(409, "reporter_forked");
    };
    if let Mood::Deaf = inner.mood {
        return (StatusCode::GATEWAY_TIMEOUT, "lost on its way back").into_response();
    }
    let received_at = clock::now().plus_ms(inner.offset_ms);
    let receipt = ReportReceipt {
        source: report.source,
        incarnation: report.incarnation,
        watermark,
        received_at,
        silent_at: received_at.plus_ms(72 * 3_600_000),
        project: inner.policy.project.clone(),
        policy: inner.policy.clone(),
        billed_from: None,
    };
    let receipt = serde_json::to_string(&receipt).unwrap_or_default();
    let signed = Signed { method: "POST", path: INGEST_PATH, body: receipt.as_bytes() };
    let now: Timestamp = clock::now();
    let signature = match inner.mood {
        Mood::Forged => Signed { path: "/elsewhere", ..signed }.sign(&key, now),
        Mood::Good | Mood::Deaf | Mood::Broken | Mood::Refusing(..) => signed.sign(&key, now),
    };
    ([(SIGNATURE_HEADER, signature)], receipt).into_response()
}

/// Merges a report, and says up to which number its life is known; `None` where it is a fork.
fn merge(taken: &mut Taken, report: Report, text: &str) -> Option<u64> {
    let hash = hash(text);
    let life = report.incarnation.to_string();
    let (last, last_hash) = taken.lives.get(&life).cloned().unwrap_or((0, "0".repeat(64)));
    if report.seq == last + 1 && report.previous == last_hash {
        taken.lives.insert(life.clone(), (report.seq, hash));
    } else if report.seq > last || (report.seq == last && hash != last_hash) {
        return None;
    }
    taken.bodies.push(text.to_owned());
    for cell in report.cells {
        let counts = taken.cells.entry((life.clone(), cell.key)).or_default();
        *counts = counts.merge(cell.counts);
    }
    taken.lives.get(&life).map(|(last, _)| *last)
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn problem(status: u16, code: &str) -> Response {
    let body: Value =
        json!({"type": "x", "title": "x", "status": status, "code": code, "detail": "it is so"});
    let status = StatusCode::from_u16(status).unwrap_or_default();
    (status, [("content-type", "application/problem+json")], body.to_string()).into_response()
}
