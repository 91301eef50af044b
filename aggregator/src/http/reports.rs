//! Reports of on-premise reporters: at `POST /ingest`, sent by themselves, and at `POST /ingest/carried`, from a file that
//! people carried. Nothing of one is looked at before its signature.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use sha2::{Digest, Sha256};
use shared::cell::Cell;
use shared::ids::{Incarnation, SourceId};
use shared::problem::ErrorCode;
use shared::report::{Environment, Report, ReportReceipt};
use shared::sign::{Purpose, SIGNATURE_HEADER, SignatureError, Signed, SigningKeys, fingerprint, named_key};
use shared::time::Timestamp;
use shared::units::Units;
use shared::wire::INGEST_PATH;

use super::body::{self, Fields};
use super::failure::Failure;
use super::field::Field;
use super::ingest::{FLUSH_BYTES_MAX, refused, too_many};
use super::places::Place;
use super::route::{Route, Who};
use super::site::Site;
use crate::app::App;
use crate::contracts::agreement::Phase;
use crate::contracts::chain::Fork;
use crate::contracts::reporter::{ProjectPolicy, ReporterKeyFound};
use crate::ledger::silence::too_long_at;
use crate::store::{Arrived, Receipt, RefusedBecause, Taken};

const SCHEMA: Field = Field::required::<u32>("schema", "1");
const SOURCE: Field = Field::required::<SourceId>("source", "the reporter's id");
const INCARNATION: Field = Field::required::<Incarnation>("incarnation", "8 to 32 of a-z and 0-9");
const SEQ: Field = Field::required::<Units>("seq", "1 to 2^53 - 1");
const PREVIOUS: Field = Field::required::<String>("previous", "64 lowercase hex digits");
const ENVIRONMENT: Field = Field::required::<Environment>("environment", "production or development");
const CELLS: Field = Field::required::<Vec<serde_json::Map<String, Value>>>(
    "cells",
    "at most 1,000 cells, as docs/protocol.md describes them",
);

/// A report's fields: these and no others.
const REPORT: &[Field] = &[SCHEMA, SOURCE, INCARNATION, SEQ, PREVIOUS, ENVIRONMENT, CELLS];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/ingest/carried", Who::Signed, "Take a carried report in", carried)
            .body(REPORT)
            .answers::<shared::openapi::AnyObject>(200, "The receipt, as docs/protocol.md describes it")
            .refuses(&[ErrorCode::ContractEnded, ErrorCode::ReporterForked]),
    ]
}

/// Takes a report from a file: its signature may be as old as it is.
async fn carried(State(site): State<Site>, request: Request) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let signature = super::ingest::signature(&head)?;
    take(&site, (&head, body), &signature, false).await
}

/// Takes a report that a reporter's key signed.
pub(super) async fn take(
    site: &Site,
    (head, body): (&Parts, Body),
    signature: &str,
    is_fresh: bool,
) -> Result<Response, Failure> {
    let app = &site.app;
    let named = named_key(signature).ok_or_else(rejected)?;
    let found = app.store.reporter_key(&named, &app.webhooks.keys).await?.ok_or_else(rejected)?;
    let place = head.extensions.get::<Place>();
    let reading = place.map(|place| place.read_body().ok_or_else(too_many)).transpose()?;
    let body = body::read(site.timeouts, &head.headers, body, FLUSH_BYTES_MAX).await?;
    drop(reading);
    verify(app, &found, (signature, &body), is_fresh).await?;
    if let Some(place) = place {
        place.take_for_ours();
    }
    body::require_json(&head.headers)?;
    let report = parse(&body)?;
    if report.source != found.reporter {
        let accepts = format!("{}, whose key signed it", found.reporter);
        return Err(Failure::field(SOURCE.name, report.source.as_str(), &accepts));
    }
    // It was JSON, which is UTF-8.
    let text = std::str::from_utf8(&body).map_err(|error| Failure::internal(&error))?;
    let hash = base16ct::lower::encode_string(&Sha256::digest(&body));
    let arrived = Arrived { report: &report, body: text, hash: &hash, is_fresh };
    let taken = app.store.take_report(arrived, app.clock.now()).await?;
    let receipt = receipt(&report, taken)?;
    answer(app, &report, *receipt, &found).await
}

async fn verify(
    app: &App,
    found: &ReporterKeyFound,
    (signature, body): (&str, &[u8]),
    is_fresh: bool,
) -> Result<(), Failure> {
    let unmoved = app.clock.unmoved();
    let now = if is_fresh {
        unmoved
    } else {
        // Who carries a file cannot sign it anew; what it says is judged by what came before it.
        let (seconds, _) = fingerprint(signature).ok_or_else(rejected)?;
        Timestamp::from_ms(seconds.saturating_mul(1_000))
    };
    let keys = SigningKeys::of(vec![found.key.clone()]);
    let signed = Signed { method: "POST", path: INGEST_PATH, body };
    let verified = signed.verify(signature, &keys, Purpose::Reporter, now).map(drop);
    let (because, failure) = match verified {
        Ok(()) if !found.is_revoked => return Ok(()),
        Ok(()) => {
            let detail = format!(
                "The key {} of the reporter {} was revoked. Set TELEMETRY_HMAC_KEY to one that is in use.",
                found.key.id(),
                found.reporter
            );
            (RefusedBecause::Key, Failure::new(ErrorCode::SignatureRejected, detail))
        }
        Err(SignatureError::Expired) => (RefusedBecause::Clock, refused(SignatureError::Expired)),
        Err(SignatureError::Rejected) => return Err(rejected()),
    };
    app.store.note_refused(&found.reporter, because, app.clock.now()).await?;
    Err(failure)
}

