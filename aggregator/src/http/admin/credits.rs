//! `POST /api/v1/admin/projects/{project}/credits`: units that are given, with a reason.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use shared::problem::ErrorCode;
use shared::units::Units;

use crate::app::App;
use crate::billing::{LotView, TopUps};
use crate::http::access::{Operate, Permitted};
use crate::http::billing::refused;
use crate::http::body::{self, Fields, JSON_BYTES_MAX};
use crate::http::failure::Failure;
use crate::store::{Credited, Once};

/// The longest reason; it is one sentence of an operator.
const REASON_CHARS_MAX: usize = 200;

/// The longest Idempotency-Key.
const KEY_CHARS_MAX: usize = 255;

/// Gives units as a lot; the same Idempotency-Key with the same body gives them once.
pub(crate) async fn give(
    on: Permitted<Operate>,
    State(app): State<App>,
    request: Request,
) -> Result<(StatusCode, Json<LotView>), Failure> {
    let (head, body): (_, Body) = request.into_parts();
    body::require_json(&head.headers)?;
    let body = body::read(&app, &head.headers, body, JSON_BYTES_MAX).await?;
    let once = once(&head.headers, &body)?;
    let mut fields = Fields::parse(&body)?.only(&["units", "reason"])?;
    let accepts = format!("1 to {}", Units::MAX);
    let units: Units = fields.required("units", &accepts)?;
    if units == Units::ZERO {
        return Err(Failure::field("units", "0", &accepts));
    }
    let reason: String = fields.required("reason", "a text that says why")?;
    if !is_reason(&reason) {
        return Err(Failure::field("reason", &reason, REASON));
    }
    let now = app.clock.now();
    match app.store.give_credit(&on.project.id, (units, reason), once.as_ref(), now).await? {
        Credited::Lot(book, lot) => {
            tracing::info!(project.id = %on.project.id, token.id = on.token.id, lot = %lot, units = %units, "credit given");
            let view = TopUps::new(&book, now).map_err(|refusal| refused(&refusal))?.into_lot(lot);
            let view = view.ok_or_else(|| Failure::internal(&"a lot that was written is not there"))?;
            Ok((StatusCode::CREATED, Json(view)))
        }
        Credited::ProjectUnknown => Err(Failure::project_unknown()),
        Credited::KeyReused => Err(Failure::new(
            ErrorCode::IdempotencyKeyReused,
            "This Idempotency-Key was used with another body. Nothing was given; choose a new key.",
        )),
        Credited::Refused(refusal) => Err(refused(&refusal)),
    }
}

/// What is accepted as a reason.
pub(crate) const REASON: &str = "1 to 200 characters that are not only spaces";

/// Whether a text says why, as far as its form goes.
pub(crate) fn is_reason(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= REASON_CHARS_MAX && !text.contains(char::is_control)
}

/// Whether a text may name a call.
pub(crate) fn is_idempotency_key(text: &str) -> bool {
    (1..=KEY_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn once(headers: &HeaderMap, body: &[u8]) -> Result<Option<Once>, Failure> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let accepts = format!("one of 1 to {KEY_CHARS_MAX} visible ASCII characters");
    let text = key.to_str().ok().filter(|text| is_idempotency_key(text));
    match (text, keys.next()) {
        (Some(text), None) => Ok(Some(Once { key: text.to_owned(), body: Sha256::digest(body).into() })),
        (Some(_) | None, _) => Err(Failure::field("Idempotency-Key", "something else", &accepts)),
    }
}
