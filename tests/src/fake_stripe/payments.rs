//! Payment intents, charges, refunds, disputes and credit notes.

use serde_json::{Value, json};

use super::api::customer_of;
use super::form::{at, flag, merge_metadata, number, required, text};
use super::refused::Refused;
use super::world::{World, amount, word};
use super::{checkout, customers, invoices};

/// What is to be paid, by whom and how.
#[derive(Debug)]
pub(super) struct Intent {
    pub(super) customer: String,
    pub(super) amount: i64,
    pub(super) currency: String,
    pub(super) method: String,
    pub(super) metadata: Value,
    /// The invoice that it pays.
    pub(super) invoice: Option<String>,
}

pub(super) fn intent(world: &mut World, wanted: &Intent) -> Value {
    let mut intent = json!({
        "amount": wanted.amount, "amount_received": 0, "currency": wanted.currency, "customer": wanted.customer,
        "payment_method": wanted.method, "status": "requires_confirmation", "latest_charge": null, "metadata": {},
        "last_payment_error": null, "_invoice": wanted.invoice,
    });
    merge_metadata(&mut intent, Some(&wanted.metadata));
    world.add("payment_intent", "pi", intent)
}

/// A payment with the customer's stored method, without the customer.
pub(super) fn create_intent(world: &mut World, p: &Value) -> Result<Value, Refused> {
    let customer = customer_of(world, p)?;
    let amount = number(p, "amount")?.ok_or_else(|| Refused::missing("amount"))?;
    let currency = required(p, "currency")?.to_owned();
    let method = text(p, "payment_method").map_or(Value::Null, |id| json!(id));
    let usable = customers::method_of(world, &customer, &method);
    let wanted = Intent {
        customer,
        amount,
        currency,
        method: usable.clone().unwrap_or_default(),
        metadata: at(p, "metadata").cloned().unwrap_or(Value::Null),
        invoice: None,
    };
    let intent = intent(world, &wanted);
    if !flag(p, "confirm") {
        return Ok(intent);
    }
    if usable.is_none() {
        fail(world, &word(&intent, "id"))?;
        return Err(Refused::declined());
    }
    succeed(world, &word(&intent, "id"))
}

/// The money is under way.
pub(super) fn begin(world: &mut World, id: &str) -> Result<(), Refused> {
    let mut intent = world.get("payment_intent", id)?;
    intent["status"] = json!("processing");
    world.put(&intent);
    world.emit("payment_intent.processing", &intent);
    Ok(())
}

/// The money is there.
pub(super) fn succeed(world: &mut World, id: &str) -> Result<Value, Refused> {
    let mut intent = world.get("payment_intent", id)?;
    let charge = world.add(
        "charge",
        "ch",
        json!({
            "amount": intent["amount"], "amount_captured": intent["amount"], "amount_refunded": 0,
            "currency": intent["currency"], "customer": intent["customer"], "payment_intent": id, "paid": true,
            "captured": true, "refunded": false, "disputed": false, "status": "succeeded",
            "payment_method": intent["payment_method"], "metadata": intent["metadata"],
        }),
    );
    intent["status"] = json!("succeeded");
    intent["amount_received"] = intent["amount"].clone();
    intent["latest_charge"] = charge["id"].clone();
    world.put(&intent);
    world.emit("payment_intent.succeeded", &intent);
    world.emit("charge.succeeded", &charge);
    if let Some(invoice) = invoice_of(world, &intent) {
        invoices::mark_paid(world, &invoice)?;
    }
    Ok(intent)
}

fn fail(world: &mut World, id: &str) -> Result<(), Refused> {
    let mut intent = world.get("payment_intent", id)?;
    intent["status"] = json!("requires_payment_method");
    intent["last_payment_error"] = json!({"type": "card_error", "code": "card_declined"});
    world.put(&intent);
    world.emit("payment_intent.payment_failed", &intent);
    Ok(())
}

fn invoice_of(world: &World, intent: &Value) -> Option<String> {
    let named = intent["_invoice"].as_str().map(str::to_owned);
    named.or_else(|| {
        let paid = world.all("invoice").find(|invoice| invoice["_intent"] == intent["id"])?;
        Some(word(paid, "id"))
    })
}

/// A direct debit arrived, or came back.
pub(super) fn settle_debit(world: &mut World, id: &str, arrives: bool) -> Result<(), Refused> {
    if arrives {
        succeed(world, id)?;
    } else {
        fail(world, id)?;
        let intent = world.get("payment_intent", id)?;
        if let Some(invoice) = invoice_of(world, &intent) {
            invoices::failed(world, &invoice, 0)?;
        }
    }
    checkout::settled(world, id, arrives);
    Ok(())
}

/// Tries all open invoices of a customer again.
pub(super) fn retry_unpaid(world: &mut World, customer: &str) -> Result<(), Refused> {
    let open: Vec<String> = world
        .all("invoice")
        .filter(|invoice| invoice["customer"] == customer && invoice["status"] == "open")
        .filter(|invoice| invoice["attempted"] == json!(true))
        .map(|invoice| word(invoice, "id"))
        .collect();
    open.iter().try_for_each(|invoice| invoices::attempt(world, invoice, 0))
}

