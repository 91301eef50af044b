//! Idempotent: pays automatic top-ups by an invoice each, on the customer's default payment method.
//!
//! An order is written before anything is sent. From then on it moves by keyed calls, and before each what is
//! there at Stripe is looked at: an invoice of its own, its one line, its finalization, its payment. An invoice
//! can be paid only once, so that no lost answer, crash or forgotten key charges twice. Stripe is told not to
//! collect it by itself: an invoice whose payment failed is voided, so that it is never paid later unasked.

use shared::ids::ProjectId;

use super::account::Account;
use super::checkout::{self, BuyError};
use super::client::CallError;
use super::sync::{self, SyncError};
use crate::payments::goods::Good;
use crate::payments::intent::{KEY_STANDS_MS, fields, invoice_state, metadata_fields};
use crate::payments::order::{Form, Order};
use crate::payments::seen::{Customer, Invoice, InvoiceItem};
use crate::payments::table::{InvoiceState, OrderState};

/// How many calls an order takes at most; what is not done by then goes on at the next look.
const CALLS_MAX: usize = 8;

/// Looks whether a project is to be topped up, and writes the order down if so.
///
/// # Errors
/// When Stripe or the books fail; it is looked again.
pub async fn begin(account: &Account, project: &ProjectId) -> Result<(), BuyError> {
    let Some(pack) = account.store.look_at_top_up(project, account.clock.now()).await? else { return Ok(()) };
    let (good, catalogue) = (Good::Pack(pack), account.store.newest_catalogue().await?);
    let customer = checkout::customer(account, project).await?;
    let price = sync::price(account, good).await?;
    let now = account.clock.now();
    let mut order = checkout::draft(&catalogue, project, (&customer, &price), good, now)?;
    order.automatic = true;
    order.form = invoice_form(&order, &customer, account.automatic_tax);
    if account.store.begin_top_up(&order, now).await? {
        tracing::info!(project.id = %project, order.id = %order.id, good = %good, "automatic top-up begun");
    }
    Ok(())
}

/// Moves an automatic order on as far as it goes now.
///
/// # Errors
/// When it stays where it is, to be tried again.
pub async fn step(account: &Account, order: Order) -> Result<(), SyncError> {
    let mut order = order;
    for _ in 0..CALLS_MAX {
        let Some(invoice) = order.session.clone() else {
            match draft(account, order).await? {
                Some(drafted) => order = drafted,
                None => return Ok(()),
            }
            continue;
        };
        let seen = account.api.invoice(&invoice).await?;
        match invoice_state(&seen) {
            Some(InvoiceState::Draft) if account.store.top_up_is_wanted(&order.project).await? => {
                complete(account, &order, &invoice).await?;
            }
            // Nobody pays a draft.
            Some(InvoiceState::Draft) => return given_up(account, &order).await,
            Some(InvoiceState::Open) if !seen.is_processing() => pay(account, &order, &invoice).await?,
            Some(InvoiceState::Failed) => void(account, &order, &invoice).await?,
            Some(
                InvoiceState::Open | InvoiceState::Paid | InvoiceState::Void | InvoiceState::Uncollectible,
            )
            | None => return sync::order(account, &order, None).await,
        }
        let Some(now) = account.store.stripe_order(&order.id).await? else { return Ok(()) };
        if !sync::is_unfinished(&now) {
            return Ok(());
        }
        order = now;
    }
    Err(SyncError::Overtaken)
}

fn invoice_form(order: &Order, customer: &str, automatic_tax: bool) -> Form {
    let mut form = fields(&[
        ("customer", customer),
        // We have it paid, once; Stripe's own retries would charge when nobody waits for it any more.
        ("auto_advance", "false"),
        ("collection_method", "charge_automatically"),
        ("pending_invoice_items_behavior", "exclude"),
        ("currency", &order.price.currency().to_string()),
        ("description", "Automatic top-up"),
        ("automatic_tax[enabled]", if automatic_tax { "true" } else { "false" }),
    ]);
    form.extend(metadata_fields(&order.metadata()));
    form
}

