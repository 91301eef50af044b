//! Invoices: drafts, items, finalization, payment and its failure.

use serde_json::{Value, json};

use super::api::{copy_texts, customer_of};
use super::form::{self, at, merge_metadata, number, required, text};
use super::refused::Refused;
use super::world::{Due, World, amount, word};
use super::{checkout, customers, payments, subscriptions};

/// Below this a charge is not worth making: the sum goes to the customer's balance, as at Stripe.
const CHARGE_MIN: i64 = 50;

/// Days after which an unpaid invoice is tried again, counted from the attempt before.
const RETRY_DAYS: [u64; 3] = [3, 5, 7];

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// What an invoice is for.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) customer: String,
    pub(super) reason: &'static str,
    pub(super) metadata: Value,
    pub(super) subscription: Option<Value>,
}

pub(super) fn create(world: &mut World, p: &Value) -> Result<Value, Refused> {
    let customer = customer_of(world, p)?;
    if text(p, "pending_invoice_items_behavior").unwrap_or("exclude") != "exclude" {
        return Err(Refused::parameter("pending_invoice_items_behavior", "Only exclude is known here."));
    }
    let draft = Draft {
        customer,
        reason: "manual",
        metadata: at(p, "metadata").cloned().unwrap_or(Value::Null),
        subscription: None,
    };
    let mut invoice = blank(&draft);
    invoice["auto_advance"] = json!(form::flag(p, "auto_advance"));
    if let Some(currency) = text(p, "currency") {
        invoice["currency"] = json!(currency);
    }
    copy_texts(&mut invoice, p, &["description", "collection_method", "footer"]);
    if is_sent(&invoice) {
        let days = number(p, "days_until_due")?.ok_or_else(|| Refused::missing("days_until_due"))?;
        invoice["due_date"] =
            json!(world.seconds().saturating_add(days.unsigned_abs().saturating_mul(86_400)));
    }
    invoice["automatic_tax"]["enabled"] = json!(form::flag(p, "automatic_tax.enabled"));
    let invoice = world.add("invoice", "in", invoice);
    world.emit("invoice.created", &invoice);
    Ok(invoice)
}

fn blank(draft: &Draft) -> Value {
    let parent = draft.subscription.as_ref().map(|subscription| {
        json!({
            "type": "subscription_details", "quote_details": null,
            "subscription_details": {"subscription": subscription["id"], "metadata": subscription["metadata"]},
        })
    });
    let mut invoice = json!({
        "customer": draft.customer, "status": "draft", "billing_reason": draft.reason, "auto_advance": true,
        "collection_method": "charge_automatically", "currency": "eur", "parent": parent, "description": null,
        "lines": {"object": "list", "has_more": false, "data": []}, "metadata": {}, "number": null,
        "attempt_count": 0, "attempted": false, "next_payment_attempt": null, "default_payment_method": null,
        "subtotal": 0, "total": 0, "amount_due": 0, "amount_paid": 0, "amount_remaining": 0,
        "hosted_invoice_url": null, "invoice_pdf": null, "automatic_tax": {"enabled": false, "status": null},
        "status_transitions": {"finalized_at": null, "paid_at": null, "voided_at": null, "marked_uncollectible_at": null},
        "payments": {"object": "list", "has_more": false, "data": []}, "_intent": null,
    });
    merge_metadata(&mut invoice, Some(&draft.metadata));
    invoice
}

/// A finalized invoice of those lines, not paid yet.
pub(super) fn open(world: &mut World, draft: &Draft, lines: &[Value]) -> Value {
    let mut invoice = blank(draft);
    let mut items = Vec::new();
    for line in lines {
        items.push(json!({
            "id": world.new_id("il"), "object": "line_item", "amount": line["amount_total"],
            "currency": line["currency"], "description": line["description"], "quantity": line["quantity"],
            "pricing": {"type": "price_details",
                        "price_details": {"price": line["price"]["id"], "product": line["price"]["product"]}},
            "metadata": {},
        }));
        invoice["currency"] = line["currency"].clone();
    }
    invoice["lines"]["data"] = json!(items);
    add_up(&mut invoice);
    let mut invoice = world.add("invoice", "in", invoice);
    world.emit("invoice.created", &invoice);
    mark_open(world, &mut invoice);
    invoice
}