fn charge_of(world: &World, p: &Value) -> Result<Value, Refused> {
    if let Some(charge) = text(p, "charge") {
        return world.get("charge", charge);
    }
    let intent = world.get("payment_intent", required(p, "payment_intent")?)?;
    let charge = intent["latest_charge"].as_str();
    charge
        .and_then(|id| world.any(id))
        .ok_or_else(|| Refused::state("This PaymentIntent does not have a successful charge to refund."))
}

pub(super) fn refund(world: &mut World, p: &Value) -> Result<Value, Refused> {
    let mut charge = charge_of(world, p)?;
    let left = amount(&charge, "amount").saturating_sub(amount(&charge, "amount_refunded"));
    let wanted = number(p, "amount")?.unwrap_or(left);
    if wanted <= 0 || wanted > left {
        return Err(Refused::parameter(
            "amount",
            "Refund amount is greater than unrefunded amount on charge.",
        ));
    }
    let mut refund = json!({
        "amount": wanted, "charge": charge["id"], "payment_intent": charge["payment_intent"], "status": "succeeded",
        "currency": charge["currency"], "reason": text(p, "reason"), "metadata": {}, "failure_reason": null,
    });
    merge_metadata(&mut refund, at(p, "metadata"));
    let refund = world.add("refund", "re", refund);
    note_refunded(&mut charge, wanted);
    world.put(&charge);
    world.emit("refund.created", &refund);
    world.emit("charge.refunded", &charge);
    Ok(refund)
}

fn note_refunded(charge: &mut Value, more: i64) {
    let refunded = amount(charge, "amount_refunded").saturating_add(more);
    charge["amount_refunded"] = json!(refunded);
    charge["refunded"] = json!(refunded == amount(charge, "amount"));
}

/// A refund that the customer's bank sends back later.
pub(super) fn fail_refund(world: &mut World, id: &str) -> Result<Value, Refused> {
    let mut refund = world.get("refund", id)?;
    if refund["status"] == "failed" {
        return Err(Refused::state("This refund has failed already."));
    }
    refund["status"] = json!("failed");
    refund["failure_reason"] = json!("expired_or_canceled_card");
    world.put(&refund);
    if let Some(mut charge) = world.any(&word(&refund, "charge")) {
        note_refunded(&mut charge, amount(&refund, "amount").saturating_neg());
        world.put(&charge);
    }
    world.emit("refund.failed", &refund);
    Ok(refund)
}

pub(super) fn credit_note(world: &mut World, p: &Value) -> Result<Value, Refused> {
    let invoice = world.get("invoice", required(p, "invoice")?)?;
    let total = number(p, "amount")?.ok_or_else(|| Refused::missing("amount"))?;
    let back = number(p, "refund_amount")?.unwrap_or_default();
    let refund = match invoice["_intent"].as_str() {
        Some(intent) if back > 0 => {
            Some(refund(world, &json!({"payment_intent": intent, "amount": back.to_string()}))?)
        }
        Some(_) | None => None,
    };
    let note = json!({
        "invoice": invoice["id"], "customer": invoice["customer"], "amount": total, "status": "issued",
        "currency": invoice["currency"], "refund": refund.map(|refund| refund["id"].clone()), "metadata": {},
        "reason": text(p, "reason"),
    });
    let note = world.add("credit_note", "cn", note);
    let mut invoice = invoice;
    let field = if invoice["status"] == "paid" {
        "post_payment_credit_notes_amount"
    } else {
        "pre_payment_credit_notes_amount"
    };
    invoice[field] = json!(amount(&invoice, field).saturating_add(total));
    world.put(&invoice);
    world.emit("credit_note.created", &note);
    Ok(note)
}

/// The customer's bank asks for the money back.
pub(super) fn dispute(world: &mut World, p: &Value) -> Result<Value, Refused> {
    let mut charge = charge_of(world, p)?;
    let status = text(p, "status").unwrap_or("needs_response");
    let dispute = json!({
        "amount": number(p, "amount")?.unwrap_or_else(|| amount(&charge, "amount")), "charge": charge["id"],
        "payment_intent": charge["payment_intent"], "currency": charge["currency"], "status": status,
        "reason": "fraudulent", "metadata": {},
    });
    let dispute = world.add("dispute", "du", dispute);
    charge["disputed"] = json!(true);
    world.put(&charge);
    world.emit("charge.dispute.created", &dispute);
    if !status.starts_with("warning") {
        world.emit("charge.dispute.funds_withdrawn", &dispute);
    }
    Ok(dispute)
}

/// The dispute ends.
pub(super) fn close_dispute(world: &mut World, id: &str, p: &Value) -> Result<Value, Refused> {
    let mut dispute = world.get("dispute", id)?;
    let status = required(p, "status")?;
    if !["won", "lost", "warning_closed", "prevented"].contains(&status) {
        return Err(Refused::parameter("status", "must be one of won, lost, prevented or warning_closed"));
    }
    dispute["status"] = json!(status);
    world.put(&dispute);
    if status == "won" {
        world.emit("charge.dispute.funds_reinstated", &dispute);
    }
    world.emit("charge.dispute.closed", &dispute);
    Ok(dispute)
}