fn rejected() -> Failure {
    Failure::new(
        ErrorCode::SignatureRejected,
        "Sign the method, path, time and body with a key that both sides have: METER_SIGNING_KEYS of an edge, \
         TELEMETRY_HMAC_KEY of a reporter.",
    )
}

/// What became of a report, as the reporter is told.
fn receipt(report: &Report, taken: Taken) -> Result<Box<Receipt>, Failure> {
    match taken {
        Taken::Taken(receipt) => Ok(receipt),
        Taken::Unknown => Err(rejected()),
        Taken::OtherEnvironment => {
            let (got, accepts) = match report.environment {
                Environment::Production => ("production", "development, which this reporter was made for"),
                Environment::Development => ("development", "production, which this reporter was made for"),
            };
            Err(Failure::field(ENVIRONMENT.name, got, accepts))
        }
        Taken::Ended(agreement) => {
            let detail = format!(
                "The reporter {} was retired, or the contract {} {} is over and the 72 hours for its last reports too.",
                report.source,
                agreement.id,
                agreement.term()
            );
            Err(Failure::new(ErrorCode::ContractEnded, detail))
        }
        Taken::Forked(fork, living) => {
            let living = living.map_or_else(|| "nothing".to_owned(), |living| living.to_string());
            let Report { source, incarnation, seq, .. } = report;
            let what = match fork {
                Fork::OtherLife => format!(
                    "The reporter {source} is known in the life {living}, and this report is of {incarnation}. If it has \
                     taken over for good, have it promoted: `meter reporter promote {source} {incarnation}`."
                ),
                Fork::OtherBody => format!(
                    "Another report came as number {seq} of the life {incarnation} of {source}: two data folders report."
                ),
                Fork::NotFollowing => format!(
                    "The report {seq} of the life {incarnation} of {source} does not follow the one before it: two data \
                     folders report."
                ),
            };
            tracing::warn!(reporter.id = %source, incarnation = %incarnation, seq, fork = ?fork, "a fork was refused");
            Err(Failure::new(ErrorCode::ReporterForked, what))
        }
    }
}

/// The receipt, signed with the key that the report was signed with.
async fn answer(
    app: &App,
    report: &Report,
    receipt: Receipt,
    found: &ReporterKeyFound,
) -> Result<Response, Failure> {
    let now = app.clock.now();
    let [cells, doubted, crossings] = receipt.counts;
    app.metrics.ingested(cells, doubted);
    app.metrics.crossed(crossings);
    if doubted > 0 {
        tracing::warn!(reporter.id = %report.source, cells = doubted, "implausible cells were quarantined and not merged");
    }
    let Receipt { reporter, agreement, watermark, project_version, status, keys, .. } = receipt;
    let heard = reporter.heard.map_or(now, |heard| heard.max(reporter.due_since(&agreement)));
    let project =
        ProjectPolicy { version: project_version, status, keys, upgrade_url: app.basis.upgrade_url.clone() };
    let receipt = ReportReceipt {
        source: report.source.clone(),
        incarnation: report.incarnation.clone(),
        watermark,
        received_at: now,
        silent_at: too_long_at(heard, &app.store.downtime().await?),
        project: reporter.project.clone(),
        policy: reporter.policy(&agreement, project, now),
        billed_from: (agreement.phase(now) == Phase::Planned).then_some(agreement.terms.first_day),
    };
    let body = serde_json::to_string(&receipt).map_err(|error| Failure::internal(&error))?;
    let signed = Signed { method: "POST", path: INGEST_PATH, body: body.as_bytes() };
    let signature = HeaderValue::from_str(&signed.sign(&found.key, app.clock.unmoved()))
        .map_err(|error| Failure::internal(&error))?;
    let mut answer = body.into_response();
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer.headers_mut().insert(SIGNATURE_HEADER, signature);
    Ok(answer)
}

fn parse(body: &[u8]) -> Result<Report, Failure> {
    // An array would be read as a report by the position of its values; the slow way refuses it.
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    let report: Report = match serde_json::from_slice(body) {
        Ok(report) if is_object => report,
        Ok(_) | Err(_) => return Err(explain(body)),
    };
    report.check().map_err(|(field, got, accepts)| Failure::field(field, &got, accepts))?;
    Ok(report)
}

/// Finds the field that made a body no report.
fn explain(body: &[u8]) -> Failure {
    let mut fields = match Fields::parse(body).and_then(|fields| fields.of(REPORT)) {
        Ok(fields) => fields,
        Err(failure) => return failure,
    };
    let result = fields
        .read::<u32>(&SCHEMA)
        .and_then(|_| fields.read::<SourceId>(&SOURCE))
        .and_then(|_| fields.read::<Incarnation>(&INCARNATION))
        .and_then(|_| fields.read::<u64>(&SEQ))
        .and_then(|_| fields.read::<String>(&PREVIOUS))
        .and_then(|_| fields.read::<Environment>(&ENVIRONMENT))
        .and_then(|_| fields.read::<Vec<Cell>>(&CELLS));
    match result {
        Ok(_) => Failure::new(ErrorCode::FieldRejected, "The body is not a report as this release reads it."),
        Err(failure) => failure,
    }
}