fn add_up(invoice: &mut Value) {
    let lines = invoice["lines"]["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let total: i64 = lines.iter().map(|line| amount(line, "amount")).sum();
    for field in ["subtotal", "total", "amount_due", "amount_remaining"] {
        invoice[field] = json!(total);
    }
}

fn mark_open(world: &mut World, invoice: &mut Value) {
    let id = word(invoice, "id");
    invoice["status"] = json!("open");
    invoice["number"] = json!(format!("FAKE-{}", id.trim_start_matches("in_")));
    invoice["hosted_invoice_url"] = json!(format!("{}/invoice/{id}", world.public_url));
    invoice["invoice_pdf"] = json!(format!("{}/invoice/{id}/pdf", world.public_url));
    invoice["status_transitions"]["finalized_at"] = json!(world.seconds());
    from_balance(world, invoice);
    world.put(invoice);
    world.emit("invoice.finalized", invoice);
}

pub(super) fn update(world: &mut World, id: &str, p: &Value) -> Result<Value, Refused> {
    let mut invoice = world.get("invoice", id)?;
    merge_metadata(&mut invoice, at(p, "metadata"));
    copy_texts(&mut invoice, p, &["description", "footer"]);
    if text(p, "auto_advance").is_some() {
        invoice["auto_advance"] = json!(form::flag(p, "auto_advance"));
    }
    world.put(&invoice);
    world.emit("invoice.updated", &invoice);
    Ok(invoice)
}

pub(super) fn delete_draft(world: &mut World, id: &str) -> Result<Value, Refused> {
    let invoice = in_status(world, id, &["draft"])?;
    world.forget("invoice", id);
    world.emit("invoice.deleted", &invoice);
    Ok(json!({"id": id, "object": "invoice", "deleted": true}))
}

fn in_status(world: &World, id: &str, accepted: &[&str]) -> Result<Value, Refused> {
    let invoice = world.get("invoice", id)?;
    if accepted.iter().any(|status| invoice["status"] == *status) {
        return Ok(invoice);
    }
    Err(Refused::state(&format!(
        "This invoice is {}, not {}.",
        word(&invoice, "status"),
        accepted.join(" or ")
    )))
}

pub(super) fn add_item(world: &mut World, p: &Value) -> Result<Value, Refused> {
    let customer = customer_of(world, p)?;
    let id = required(p, "invoice")?;
    let mut invoice = in_status(world, id, &["draft"])?;
    if invoice["customer"] != customer.as_str() {
        return Err(Refused::parameter("customer", "The invoice belongs to another customer."));
    }
    let (total, currency, quantity, pricing) = match text(p, "pricing.price") {
        Some(price) => {
            let price = world.get("price", price)?;
            let quantity = number(p, "quantity")?.unwrap_or(1);
            let total = amount(&price, "unit_amount").saturating_mul(quantity);
            let details = json!({"type": "price_details", "price_details": {"price": price["id"], "product": price["product"]}});
            (total, word(&price, "currency"), quantity, details)
        }
        None => {
            let total = number(p, "amount")?.ok_or_else(|| Refused::missing("amount"))?;
            (total, required(p, "currency")?.to_owned(), 1, Value::Null)
        }
    };
    if invoice["currency"] != currency.as_str() {
        return Err(Refused::parameter("currency", "The invoice has another currency."));
    }
    let period = json!({
        "start": number(p, "period.start")?.map_or_else(|| json!(world.seconds()), |start| json!(start)),
        "end": number(p, "period.end")?.map_or_else(|| json!(world.seconds()), |end| json!(end)),
    });
    let mut item = json!({
        "customer": customer, "invoice": id, "amount": total, "currency": currency, "quantity": quantity,
        "pricing": pricing, "description": text(p, "description"), "period": period, "metadata": {}, "discountable": true,
    });
    merge_metadata(&mut item, at(p, "metadata"));
    let item = world.add("invoiceitem", "ii", item);
    let line = json!({
        "id": world.new_id("il"), "object": "line_item", "amount": total, "currency": currency,
        "description": item["description"], "quantity": quantity, "pricing": pricing, "period": period,
        "metadata": item["metadata"],
        "parent": {"type": "invoice_item_details", "invoice_item_details": {"invoice_item": item["id"]}},
    });
    if let Some(lines) = invoice["lines"]["data"].as_array_mut() {
        lines.push(line);
    }
    add_up(&mut invoice);
    world.put(&invoice);
    world.emit("invoiceitem.created", &item);
    Ok(item)
}

pub(super) fn finalize(world: &mut World, id: &str, p: &Value) -> Result<Value, Refused> {
    let mut invoice = in_status(world, id, &["draft"])?;
    if text(p, "auto_advance").is_some() {
        invoice["auto_advance"] = json!(form::flag(p, "auto_advance"));
    }
    mark_open(world, &mut invoice);
    if invoice["auto_advance"] == json!(true) && !is_sent(&invoice) {
        attempt(world, id, 0)?;
    }
    world.get("invoice", id)
}

/// Whether the customer is sent it to pay, and nothing is charged.
fn is_sent(invoice: &Value) -> bool {
    invoice["collection_method"] == "send_invoice"
}

pub(super) fn pay(world: &mut World, id: &str) -> Result<Value, Refused> {
    in_status(world, id, &["open"])?;
    attempt(world, id, RETRY_DAYS.len())?;
    let invoice = world.get("invoice", id)?;
    let intent = invoice["_intent"].as_str().and_then(|intent| world.any(intent));
    let is_under_way = intent.is_some_and(|intent| intent["status"] == "processing");
    if is_under_way || invoice["status"] == "paid" { Ok(invoice) } else { Err(Refused::declined()) }
}

pub(super) fn void(world: &mut World, id: &str) -> Result<Value, Refused> {
    conclude(world, id, "void", "voided_at", "invoice.voided")
}

pub(super) fn mark_uncollectible(world: &mut World, id: &str) -> Result<Value, Refused> {
    conclude(world, id, "uncollectible", "marked_uncollectible_at", "invoice.marked_uncollectible")
}

fn conclude(world: &mut World, id: &str, status: &str, at: &str, event: &str) -> Result<Value, Refused> {
    let mut invoice = in_status(world, id, &["open", "uncollectible"])?;
    if status == "void"
        && let Some(mut intent) = invoice["_intent"].as_str().and_then(|intent| world.any(intent))
    {
        intent["status"] = json!("canceled");
        world.put(&intent);
    }
    invoice["status"] = json!(status);
    invoice["status_transitions"][at] = json!(world.seconds());
    world.put(&invoice);
    world.unplan(|due| matches!(due, Due::RetryInvoice { invoice, .. } if invoice == id));
    world.emit(event, &invoice);
    Ok(invoice)
}

/// Makes the payment intent of an open invoice.
pub(super) fn intent_for(world: &mut World, id: &str, method: &str) -> Result<String, Refused> {
    let invoice = world.get("invoice", id)?;
    let intent = payments::intent(
        world,
        &payments::Intent {
            customer: word(&invoice, "customer"),
            amount: amount(&invoice, "amount_due"),
            currency: word(&invoice, "currency"),
            method: method.to_owned(),
            metadata: Value::Null,
            invoice: Some(id.to_owned()),
        },
    );
    await_payment(world, id, &word(&intent, "id"))?;
    Ok(word(&intent, "id"))
}

/// The invoice is paid when that intent is.
pub(super) fn await_payment(world: &mut World, id: &str, intent: &str) -> Result<(), Refused> {
    let mut invoice = world.get("invoice", id)?;
    invoice["_intent"] = json!(intent);
    let payment = json!({
        "id": world.new_id("inpay"), "object": "invoice_payment", "invoice": id,
        "payment": {"type": "payment_intent", "payment_intent": intent},
    });
    if let Some(payments) = invoice["payments"]["data"].as_array_mut() {
        payments.push(payment);
    }
    world.put(&invoice);
    Ok(())
}

/// Tries to have an open invoice paid; after the last failure it stays open.
pub(super) fn attempt(world: &mut World, id: &str, attempt: usize) -> Result<(), Refused> {
    let invoice = in_status(world, id, &["open"])?;
    let due = amount(&invoice, "amount_due");
    if due < CHARGE_MIN {
        to_balance(world, &invoice);
        return mark_paid(world, id);
    }
    let subscription = subscription_of(&invoice).and_then(|id| world.any(&id));
    let method = match &subscription {
        Some(subscription) => subscriptions::method_of(world, subscription),
        None => customers::method_of(world, &word(&invoice, "customer"), &invoice["default_payment_method"]),
    };
    match method {
        Some(method) => {
            let intent = intent_for(world, id, &method)?;
            let is_debit = world.any(&method).is_some_and(|method| method["type"] == "sepa_debit");
            if !is_debit {
                return payments::succeed(world, &intent).map(drop);
            }
            payments::begin(world, &intent)?;
            world.plan(
                world.now_ms.saturating_add(checkout::DEBIT_MS),
                Due::SettleDebit { intent, arrives: true },
            );
            Ok(())
        }
        None => failed(world, id, attempt),
    }
}

/// Sums too small to charge are kept on the customer's balance.
fn to_balance(world: &mut World, invoice: &Value) {
    let Some(mut customer) = world.any(&word(invoice, "customer")) else { return };
    customer["balance"] = json!(amount(&customer, "balance").saturating_add(amount(invoice, "amount_due")));
    world.put(&customer);
    let mut invoice = invoice.clone();
    invoice["amount_due"] = json!(0);
    invoice["amount_remaining"] = json!(0);
    world.put(&invoice);
}

/// What the customer had too much pays first.
fn from_balance(world: &mut World, invoice: &mut Value) {
    let Some(mut customer) = world.any(&word(invoice, "customer")) else { return };
    let (balance, due) = (amount(&customer, "balance"), amount(invoice, "amount_due"));
    let paid = balance.saturating_neg().min(due).max(0);
    if paid > 0 {
        customer["balance"] = json!(balance.saturating_add(paid));
        world.put(&customer);
        invoice["amount_due"] = json!(due.saturating_sub(paid));
        invoice["amount_remaining"] = invoice["amount_due"].clone();
    }
}

fn subscription_of(invoice: &Value) -> Option<String> {
    invoice["parent"]["subscription_details"]["subscription"].as_str().map(str::to_owned)
}

/// An invoice's payment failed: it is tried again some days later, and at last its subscription ends.
pub(super) fn failed(world: &mut World, id: &str, attempt: usize) -> Result<(), Refused> {
    let mut invoice = world.get("invoice", id)?;
    invoice["attempted"] = json!(true);
    invoice["attempt_count"] = json!(amount(&invoice, "attempt_count").saturating_add(1));
    // Where nobody is to collect by itself, the failure is the caller's to deal with.
    let retries = if invoice["auto_advance"] == json!(true) { RETRY_DAYS.as_slice() } else { &[] };
    let next_ms = retries.get(attempt).map(|days| world.now_ms.saturating_add(days.saturating_mul(DAY_MS)));
    invoice["next_payment_attempt"] = next_ms.map_or(Value::Null, |ms| json!(ms.div_euclid(1_000)));
    world.put(&invoice);
    world.unplan(|due| matches!(due, Due::RetryInvoice { invoice, .. } if invoice == id));
    if let Some(at_ms) = next_ms {
        world.plan(at_ms, Due::RetryInvoice { invoice: id.to_owned(), attempt: attempt.saturating_add(1) });
    }
    world.emit("invoice.payment_failed", &invoice);
    let Some(subscription) = subscription_of(&invoice) else { return Ok(()) };
    if next_ms.is_some() {
        subscriptions::follow(world, &subscription, "past_due");
        return Ok(());
    }
    // It may have ended already.
    subscriptions::cancel(world, &subscription).ok();
    Ok(())
}

/// The invoice's payment arrived.
pub(super) fn mark_paid(world: &mut World, id: &str) -> Result<(), Refused> {
    let mut invoice = in_status(world, id, &["open", "uncollectible"])?;
    invoice["status"] = json!("paid");
    invoice["attempted"] = json!(true);
    invoice["amount_paid"] = invoice["amount_due"].clone();
    invoice["amount_remaining"] = json!(0);
    invoice["next_payment_attempt"] = Value::Null;
    invoice["status_transitions"]["paid_at"] = json!(world.seconds());
    world.put(&invoice);
    world.unplan(|due| matches!(due, Due::RetryInvoice { invoice, .. } if invoice == id));
    world.emit("invoice.paid", &invoice);
    if let Some(subscription) = subscription_of(&invoice) {
        subscriptions::follow(world, &subscription, "active");
    }
    Ok(())
}
