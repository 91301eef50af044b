//! Idempotent: compares our books with Stripe's every hour, fetches what was not delivered, and heals what
//! follows from an object's present state. What remains different is a number that must be 0.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::ids::ProjectId;
use shared::time::{Period, Timestamp};

use crate::app::App;
use crate::ledger::money::Money;
use crate::payments::event::Envelope;
use crate::payments::intent::{Intent, taken_off};
use crate::payments::order::Order;
use crate::payments::seen::{Invoice, Payment};
use crate::payments::table::BillStep;
use crate::store::StoreError;
use crate::stripe::account::Account;
use crate::stripe::sync::{self, SyncError};

/// How often the books are compared.
const INTERVAL_MS: u64 = 60 * 60 * 1_000;

/// How soon is looked whether it is time; the clock of a meter for tests may jump.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How far back is compared: a month, its close 72 hours later, and a payment's days.
const BACK_S: u64 = 45 * 24 * 60 * 60;

/// How far back undelivered events are fetched; Stripe keeps them for 30 days.
const EVENTS_BACK_S: u64 = 29 * 24 * 60 * 60;

/// How many of our own rows are compared in one go.
const ROWS_MAX: u32 = 10_000;

/// Compares for ever; drop the future to stop. Does nothing where there is no account.
pub async fn run(app: App) {
    let Some(account) = app.stripe.as_ref() else { return std::future::pending().await };
    let mut last: Option<Timestamp> = None;
    loop {
        let now = app.clock.now();
        if last.is_none_or(|last| now.ms_since(last) >= INTERVAL_MS || now < last) {
            last = Some(now);
            match reconcile(&app, account).await {
                Ok(findings) => {
                    app.metrics.stripe_drift(findings.len());
                    for finding in &findings {
                        tracing::error!(finding, "Stripe's books differ from ours");
                    }
                    tracing::info!(findings = findings.len(), "compared with Stripe");
                    if let Err(error) = app.store.keep_drift(findings, now).await {
                        tracing::warn!(error = %error, "what differs was not kept");
                    }
                }
                Err(error) => tracing::warn!(error = %error, "not compared with Stripe"),
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Fetches what was missed, heals what it can, and says what still differs.
///
/// # Errors
/// When Stripe or the store cannot be asked.
pub async fn reconcile(app: &App, account: &Account) -> Result<Vec<String>, SyncError> {
    missed_events(app, account).await?;
    let mut findings = payments(app, account).await?;
    findings.extend(invoices(app, account).await?);
    Ok(findings)
}

/// Puts events into the inbox that Stripe could not deliver.
async fn missed_events(app: &App, account: &Account) -> Result<(), SyncError> {
    let since = app.clock.now().as_seconds().saturating_sub(EVENTS_BACK_S).to_string();
    let query = [("delivery_success", "false"), ("created[gte]", since.as_str())];
    let missed: Vec<serde_json::Value> = account.api.list("/events", &query).await?;
    for event in missed {
        let raw = event.to_string();
        let Ok(envelope) = Envelope::parse(raw.as_bytes()) else { continue };
        if app.store.take_events(&[(&envelope, raw.as_bytes())], app.clock.now()).await? > 0 {
            tracing::warn!(stripe.event = %envelope.id, kind = %envelope.kind, "an event had not been delivered");
        }
    }
    Ok(())
}

/// Every payment of an order at Stripe must be a paid order here, with the same money.
async fn payments(app: &App, account: &Account) -> Result<Vec<String>, SyncError> {
    let since = app.clock.now().as_seconds().saturating_sub(BACK_S).to_string();
    let payments: Vec<Payment> =
        account.api.list("/payment_intents", &[("created[gte]", since.as_str())]).await?;
    let mut findings = Vec::new();
    for payment in payments.iter().filter(|payment| payment.status == "succeeded") {
        let Some(order) = order_of(app, payment).await? else {
            findings.extend(
                payment
                    .metadata
                    .get("palveron_order")
                    .map(|name| format!("{}: paid for the order {name}, which we do not have", payment.id)),
            );
            continue;
        };
        let name = &order.id;
        // Settling again changes nothing where nothing was missed.
        if order.session.is_some() && sync::is_unfinished(&order) {
            sync::order(account, &order, None).await?;
        }
        let book = app.store.book(&order.project).await?;
        let lot = book.as_ref().and_then(|book| Some(book.ledger.lot(order.lot(book)?).ok()?.clone()));
        let ours = lot.and_then(|lot| lot.paid).map(|paid| paid.minor());
        // A balance at Stripe may have paid a part of an invoice.
        let same =
            if order.automatic { ours.is_some() } else { ours == Some(i128::from(payment.amount_received)) };
        if !same {
            let Payment { id, amount_received, .. } = payment;
            findings.push(format!("{id}: {amount_received} at Stripe, {ours:?} in the ledger, order {name}"));
        }
    }
    Ok(findings)
}

/// The order that a payment is for; those of invoices say nothing of it themselves.
async fn order_of(app: &App, payment: &Payment) -> Result<Option<Order>, StoreError> {
    match payment.metadata.get("palveron_order") {
        Some(name) => app.store.stripe_order(name).await,
        None => app.store.order_of_payment(&payment.id).await,
    }
}

/// Every bill here must be one invoice at Stripe with the same sum, and every such invoice a bill.
async fn invoices(app: &App, account: &Account) -> Result<Vec<String>, SyncError> {
    let now = app.clock.now();
    let since_s = now.as_seconds().saturating_sub(BACK_S);
    let ours =
        app.store.collected_intents(Timestamp::from_ms(since_s.saturating_mul(1_000)), ROWS_MAX).await?;
    let mut findings = Vec::new();
    let mut months: BTreeMap<(ProjectId, Period), Vec<&str>> = BTreeMap::new();
    for intent in &ours {
        findings.extend(compare(account, intent).await?);
        let month = months.entry((intent.project.clone(), intent.period)).or_default();
        month.extend(intent.invoice.as_deref());
    }
    for ((project, period), invoices) in months {
        findings.extend(uncredited(app, account, (&project, period), &invoices).await?);
    }
    let since = since_s.to_string();
    let theirs: Vec<Invoice> = account.api.list("/invoices", &[("created[gte]", since.as_str())]).await?;
    let billed = theirs.iter().filter(|invoice| {
        invoice.metadata.get("palveron_kind").map(String::as_str) == Some("overage")
            && invoice.status.as_deref() != Some("void")
    });
    for invoice in billed {
        let known = ours.iter().any(|intent| intent.invoice.as_deref() == Some(invoice.id.as_str()));
        if !known {
            findings.push(format!("{}: an invoice of ours that no bill has", invoice.id));
        }
    }
    Ok(findings)
}

/// What corrections have taken off a month's bills, and no credit note of its invoices says: a person issues it.
async fn uncredited(
    app: &App,
    account: &Account,
    (project, period): (&ProjectId, Period),
    invoices: &[&str],
) -> Result<Option<String>, SyncError> {
    let Some(book) = app.store.book(project).await? else { return Ok(None) };
    let off = taken_off(&book.ledger, period).map_err(StoreError::Refused)?;
    if off <= 0 {
        return Ok(None);
    }
    let mut credited = 0_i128;
    for invoice in invoices {
        let seen = account.api.invoice(invoice).await?;
        let notes = [seen.pre_payment_credit_notes_amount, seen.post_payment_credit_notes_amount];
        credited = notes.into_iter().fold(credited, |sum, note| sum.saturating_add(i128::from(note)));
    }
    let currency = book.ledger.currency();
    Ok((credited < off).then(|| {
        let (off, credited) = (Money::new(off, currency), Money::new(credited, currency));
        format!(
            "{}: corrections of {project} {period} take {off} off, credit notes {credited}",
            invoices.join(" ")
        )
    }))
}

async fn compare(account: &Account, intent: &Intent) -> Result<Option<String>, SyncError> {
    let Some(id) = &intent.invoice else { return Ok(None) };
    let invoice = account.api.invoice(id).await?;
    match intent.step {
        BillStep::Due | BillStep::Drafted | BillStep::Lined | BillStep::Void => return Ok(None),
        BillStep::Collecting | BillStep::Overdue | BillStep::Uncollectible => {
            sync::intent(account, intent, None).await?;
        }
        BillStep::Paid | BillStep::Held => {}
    }
    let same = i128::from(invoice.subtotal) == intent.amount.minor();
    Ok((!same).then(|| format!("{id}: {} at Stripe, {} in the ledger", invoice.subtotal, intent.amount)))
}
