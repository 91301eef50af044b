//! Idempotent: processes what Stripe delivered, looks after what is unfinished, and collects bills.
//!
//! What is to be done is in the store, so nothing is forgotten when this process dies, and each thing may be
//! done any number of times.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use shared::time::Timestamp;
use tokio::task::JoinSet;

use super::backoff::backoff_ms;
use crate::app::App;
use crate::payments::intent::{Intent, fields};
use crate::payments::order::Order;
use crate::store::{Event, StoreError};
use crate::stripe::account::Account;
use crate::stripe::processing::{self, Processed};
use crate::stripe::sync::{self, SyncError};
use crate::stripe::{charge, checkout, collect};

/// How soon is looked again when nothing was delivered.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How often unfinished orders, bills and payment methods are looked after.
const CHORES_INTERVAL_MS: u64 = 2_000;

/// How many events are processed at once, so that a slow customer does not hold up the others.
const EVENTS_MAX: usize = 8;

/// How many orders, bills or customers are looked after in one go.
const CHORES_MAX: u32 = 20;

/// The first wait after a failure and the longest: when Stripe is back after hours, all is done within minutes.
const BACKOFF_MS: RangeInclusive<u64> = 500..=120_000;

/// How soon a bill is moved on whose call failed.
const BILL_AGAIN_MS: u64 = 2_000;

/// How often an unfinished order is looked at that no event told of.
const ORDER_LOOK_MS: u64 = 60 * 60 * 1_000;

/// How soon a call of an automatic top-up is sent again whose outcome is unknown: somebody may be waiting for units.
const TOP_UP_AGAIN_MS: u64 = 2_000;

/// Works for ever; drop the future to stop. Does nothing where there is no account.
pub async fn run(app: App) {
    let Some(account) = app.stripe.as_ref() else { return std::future::pending().await };
    let mut running: JoinSet<String> = JoinSet::new();
    let mut in_flight: BTreeSet<String> = BTreeSet::new();
    let mut chores_at = Timestamp::from_ms(0);
    loop {
        match due(&app, &in_flight).await {
            Ok(events) => {
                for event in events {
                    in_flight.insert(event.envelope.id.clone());
                    running.spawn(process(app.clone(), event));
                }
            }
            Err(error) => tracing::error!(error = %error, "Stripe's events cannot be read"),
        }
        let now = app.clock.now();
        if now.ms_since(chores_at) >= CHORES_INTERVAL_MS || now < chores_at {
            chores_at = now;
            if let Err(error) = chores(&app, account).await {
                tracing::error!(error = %error, "unfinished payments cannot be looked after");
            }
        }
        tokio::select! {
            () = account.inbox.arrived() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            Some(done) = running.join_next() => match done {
                Ok(id) => { in_flight.remove(&id); }
                // An event whose processing died is tried again from the store.
                Err(error) => { tracing::error!(error = %error, "an event's processing died"); in_flight.clear(); }
            },
        }
    }
}

async fn due(app: &App, in_flight: &BTreeSet<String>) -> Result<Vec<Event>, StoreError> {
    let free = EVENTS_MAX.saturating_sub(in_flight.len());
    let limit = u32::try_from(free.saturating_add(in_flight.len())).unwrap_or(u32::MAX);
    let mut events = app.store.due_events(app.clock.now(), limit).await?;
    events.retain(|event| !in_flight.contains(&event.envelope.id));
    events.truncate(free);
    Ok(events)
}

