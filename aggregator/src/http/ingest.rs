//! `POST /ingest`: cells from homes, and reports of on-premise reporters, told apart by the key that signed. Nothing of a request is looked at before its signature.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use shared::cell::Cell;
use shared::ids::{Incarnation, Mode, ProjectId, SourceId};
use shared::policy::Place as HomesAt;
use shared::problem::ErrorCode;
use shared::sign::{Purpose, SIGNATURE_HEADER, SignatureError, Signed};
use shared::units::Units;
use shared::wire::{DENIED_MAX, FLUSH_CELLS_MAX, Flush, FlushAck};

use super::body::{self, Fields};
use super::failure::Failure;
use super::field::Field;
use super::places::Place;
use super::reports;
use super::route::{Route, Who};
use super::site::Site;
use crate::traces;

/// The largest flush: 1,000 cells with the longest agent names fit three times.
pub(super) const FLUSH_BYTES_MAX: usize = 1024 * 1024;

const PROJECT: Field = Field::required::<ProjectId>("project", "a project id");
const MODE: Field = Field::required::<Mode>("mode", "live or test");
const SOURCE: Field = Field::required::<SourceId>("source", "a source id");
const INCARNATION: Field = Field::required::<Incarnation>("incarnation", "8 to 32 of a-z and 0-9");
const SEQ: Field = Field::required::<Units>("seq", "a number below 2^53");
const CELLS: Field = Field::required::<Vec<serde_json::Map<String, serde_json::Value>>>(
    "cells",
    "at most 1,000 cells, as docs/protocol.md describes them",
);

/// A flush's fields; others are tolerated, so that releases can differ.
const FLUSH: &[Field] = &[PROJECT, MODE, SOURCE, INCARNATION, SEQ, CELLS];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(shared::wire::INGEST_PATH, Who::Signed, "Take cells in", flush)
            .body(FLUSH)
            .answers::<shared::openapi::AnyObject>(
                200,
                "The receipt and the project's policy, as docs/protocol.md describes them",
            )
            .refuses(&[ErrorCode::ProjectUnknown])
            .refuses(&[ErrorCode::ContractEnded, ErrorCode::ReporterForked]),
    ]
}

/// Merges a flush and answers with its receipt and the current policy; a report has a module of its own.
pub(super) async fn flush(State(site): State<Site>, request: Request) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let signature = signature(&head)?;
    // Whoever names no key of ours is refused before anything of the body is held.
    if !shared::sign::names_key(&signature, &site.app.signing_keys, Purpose::Edge) {
        return reports::take(&site, (&head, body), &signature, true).await;
    }
    let app = &site.app;
    let flush = authenticated(&site, (&head, body), &signature).await?;
    traces::concerns(&flush.project);
    let (taken, merged) =
        app.take(flush, HomesAt::DurableObject).await?.ok_or_else(Failure::project_unknown)?;
    let policy = app.signed_policy(&taken.book, taken.keys).map_err(|error| Failure::internal(&error))?;
    Ok(Json(FlushAck { watermark: taken.watermark, policy, merged }).into_response())
}

/// The one signature that a request carries.
pub(super) fn signature(head: &Parts) -> Result<String, Failure> {
    let mut signatures = head.headers.get_all(SIGNATURE_HEADER).iter();
    let (Some(signature), None) = (signatures.next(), signatures.next()) else {
        return Err(refused(SignatureError::Rejected));
    };
    Ok(signature.to_str().map_err(|_| refused(SignatureError::Rejected))?.to_owned())
}

async fn authenticated(site: &Site, (head, body): (&Parts, Body), signature: &str) -> Result<Flush, Failure> {
    let place = head.extensions.get::<Place>();
    let reading = place.map(|place| place.read_body().ok_or_else(too_many)).transpose()?;
    let body = body::read(site.timeouts, &head.headers, body, FLUSH_BYTES_MAX).await?;
    drop(reading);
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    Signed { method: head.method.as_str(), path, body: &body }
        .verify(signature, &site.app.signing_keys, Purpose::Edge, site.app.clock.now())
        .map_err(refused)?;
    if let Some(place) = place {
        place.take_for_ours();
    }
    body::require_json(&head.headers)?;
    parse(&body)
}

pub(super) fn too_many() -> Failure {
    Failure::new(
        ErrorCode::NotReady,
        "Too many bodies are on their way to here. Nothing was changed; send the request again.",
    )
}

pub(super) fn refused(error: SignatureError) -> Failure {
    match error {
        SignatureError::Rejected => Failure::new(
            ErrorCode::SignatureRejected,
            "Sign the method, path, time and body with an edge key that both sides have in METER_SIGNING_KEYS.",
        ),
        SignatureError::Expired => Failure::new(
            ErrorCode::SignatureExpired,
            "The signature's time is more than 300 s from ours. Set the sender's clock and sign again.",
        ),
    }
}

fn parse(body: &[u8]) -> Result<Flush, Failure> {
    // An array would be read as a flush by the position of its values; the slow way refuses it.
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    let flush: Flush = match serde_json::from_slice(body) {
        Ok(flush) if is_object => flush,
        Ok(_) | Err(_) => return Err(explain(body)),
    };
    if flush.cells.len() > FLUSH_CELLS_MAX {
        let accepts = format!("at most {FLUSH_CELLS_MAX} cells");
        return Err(Failure::field("cells", &flush.cells.len().to_string(), &accepts));
    }
    if flush.denied.len() > DENIED_MAX {
        let accepts = format!("at most {DENIED_MAX} periods");
        return Err(Failure::field("denied", &flush.denied.len().to_string(), &accepts));
    }
    if flush.seq > Units::MAX.get() {
        return Err(Failure::field(SEQ.name, &flush.seq.to_string(), SEQ.accepts));
    }
    Ok(flush)
}

/// Finds the field that made a body no flush. Unknown fields are tolerated, so that releases can differ.
fn explain(body: &[u8]) -> Failure {
    let mut fields = match Fields::parse(body) {
        Ok(fields) => fields,
        Err(failure) => return failure,
    };
    let result = fields
        .read::<ProjectId>(&PROJECT)
        .and_then(|_| fields.read::<Mode>(&MODE))
        .and_then(|_| fields.read::<SourceId>(&SOURCE))
        .and_then(|_| fields.read::<Incarnation>(&INCARNATION))
        .and_then(|_| fields.read::<u64>(&SEQ))
        .and_then(|_| fields.read::<Vec<Cell>>(&CELLS));
    match result {
        Ok(_) => Failure::new(ErrorCode::FieldRejected, "The body is not a flush as this release reads it."),
        Err(failure) => failure,
    }
}
