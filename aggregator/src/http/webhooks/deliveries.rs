//! `/api/v1/webhooks/{webhook}/…`: tests, the log of deliveries, and replays.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::problem::ErrorCode;
use shared::time::Timestamp;
use shared::whole::whole;

use super::view::{DeliveryDetail, DeliveryView};
use super::{Lists, Manages, OnWebhook, Reads};
use crate::access::Permission;
use crate::app::App;
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::{Field, Number, PROJECT};
use crate::http::query::Query;
use crate::http::route::{Route, Who};
use crate::store::{Asked, Page};

/// Deliveries on a page, at most and where nothing else is asked for.
pub(crate) const PAGE_MAX: u32 = 100;
const PAGE: u32 = 50;

/// The largest number of an event: what JavaScript still counts exactly.
const EVENT_NUMBER_MAX: u64 = (1 << 53) - 1;

/// Deliveries that one call replays; whoever has more calls again.
const REPLAY_MAX: u32 = 1_000;

/// What is accepted as an instant.
pub(crate) const SINCE: &str =
    "a date such as 2026-11-01, or an instant of RFC 3339 such as 2026-11-01T12:00:00Z";

const QUERY: &[Field] = &[PROJECT];

pub(super) const PAGE_QUERY: &[Field] = &[
    PROJECT,
    Field::optional::<Number<0, EVENT_NUMBER_MAX>>("before", "the next of an earlier page"),
    Field::optional::<Number<1, 100>>("limit", "1 to 100; 50 where it is absent"),
];

const REPLAY: &[Field] = &[Field::required::<String>("since", SINCE).such_as("\"2026-11-01\"")];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let read = Who::InProject(Permission::Read);
    let manage = Who::InProject(Permission::ManageWebhooks);
    vec![
        Route::post("/api/v1/webhooks/{webhook}/test", manage, "Test a webhook", test)
            .query(QUERY)
            .answers::<Begun>(202, "The delivery of an event that says only that it is a test")
            .refuses(&[ErrorCode::NotFound, ErrorCode::FieldRejected]),
        Route::post("/api/v1/webhooks/{webhook}/replay", manage, "Replay what a webhook lacks", replay_since)
            .query(QUERY)
            .body(REPLAY)
            .answers::<Replayed>(202, "How many deliveries were begun anew; at most 1000 of each kind a call")
            .refuses(&[ErrorCode::NotFound]),
        Route::get("/api/v1/webhooks/{webhook}/deliveries", read, "List deliveries", list)
            .query(PAGE_QUERY)
            .answers::<DeliveryPage>(200, "A page of deliveries, the newest first")
            .refuses(&[ErrorCode::NotFound]),
        Route::get("/api/v1/webhooks/{webhook}/deliveries/{delivery}", read, "Show a delivery", show)
            .query(QUERY)
            .answers::<DeliveryDetail>(200, "What was sent, and every attempt")
            .refuses(&[ErrorCode::NotFound]),
        Route::post(
            "/api/v1/webhooks/{webhook}/deliveries/{delivery}/replay",
            manage,
            "Replay a delivery",
            replay,
        )
        .query(QUERY)
        .answers::<DeliveryView>(202, "The delivery, which is tried at once")
        .refuses(&[ErrorCode::NotFound, ErrorCode::FieldRejected]),
    ]
}

/// A page of deliveries, the newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeliveryPage {
    deliveries: Vec<DeliveryView>,
    /// The `before` of the next page; `null` is the last.
    next: Option<u64>,
}

/// Which delivery was begun.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Begun {
    delivery: String,
}

/// How many deliveries were begun anew.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Replayed {
    replayed: u64,
}

/// `POST …/test`: sends an event that says only that it is a test.
async fn test(on: OnWebhook<Manages>, State(app): State<App>, call: Call) -> Result<Response, Failure> {
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let asked = change.test_webhook(&on.project.id, &on.webhook, app.clock.now()).await?;
    change.answer(StatusCode::ACCEPTED, &Begun { delivery: done(asked)? }).await
}

/// `GET …/deliveries`.
async fn list(on: OnWebhook<Lists>, State(app): State<App>) -> Result<Json<DeliveryPage>, Failure> {
    let page = page(&on.query)?;
    let found = app.store.deliveries(&on.project.id, &on.webhook, page).await?;
    let found = found.ok_or_else(Failure::webhook_unknown)?;
    let is_full = u32::try_from(found.len()).is_ok_and(|count| count == page.limit);
    let next = found.last().map(|last| last.event_number).filter(|_| is_full);
    Ok(Json(DeliveryPage { deliveries: found.into_iter().map(DeliveryView::from).collect(), next }))
}

/// `GET …/deliveries/{delivery}`.
async fn show(on: OnWebhook<Reads>, State(app): State<App>) -> Result<Json<DeliveryDetail>, Failure> {
    let endpoint = app.store.webhook(&on.project.id, &on.webhook).await?;
    let endpoint = endpoint.ok_or_else(Failure::webhook_unknown)?;
    let found = app.store.delivery(&on.project.id, &on.webhook, &on.delivery).await?;
    let found = found.ok_or_else(Failure::delivery_unknown)?;
    DeliveryDetail::new(&endpoint, found, &app.clock).map(Json).map_err(|error| Failure::internal(&error))
}

/// `POST …/deliveries/{delivery}/replay`.
async fn replay(on: OnWebhook<Manages>, State(app): State<App>, call: Call) -> Result<Response, Failure> {
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let asked = change.replay_delivery(&on.project.id, &on.webhook, &on.delivery, app.clock.now()).await?;
    let delivery = match asked {
        Asked::Unknown => return Err(Failure::delivery_unknown()),
        Asked::Done(_) | Asked::Disabled => done(asked)?,
    };
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, webhook.id = on.webhook, delivery.id = delivery.id, "delivery replayed");
    change.answer(StatusCode::ACCEPTED, &DeliveryView::from(delivery)).await
}

/// `POST …/replay`: everything since an instant that the endpoint wants and has not got.
async fn replay_since(
    on: OnWebhook<Manages>,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let text: String = call.fields()?.of(REPLAY)?.required("since", SINCE)?;
    let since = Timestamp::parse(&text).ok_or_else(|| Failure::field("since", &text, SINCE))?;
    let now = app.clock.now();
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let asked = change.replay_since(&on.project.id, &on.webhook, (since, now), REPLAY_MAX).await?;
    let replayed = done(asked)?;
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, webhook.id = on.webhook, replayed, "deliveries replayed");
    change.answer(StatusCode::ACCEPTED, &Replayed { replayed }).await
}

fn done<T>(asked: Asked<T>) -> Result<T, Failure> {
    match asked {
        Asked::Done(done) => Ok(done),
        Asked::Unknown => Err(Failure::webhook_unknown()),
        Asked::Disabled => Err(Failure::field(
            "disabled",
            "true",
            "an endpoint that is not disabled; PATCH it with {\"disabled\":false} first",
        )),
    }
}

fn page(query: &Query) -> Result<Page, Failure> {
    let accepts = format!("1 to {PAGE_MAX}");
    let limit = match query.get("limit") {
        None => PAGE,
        Some(text) => whole(text)
            .filter(|limit| (1..=PAGE_MAX).contains(limit))
            .ok_or_else(|| Failure::field("limit", text, &accepts))?,
    };
    let before = match query.get("before") {
        None => EVENT_NUMBER_MAX,
        Some(text) => whole(text)
            .filter(|before| *before <= EVENT_NUMBER_MAX)
            .ok_or_else(|| Failure::field("before", text, "the next of an earlier page"))?,
    };
    Ok(Page { before, limit })
}