/// Processes one event and notes what became of it.
#[tracing::instrument(
    target = "meter_trace", name = "job", skip_all,
    fields(otel.name = "process an event of Stripe", stripe.event = %event.envelope.id, kind = %event.envelope.kind)
)]
async fn process(app: App, event: Event) -> String {
    let id = event.envelope.id.clone();
    let Some(account) = app.stripe.as_ref() else { return id };
    let wait_ms = backoff_ms(&BACKOFF_MS, event.attempts);
    match processing::process(account, &event, wait_ms).await {
        Ok(Processed::Done) => {}
        Ok(Processed::Waits(error)) => {
            tracing::warn!(stripe.event = %id, kind = %event.envelope.kind, error = %error, wait_ms, "an event waits");
        }
        Ok(Processed::Parked(error)) => {
            app.metrics.stripe_alarm();
            tracing::error!(
                stripe.event = %id, kind = %event.envelope.kind, error = %error,
                "an event was parked; see `meter stripe parked`"
            );
        }
        Err(error) => {
            tracing::error!(stripe.event = %id, error = %error, "the outcome of an event was not noted");
            // It is still due; without this pause a broken store would be asked at full speed.
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
    id
}

/// Looks after what no event may tell of. Every part fails by itself.
///
/// # Errors
/// When the store fails.
pub async fn chores(app: &App, account: &Account) -> Result<(), StoreError> {
    let now = app.clock.now();
    for project in app.store.due_top_ups(now, CHORES_MAX).await? {
        if let Err(error) = charge::begin(account, &project).await {
            tracing::warn!(project.id = %project, error = %error, "an automatic top-up waits");
        }
    }
    for order in app.store.due_orders(now, CHORES_MAX).await? {
        look_after(app, account, order).await?;
    }
    for intent in app.store.due_intents(now, CHORES_MAX).await? {
        advance(app, account, intent).await?;
    }
    for (customer, method) in app.store.uncharged_methods(CHORES_MAX).await? {
        let form = fields(&[("invoice_settings[default_payment_method]", &method)]);
        let path = format!("/customers/{customer}");
        match account.api.set::<serde_json::Value>(&path, &form).await {
            Ok(_) => app.store.method_is_charged(&customer, &method).await?,
            // A method that is not the customer's any more is no default; the next payment brings another.
            Err(error) if !error.is_passing() => {
                tracing::warn!(error = %error, "Stripe refuses a default payment method");
                app.store.method_is_charged(&customer, &method).await?;
            }
            Err(error) => tracing::warn!(error = %error, "a default payment method waits"),
        }
    }
    let (pending, parked) = app.store.events_waiting().await?;
    app.metrics.stripe_waiting(pending, parked);
    Ok(())
}

#[tracing::instrument(
    target = "meter_trace", name = "job", skip_all,
    fields(otel.name = "look after an order", project.id = %order.project)
)]
async fn look_after(app: &App, account: &Account, order: Order) -> Result<(), StoreError> {
    if order.automatic {
        return have_paid(app, account, order).await;
    }
    let (id, project) = (order.id.clone(), order.project.clone());
    let result = match order.session {
        Some(_) => sync::order(account, &order, None).await.map_err(checkout::BuyError::from),
        None => checkout::resume(account, order).await.map(drop),
    };
    if let Err(error) = result {
        tracing::warn!(project.id = %project, order.id = %id, error = %error, "an order waits");
    }
    app.store.order_due(&id, app.clock.now().plus_ms(ORDER_LOOK_MS)).await
}

/// Moves an automatic top-up on as far as it goes now.
async fn have_paid(app: &App, account: &Account, order: Order) -> Result<(), StoreError> {
    let (id, project) = (order.id.clone(), order.project.clone());
    let wait_ms = match charge::step(account, order).await {
        Ok(()) => ORDER_LOOK_MS,
        Err(error) => {
            tracing::warn!(project.id = %project, order.id = %id, error = %error, "an automatic top-up waits");
            TOP_UP_AGAIN_MS
        }
    };
    app.store.order_due(&id, app.clock.now().plus_ms(wait_ms)).await
}

/// Moves a bill on as far as it goes now.
#[tracing::instrument(
    target = "meter_trace", name = "job", skip_all,
    fields(otel.name = "advance an invoice", project.id = %intent.project, period = %intent.period)
)]
async fn advance(app: &App, account: &Account, intent: Intent) -> Result<(), StoreError> {
    let error = match collect::step(account, intent.clone()).await {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    if error.is_passing() {
        tracing::warn!(project.id = %intent.project, period = %intent.period, error = %error, "a bill waits");
        let due = app.clock.now().plus_ms(BILL_AGAIN_MS);
        return app.store.intent_failed(&intent, &error.to_string(), due).await;
    }
    match collect::hold(account, &intent, error.to_string()).await {
        Err(SyncError::Store(error)) => Err(error),
        Ok(()) | Err(SyncError::Call(_) | SyncError::Parked(_) | SyncError::Overtaken) => Ok(()),
    }
}
