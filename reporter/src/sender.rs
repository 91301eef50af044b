//! Sends reports: each frozen once, posted until a receipt comes, the oldest first, each interval and after failures.
//!
//! Sending twice changes nothing, and a process that dies anywhere in between sends the same bytes again.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use shared::json;
use shared::problem::{ErrorCode, Problem};
use shared::random::Stream;
use shared::report::ReportReceipt;
use shared::sign::{SIGNATURE_HEADER, SigningKeys};
use shared::time::Timestamp;
use shared::wire::INGEST_PATH;
use tokio::sync::Mutex;

use crate::config::Config;
use crate::meter::{Meter, NotDurable};
use crate::metrics::Metrics;
use crate::outbox::{Reporting, sign};
use crate::receipts::{self, NoReceipt};
use crate::standing::{Cause, Failure, Heard};
use crate::store::{Frozen, Store, StoreError};
use crate::transport::{Answer, Failed, Step, Transport};

/// The first pause after a failure, in milliseconds; each further one doubles, up to the interval.
const RETRY_MS_MIN: u64 = 5_000;
/// A part of each pause is chance, of so many parts, so that not everybody comes at the same time.
const JITTER_PARTS: u64 = 10;
/// The clock is looked at so often while it is waited for: machines sleep, and clocks are set.
const LOOK: Duration = Duration::from_secs(30);

/// What became of sending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// How many reports a receipt came for.
    pub acknowledged: u64,
    /// Why it went no further, where it did not.
    pub failure: Option<Failure>,
    /// Steps that succeeded on the way of the last one.
    pub steps: Vec<(String, String)>,
    /// The aggregator's time less ours, in milliseconds, as far as the last receipt tells.
    pub clock_ahead_ms: Option<i64>,
}

/// Why nothing could even be tried.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The folder cannot be written.
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
    /// The folder cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no key.
    #[error("{0}")]
    Key(String),
}

/// Sends for one reporter; only one at a time is under way.
#[derive(Debug)]
pub struct Sender {
    meter: Meter,
    transport: Transport,
    who: Reporting,
    keys: SigningKeys,
    interval_ms: u64,
    metrics: Metrics,
    turn: Mutex<Turn>,
}

#[derive(Debug)]
struct Turn {
    store: Store,
    random: Stream,
}

/// Why a report is not acknowledged.
struct Refused {
    cause: Cause,
    detail: String,
}