fn key(order: &Order, call: &str) -> String {
    format!("pm:topup:{}:{call}:{}", order.id, order.attempt)
}

/// Makes the order's invoice, or finds it; `None` where the order has ended instead.
async fn draft(account: &Account, order: Order) -> Result<Option<Order>, SyncError> {
    let now = account.clock.now();
    let wanted = account.store.top_up_is_wanted(&order.project).await?;
    if !wanted || now.ms_since(order.created) >= KEY_STANDS_MS {
        if let Some(found) = look_up(account, &order).await? {
            return Ok(account.store.order_opened(&order.id, &found.id, None).await?);
        }
        if !wanted {
            given_up(account, &order).await?;
            return Ok(None);
        }
        // What was sent so long ago may be forgotten by Stripe, and made nothing.
        account.store.order_again(&order).await?;
        let Some(renewed) = account.store.stripe_order(&order.id).await? else { return Ok(None) };
        return make(account, renewed).await;
    }
    make(account, order).await
}

async fn make(account: &Account, order: Order) -> Result<Option<Order>, SyncError> {
    match account.api.make::<Invoice>("/invoices", &order.form, &key(&order, "invoice")).await {
        Ok(invoice) => Ok(account.store.order_opened(&order.id, &invoice.id, None).await?),
        Err(error @ CallError::Broken { .. }) => {
            match look_up(account, &order).await? {
                Some(found) => return Ok(account.store.order_opened(&order.id, &found.id, None).await?),
                None => account.store.order_again(&order).await?,
            }
            Err(error.into())
        }
        Err(error) if is_final(&error) => refused(account, &order, &error).await.map(|()| None),
        Err(error) => Err(error.into()),
    }
}

/// The invoice that an order has at Stripe, whatever became of our calls.
async fn look_up(account: &Account, order: &Order) -> Result<Option<Invoice>, CallError> {
    let since = checkout::since(order.created);
    let customer = order.customer.as_deref().unwrap_or_default();
    let query = [("customer", customer), ("created[gte]", since.as_str())];
    let invoices: Vec<Invoice> = account.api.list("/invoices", &query).await?;
    Ok(invoices.into_iter().find(|invoice| is_of(invoice, order)))
}

fn is_of(invoice: &Invoice, order: &Order) -> bool {
    order.metadata().iter().all(|(name, value)| invoice.metadata.get(*name) == Some(value))
}

async fn given_up(account: &Account, order: &Order) -> Result<(), SyncError> {
    let ended = (OrderState::Expired, "automatic top-ups were turned off before it was charged");
    Ok(account.store.top_up_ended(order, ended, account.clock.now()).await?)
}

/// Puts the pack on the draft, and makes it final once it is exactly what was ordered.
async fn complete(account: &Account, order: &Order, id: &str) -> Result<(), SyncError> {
    let customer = order.customer.clone().unwrap_or_default();
    let items: Vec<InvoiceItem> = account.api.list("/invoiceitems", &[("invoice", id)]).await?;
    if items.is_empty() {
        let mut form = fields(&[
            ("customer", &customer),
            ("invoice", id),
            ("pricing[price]", &order.price_id),
            ("quantity", "1"),
        ]);
        form.extend(metadata_fields(&order.metadata()));
        let made = account.api.make::<InvoiceItem>("/invoiceitems", &form, &key(order, "line")).await;
        return done(account, order, made.map(drop)).await;
    }
    // Read after its items: another of us may have put the pack on it since it was looked at, and finished it too.
    let draft = account.api.invoice(id).await?;
    if draft.status.as_deref() != Some("draft") {
        return Ok(());
    }
    if i128::from(draft.subtotal) != order.price.minor() {
        let why = format!("subtotal: got {}, accepted is {}", draft.subtotal, order.price.minor());
        account.metrics.stripe_alarm();
        tracing::error!(project.id = %order.project, order.id = %order.id, why, "an automatic top-up is held");
        return Ok(account.store.top_up_ended(order, (OrderState::Held, &why), account.clock.now()).await?);
    }
    let form = fields(&[("auto_advance", "false")]);
    let path = format!("/invoices/{id}/finalize");
    let made = account.api.make::<Invoice>(&path, &form, &key(order, "finalize")).await;
    done(account, order, made.map(drop)).await
}

