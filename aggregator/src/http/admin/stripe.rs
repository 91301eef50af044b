//! `/api/v1/admin/stripe/…`: what waits for a person at the seam to Stripe.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::http::access::Operator;
use crate::http::failure::Failure;
use crate::http::route::{Route, Who};
use crate::payments::table::OrderState;
use crate::store::{Drift, Event, ShownIntent, ShownOrder, Store, StoreError};

/// How many rows of each kind are shown; whoever has dealt with these sees the next.
const SHOWN: u32 = 50;

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let path = "/api/v1/admin/stripe/parked";
    vec![
        Route::get(path, Who::Operator, "List payments that need a person", parked).answers::<ParkedView>(
            200,
            "Parked events, held orders and bills, and where Stripe's books differ",
        ),
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

/// Lists what waits for a person.
pub(crate) async fn parked(_: Operator, State(app): State<App>) -> Result<Json<ParkedView>, Failure> {
    Ok(Json(ParkedView::read(&app.store).await?))
}
