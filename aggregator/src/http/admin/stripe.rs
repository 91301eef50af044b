//! `/api/v1/admin/stripe/…`: what waits for a person at the seam to Stripe.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::ProjectId;
use shared::problem::ErrorCode;
use shared::time::Period;

use crate::app::App;
use crate::http::access::{NamedInPath, Operator};
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::Field;
use crate::http::query::Query;
use crate::http::route::{Route, Who};
use crate::http::stripe::account;
use crate::payments::table::OrderState;
use crate::store::{Drift, Event, ShownIntent, ShownOrder, Store, StoreError};
use crate::stripe::rehearsal::{self, RehearsalError, Rehearsed};

/// How many rows of each kind are shown; whoever has dealt with these sees the next.
const SHOWN: u32 = 50;

const PARKED: &str = "/api/v1/admin/stripe/parked";

const RETRY: &str = "/api/v1/admin/stripe/parked/{name}/retry";

const DRY_RUN: &str = "/api/v1/admin/stripe/parked/{name}/dry-run";

const PROJECT: &str = "the id of the one project that is meant; all where it is absent";

const QUERY: &[Field] = &[Field::optional::<ProjectId>("project", PROJECT).such_as("\"demo\"")];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let unknown = [ErrorCode::ProjectUnknown];
    vec![
        Route::get(PARKED, Who::Operator, "List payments that need a person", parked).answers::<ParkedView>(
            200,
            "Parked events, held orders and bills, and where Stripe's books differ",
        ),
        Route::get(DRY_RUN, Who::Operator, "Show what processing a parked event again would do", dry_run)
            .answers::<Rehearsed>(200, "Where it would stand and what would change; nothing is changed")
            .refuses(&[ErrorCode::NotFound, ErrorCode::PaymentsUnavailable]),
        Route::post(RETRY, Who::Operator, "Process again what needs a person", retry)
            .answers::<AgainView>(200, "It is processed again, within seconds")
            .refuses(&[ErrorCode::NotFound]),
        Route::get("/api/v1/admin/stripe/orders", Who::Operator, "List orders", orders)
            .query(QUERY)
            .answers::<OrderList>(200, "The newest 50, the newest first")
            .refuses(&unknown),
        Route::get("/api/v1/admin/stripe/bills", Who::Operator, "List bills of closed months", bills)
            .query(QUERY)
            .answers::<BillList>(200, "The newest 50, the newest first, and how far each is collected")
            .refuses(&unknown),
    ]
}

/// What waits for a person, the first 50 of each kind.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ParkedView {
    /// Events that were delivered and are not settled yet.
    waiting: u64,
    /// How many events are parked in all.
    parked: u64,
    /// The oldest first.
    events: Vec<ParkedEvent>,
    /// Paid, but not as they were ordered.
    orders: Vec<ShownOrder>,
    /// What cannot be collected as it is.
    bills: Vec<ShownIntent>,
    /// The last hourly comparison with Stripe; `null` before the first.
    drift: Option<Drift>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ParkedEvent {
    id: String,
    kind: String,
    object: Option<String>,
    received: String,
    note: Option<String>,
}

impl ParkedView {
    /// Reads everything that waits for a person.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read(store: &Store) -> Result<Self, StoreError> {
        let (waiting, parked) = store.events_waiting().await?;
        Ok(Self {
            waiting,
            parked,
            events: store.parked_events(SHOWN).await?.into_iter().map(ParkedEvent::from).collect(),
            orders: store.shown_orders(Some(OrderState::Held), None, SHOWN).await?,
            bills: store.held_intents(SHOWN).await?,
            drift: store.drift().await?,
        })
    }
}

impl From<Event> for ParkedEvent {
    fn from(event: Event) -> Self {
        Self {
            id: event.envelope.id,
            kind: event.envelope.kind,
            object: event.envelope.object,
            received: event.received.to_string(),
            note: event.note,
        }
    }
}

/// Orders, the newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OrderList {
    orders: Vec<ShownOrder>,
}

/// What closed months cost beside the subscription, the newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BillList {
    bills: Vec<ShownIntent>,
}

/// What is processed again.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AgainView {
    /// The event's id, the order's id, or the bill as `project/2026-11/0`.
    id: String,
    again: bool,
}

/// Lists orders.
async fn orders(_: Operator, State(app): State<App>, uri: Uri) -> Result<Json<OrderList>, Failure> {
    let project = queried(&app, &uri).await?;
    Ok(Json(OrderList { orders: app.store.shown_orders(None, project.as_ref(), SHOWN).await? }))
}

/// Lists bills.
async fn bills(_: Operator, State(app): State<App>, uri: Uri) -> Result<Json<BillList>, Failure> {
    let project = queried(&app, &uri).await?;
    Ok(Json(BillList { bills: app.store.shown_intents(project.as_ref(), SHOWN).await? }))
}

/// The project that a query names, which must be there.
async fn queried(app: &App, uri: &Uri) -> Result<Option<ProjectId>, Failure> {
    let query = Query::of(uri, QUERY)?;
    let Some(id) = query.optional("project", PROJECT, |text| ProjectId::parse(text).ok())? else {
        return Ok(None);
    };
    app.store.project(&id).await?.ok_or_else(Failure::project_unknown)?;
    Ok(Some(id))
}

/// Has something processed again that waits for a person.
async fn retry(
    Operator(token): Operator,
    NamedInPath(name): NamedInPath,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let (mut change, now) = (call.begin(&app).await?, app.clock.now());
    let again = match bill(&name) {
        Some((project, period, number)) => change.release_intent((&project, period, number), now).await?,
        None => change.retry_event(&name, now).await? || change.release_order(&name, now).await?,
    };
    if !again {
        let detail = format!(
            "There is no parked event, held order or held bill of that name. GET {PARKED} lists those there are."
        );
        return Err(Failure::new(ErrorCode::NotFound, detail));
    }
    tracing::info!(token.id = token.id, retried.id = name, "a payment is processed again");
    change.answer(StatusCode::OK, &AgainView { id: name, again }).await
}

/// Says what processing an event again would do, without doing it.
async fn dry_run(
    _: Operator,
    NamedInPath(name): NamedInPath,
    State(app): State<App>,
) -> Result<Json<Rehearsed>, Failure> {
    match rehearsal::rehearse(account(&app)?, &name).await {
        Ok(Some(rehearsed)) => Ok(Json(rehearsed)),
        Ok(None) => {
            let detail = format!(
                "There is no parked or waiting event of that name. GET {PARKED} lists those there are."
            );
            Err(Failure::new(ErrorCode::NotFound, detail))
        }
        Err(RehearsalError::Store(error)) => Err(error.into()),
        Err(slow @ RehearsalError::TooSlow) => Err(Failure::new(
            ErrorCode::PaymentsUnavailable,
            format!("{slow}. Nothing was changed; ask again."),
        )),
    }
}

/// Reads `project/2026-11/0`.
fn bill(text: &str) -> Option<(ProjectId, Period, u32)> {
    let (project, rest) = text.split_once('/')?;
    let (period, number) = rest.split_once('/')?;
    Some((ProjectId::parse(project).ok()?, Period::parse(period)?, number.parse().ok()?))
}

/// Lists what waits for a person.
pub(crate) async fn parked(_: Operator, State(app): State<App>) -> Result<Json<ParkedView>, Failure> {
    Ok(Json(ParkedView::read(&app.store).await?))
}