impl Sender {
    /// A sender of what that meter counts.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn new(
        config: &Config,
        meter: Meter,
        transport: Transport,
        (metrics, random): (Metrics, Stream),
    ) -> Result<Self, StoreError> {
        let store = Store::look(Path::new(&config.data)).await?;
        Ok(Self {
            meter,
            transport,
            who: Reporting { source: config.source.clone(), environment: config.environment },
            keys: config.keys.clone(),
            interval_ms: config.interval_ms,
            metrics,
            turn: Mutex::new(Turn { store, random }),
        })
    }

    /// Sends each interval, for ever.
    pub async fn run(&self) {
        let mut moves = self.meter.clock().moves();
        loop {
            let pause_ms = match self.send().await {
                Ok(Outcome { failure: None, acknowledged, .. }) => {
                    tracing::info!(reports = acknowledged, "reported");
                    self.interval_ms
                }
                Ok(Outcome { failure: Some(failure), .. }) => {
                    let Failure { cause, detail, attempts, .. } = &failure;
                    tracing::warn!(cause = ?cause, attempts, "not reported, and nothing is lost: {detail}");
                    backoff_ms(*attempts, self.interval_ms)
                }
                Err(error) => {
                    tracing::error!(error = %error, "nothing can be reported");
                    RETRY_MS_MIN
                }
            };
            let jitter = pause_ms.div_euclid(JITTER_PARTS);
            let pause_ms = pause_ms.saturating_sub(self.turn.lock().await.random.between(0, jitter));
            let due = self.meter.clock().now().plus_ms(pause_ms);
            loop {
                let left = Duration::from_millis(due.ms_since(self.meter.clock().now()));
                if left.is_zero() {
                    break;
                }
                tokio::select! {
                    () = tokio::time::sleep(left.min(LOOK)) => {}
                    _ = moves.changed() => {}
                }
            }
        }
    }

    /// Sends what was not acknowledged, then what was counted since.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub async fn send(&self) -> Result<Outcome, SendError> {
        let mut turn = self.turn.lock().await;
        let mut outcome = Outcome { acknowledged: 0, failure: None, steps: Vec::new(), clock_ahead_ms: None };
        let mut is_fresh = false;
        loop {
            let life = self.meter.look(|core, _| core.home.incarnation().to_string());
            let open = turn.store.unacknowledged(&life).await?;
            if open.is_empty() {
                if is_fresh {
                    return Ok(outcome);
                }
                self.meter.act(|core, now| core.freeze(&self.who, now)).await?;
                is_fresh = true;
                continue;
            }
            for (index, frozen) in open.iter().enumerate() {
                let next = open.get(index.saturating_add(1));
                let ends_round = next.is_none_or(|next| next.home_seq != frozen.home_seq);
                outcome.steps.clear();
                if let Err(refused) = self.post(frozen, ends_round, &mut outcome).await? {
                    self.metrics.failed();
                    let failure = self.meter.act(|core, now| {
                        let failure = failed(core.failure.as_ref(), refused, now);
                        core.fail(failure.clone());
                        failure
                    });
                    return Ok(Outcome { failure: Some(failure.await?), ..outcome });
                }
                outcome.acknowledged = outcome.acknowledged.saturating_add(1);
                self.metrics.acknowledged();
            }
        }
    }

    /// Posts one report and takes its receipt.
    async fn post(
        &self,
        frozen: &Frozen,
        ends_round: bool,
        outcome: &mut Outcome,
    ) -> Result<Result<(), Refused>, SendError> {
        let signature =
            sign(&frozen.body, &self.keys, self.meter.clock().unmoved()).map_err(SendError::Key)?;
        // It is known here that it left before it does: no byte leaves that `sent` does not show.
        self.meter.act(|core, now| core.leave(frozen, &signature, now)).await?;
        let steps = &mut outcome.steps;
        let mut done = |step: Step, what: String| steps.push((step.to_string(), what));
        let signed = (SIGNATURE_HEADER, signature.as_str());
        let answer = self.transport.post(INGEST_PATH, signed, frozen.body.clone(), &mut done).await;
        let receipt =
            match answer.map_err(|failed| unreachable(&failed)).and_then(|answer| self.receipt(&answer)) {
                Ok(receipt) => receipt,
                Err(refused) => return Ok(Err(refused)),
            };
        let now = self.meter.clock().now();
        outcome.clock_ahead_ms = ahead_ms(receipt.received_at, now);
        if let Err(refused) = self.judge(frozen, &receipt) {
            return Ok(Err(refused));
        }
        self.meter.clock().heard(receipt.received_at);
        let heard = Heard { at: self.meter.clock().now(), receipt };
        self.meter.act(|core, now| core.acknowledge(frozen, ends_round, heard, now)).await?;
        Ok(Ok(()))
    }

    /// Reads the receipt of an answer, if the aggregator has signed one.
    fn receipt(&self, answer: &Answer) -> Result<ReportReceipt, Refused> {
        if answer.status != axum::http::StatusCode::OK {
            return Err(refusal(answer));
        }
        let now = self.meter.clock().unmoved();
        receipts::open(&self.keys, answer.header(SIGNATURE_HEADER), &answer.body, Some(now))
            .map_err(|error| no_receipt(&error))
    }

    /// Whether a receipt is that of a report, and nobody else reports as this folder.
    fn judge(&self, frozen: &Frozen, receipt: &ReportReceipt) -> Result<(), Refused> {
        let (life, last) = self.meter.look(|core, _| (core.home.incarnation().clone(), core.chain.seq));
        receipts::judge(receipt, &self.who.source, (&life, last)).map_err(|error| no_receipt(&error))?;
        if receipt.watermark < frozen.seq {
            return Err(unknown(format!(
                "report {} was sent, and {} acknowledged",
                frozen.seq, receipt.watermark
            )));
        }
        Ok(())
    }
}

