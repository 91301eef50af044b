//! Idempotent: collects what closed months cost, one invoice each (I7).
//!
//! Each call moves an intent one step, and the step is written before the next call. A call whose outcome
//! nobody knows is sent again under its key. Where Stripe may have forgotten the key, or has remembered a
//! failure under it, what is there is looked up first: found, it is adopted; proved absent, the next key is
//! used. Nothing is finalized whose sum is not the bill's, so a doubled line could never be charged.

use super::account::Account;
use super::checkout;
use super::client::CallError;
use super::sync::{self, SyncError};
use crate::payments::intent::{Intent, fields, line_name};
use crate::payments::seen::{Invoice, InvoiceItem};
use crate::payments::table::BillStep;

/// How far Stripe's clock and ours may differ when invoices are looked up by their time, in seconds.
const CLOCKS_DIFFER_S: u64 = 10 * 60;

/// Moves an intent one step on.
///
/// # Errors
/// When it stays where it is, to be tried again later.
pub async fn step(account: &Account, intent: Intent) -> Result<(), SyncError> {
    let intent = match &intent.customer {
        Some(_) => intent,
        None => Intent { customer: Some(customer(account, &intent).await?), ..intent },
    };
    match intent.step {
        BillStep::Due => draft(account, intent).await,
        BillStep::Drafted => lines(account, intent).await,
        BillStep::Lined => finalize(account, intent).await,
        BillStep::Collecting
        | BillStep::Paid
        | BillStep::Overdue
        | BillStep::Void
        | BillStep::Uncollectible
        | BillStep::Held => Ok(()),
    }
}

/// Puts an intent aside for a person.
///
/// # Errors
/// When the books fail.
pub async fn hold(account: &Account, intent: &Intent, why: String) -> Result<(), SyncError> {
    account.metrics.stripe_alarm();
    tracing::error!(project.id = %intent.project, period = %intent.period, why, "a bill cannot be collected");
    let held = Intent { step: BillStep::Held, note: Some(why), ..intent.clone() };
    Ok(account.store.intent_moved(intent, &held, account.clock.now()).await?)
}

async fn customer(account: &Account, intent: &Intent) -> Result<String, SyncError> {
    checkout::customer(account, &intent.project).await.map_err(|error| match error {
        checkout::BuyError::Stripe(error) => SyncError::Call(error),
        checkout::BuyError::Store(error) => SyncError::Store(error),
        other @ (checkout::BuyError::NotBillable(_)
        | checkout::BuyError::KeyReused
        | checkout::BuyError::ProjectUnknown) => SyncError::Parked(other.to_string()),
    })
}

async fn moved(account: &Account, before: &Intent, after: &Intent) -> Result<(), SyncError> {
    Ok(account.store.intent_moved(before, after, account.clock.now()).await?)
}

async fn draft(account: &Account, intent: Intent) -> Result<(), SyncError> {
    let customer = intent.customer.clone().unwrap_or_default();
    let now = account.clock.now();
    if intent.may_be_forgotten(now) {
        return adopt_or_renew(account, intent).await;
    }
    // From here on the call may have happened.
    account.store.intent_sending(&intent, now).await?;
    let form = intent.invoice_form(&customer, account.automatic_tax);
    match account.api.make::<Invoice>("/invoices", &form, &intent.key("invoice")).await {
        Ok(invoice) => {
            let drafted = Intent { invoice: Some(invoice.id), ..intent.clone().at(BillStep::Drafted) };
            moved(account, &intent, &drafted).await
        }
        Err(CallError::Broken { .. }) => adopt_or_renew(account, intent).await,
        Err(refused @ CallError::Refused { .. }) => hold(account, &intent, refused.to_string()).await,
        Err(error) => Err(error.into()),
    }
}

/// Takes the invoice that is there, or the next key where there is none.
async fn adopt_or_renew(account: &Account, intent: Intent) -> Result<(), SyncError> {
    let customer = intent.customer.clone().unwrap_or_default();
    let since = intent.created.as_seconds().saturating_sub(CLOCKS_DIFFER_S).to_string();
    let query = [("customer", customer.as_str()), ("created[gte]", since.as_str())];
    let invoices: Vec<Invoice> = account.api.list("/invoices", &query).await?;
    let next = match invoices.into_iter().find(|invoice| intent.is_of(invoice)) {
        Some(invoice) => Intent { invoice: Some(invoice.id), ..intent.clone().at(BillStep::Drafted) },
        None => Intent { attempt: intent.attempt.saturating_add(1), first_sent: None, ..intent.clone() },
    };
    moved(account, &intent, &next).await
}

async fn lines(account: &Account, intent: Intent) -> Result<(), SyncError> {
    let (customer, invoice) = named(&intent)?;
    // Somebody may have finalized it, we in an earlier life or a person at Stripe: what it shows counts.
    if account.api.invoice(&invoice).await?.status.as_deref() != Some("draft") {
        return sync::intent(account, &intent, None).await;
    }
    // What is there is always looked up first: the answer to our last call may have been lost.
    let items: Vec<InvoiceItem> = account.api.list("/invoiceitems", &[("invoice", invoice.as_str())]).await?;
    for line in intent.missing(&items) {
        let form = intent.line_form(line, &customer, &invoice);
        let key = intent.key(line_name(line));
        match account.api.make::<InvoiceItem>("/invoiceitems", &form, &key).await {
            Ok(_) => {}
            Err(CallError::Broken { .. }) => {
                // Whether it is there is seen when this step comes again; if not, the next key is used.
                let next = Intent { attempt: intent.attempt.saturating_add(1), ..intent.clone() };
                moved(account, &intent, &next).await?;
                return Err(SyncError::Call(CallError::Broken { status: 500 }));
            }
            Err(refused @ CallError::Refused { .. }) => {
                return hold(account, &intent, refused.to_string()).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    moved(account, &intent, &intent.clone().at(BillStep::Lined)).await
}

async fn finalize(account: &Account, intent: Intent) -> Result<(), SyncError> {
    let (_, invoice) = named(&intent)?;
    let seen = account.api.invoice(&invoice).await?;
    if seen.status.as_deref() != Some("draft") {
        return sync::intent(account, &intent, None).await;
    }
    if i128::from(seen.subtotal) != intent.amount.minor() {
        let why = format!("subtotal: got {}, accepted is {}", seen.subtotal, intent.amount.minor());
        return hold(account, &intent, why).await;
    }
    let path = format!("/invoices/{invoice}/finalize");
    let form = fields(&[("auto_advance", "true")]);
    match account.api.make::<Invoice>(&path, &form, &intent.key("finalize")).await {
        Ok(_) => sync::intent(account, &intent, None).await,
        Err(CallError::Broken { .. }) => {
            // What it is by now is seen when this step comes again.
            let next = Intent { attempt: intent.attempt.saturating_add(1), ..intent.clone() };
            moved(account, &intent, &next).await?;
            Err(SyncError::Call(CallError::Broken { status: 500 }))
        }
        Err(refused @ CallError::Refused { .. }) => hold(account, &intent, refused.to_string()).await,
        Err(error) => Err(error.into()),
    }
}

fn named(intent: &Intent) -> Result<(String, String), SyncError> {
    match (&intent.customer, &intent.invoice) {
        (Some(customer), Some(invoice)) => Ok((customer.clone(), invoice.clone())),
        _ => Err(SyncError::Parked("the bill has no customer or no invoice".to_owned())),
    }
}