/// What a call that makes something came to, where a refusal ends the order: nothing was charged.
async fn done(account: &Account, order: &Order, made: Result<(), CallError>) -> Result<(), SyncError> {
    match made {
        Err(error) if is_final(&error) => refused(account, order, &error).await,
        other => renewed(account, order, other).await,
    }
}

/// Stripe will not make what the order needs: it has failed, and nothing was charged.
async fn refused(account: &Account, order: &Order, error: &CallError) -> Result<(), SyncError> {
    tracing::error!(order.id = %order.id, error = %error, "Stripe refuses an automatic top-up");
    Ok(account.store.top_up_ended(order, (OrderState::Failed, &reason(error)), account.clock.now()).await?)
}

/// After a failure that Stripe remembers under the key the next call goes under another; what is there by then
/// is looked at first.
async fn renewed(account: &Account, order: &Order, made: Result<(), CallError>) -> Result<(), SyncError> {
    if let Err(CallError::Broken { .. }) = made {
        account.store.order_renewed(order).await?;
    }
    Ok(made?)
}

/// Has the invoice paid now.
async fn pay(account: &Account, order: &Order, invoice: &str) -> Result<(), SyncError> {
    let path = format!("/invoices/{invoice}/pay");
    let form = fields(&[("off_session", "true")]);
    match account.api.make::<Invoice>(&path, &form, &key(order, "pay")).await {
        Err(error) if is_final(&error) => {
            // Another of us may have had it paid, and Stripe refuses only to take the money twice.
            let seen = account.api.invoice(invoice).await?;
            if seen.status.as_deref() != Some("open") || seen.is_processing() {
                return Ok(());
            }
            let method = default_method(account, order).await?;
            account.store.top_up_declined(order, &reason(&error), method.as_deref()).await?;
            tracing::warn!(project.id = %order.project, order.id = %order.id, error = %error, "a top-up was declined");
            void(account, order, invoice).await
        }
        other => renewed(account, order, other.map(drop)).await,
    }
}

/// What Stripe would charge.
async fn default_method(account: &Account, order: &Order) -> Result<Option<String>, CallError> {
    let path = format!("/customers/{}", order.customer.as_deref().unwrap_or_default());
    let customer: Customer = account.api.get(&path, &[]).await?;
    Ok(customer.default_method().map(str::to_owned))
}

/// Voids an invoice whose payment failed. It may have been paid meanwhile; what it is now counts.
async fn void(account: &Account, order: &Order, invoice: &str) -> Result<(), SyncError> {
    let path = format!("/invoices/{invoice}/void");
    match account.api.make::<Invoice>(&path, &Form::new(), &key(order, "void")).await {
        Err(error) if is_final(&error) => Ok(()),
        other => renewed(account, order, other.map(drop)).await,
    }
}

/// Whether Stripe will not do it however often it is asked; a key that may do nothing is the operator's to mend.
fn is_final(error: &CallError) -> bool {
    matches!(error, CallError::Refused { status, .. } if !matches!(status, 401 | 403))
}

/// Why, in Stripe's word for it.
fn reason(error: &CallError) -> String {
    match error {
        CallError::Refused { code, .. } => code.clone(),
        other @ (CallError::Busy { .. } | CallError::Broken { .. } | CallError::Unknown(_)) => {
            other.to_string()
        }
    }
}