fn unknown(detail: String) -> Refused {
    Refused { cause: Cause::Unreachable, detail }
}

fn no_receipt(error: &NoReceipt) -> Refused {
    let cause = match error {
        NoReceipt::Foreign(_) => Cause::Unreachable,
        NoReceipt::Forked { .. } => Cause::Forked,
    };
    Refused { cause, detail: error.to_string() }
}

fn unreachable(failed: &Failed) -> Refused {
    unknown(failed.to_string())
}

/// What a refusal means, by the code of its problem.
fn refusal(answer: &Answer) -> Refused {
    let text = str::from_utf8(&answer.body).unwrap_or_default();
    let Ok(problem) = json::read::<Problem>(text) else {
        return unknown(format!("got {} and no problem as the aggregator writes them", answer.status));
    };
    let cause = match (problem.code.as_str(), answer.status.as_u16()) {
        (code, _) if code == ErrorCode::SignatureExpired.as_str() => Cause::RefusedClock,
        ("contract_ended", _) => Cause::ContractEnded,
        (_, 409) => Cause::Forked,
        (_, 401 | 403) => Cause::RefusedKey,
        (_, 400 | 404 | 413 | 415 | 422) => Cause::RefusedReport,
        _ => Cause::Unreachable,
    };
    Refused { cause, detail: format!("{}: {}", problem.code, problem.detail) }
}

fn failed(before: Option<&Failure>, refused: Refused, now: Timestamp) -> Failure {
    let Refused { cause, detail } = refused;
    let (since, attempts) = before.map_or((now, 0), |before| (before.since, before.attempts));
    Failure { since, at: now, attempts: attempts.saturating_add(1), cause, detail }
}

fn ahead_ms(aggregator: Timestamp, here: Timestamp) -> Option<i64> {
    let (aggregator, here) = (i64::try_from(aggregator.as_ms()).ok()?, i64::try_from(here.as_ms()).ok()?);
    aggregator.checked_sub(here)
}

/// The pause after so many failures.
fn backoff_ms(attempts: u32, interval_ms: u64) -> u64 {
    let doubled =
        2_u64.checked_pow(attempts.saturating_sub(1)).and_then(|factor| RETRY_MS_MIN.checked_mul(factor));
    doubled.map_or(interval_ms, |ms| ms.min(interval_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;

    #[test]
    fn the_pause_doubles_up_to_the_interval() {
        let pauses: Vec<u64> = (1..6).map(|attempts| backoff_ms(attempts, 60_000)).collect();
        assert_eq!(pauses, [5_000, 10_000, 20_000, 40_000, 60_000]);
        assert_eq!(backoff_ms(u32::MAX, 60_000), 60_000);
        assert_eq!(backoff_ms(1, 1_000), 1_000);
    }

    #[test]
    fn each_refusal_has_its_cause() {
        let cause = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            refusal(&Answer { status, headers: axum::http::HeaderMap::new(), body: body.to_owned().into() })
                .cause
        };
        let problem = |code: &str| {
            format!(r#"{{"type":"x","title":"x","status":400,"code":"{code}","detail":"it is so"}}"#)
        };
        for (status, code, expected) in [
            (401, "signature_rejected", Cause::RefusedKey),
            (401, "signature_expired", Cause::RefusedClock),
            (403, "contract_ended", Cause::ContractEnded),
            (409, "reporter_forked", Cause::Forked),
            (422, "field_rejected", Cause::RefusedReport),
            (503, "not_ready", Cause::Unreachable),
        ] {
            assert_eq!(cause(status, &problem(code)), expected, "{code}");
        }
        assert_eq!(cause(403, "<html>a proxy says no</html>"), Cause::Unreachable);
    }
}
