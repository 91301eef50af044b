//! Checkout sessions: how they are made, paid, and how direct debits arrive days later.

use serde_json::{Value, json};

use super::form::{at, flag, merge_metadata, number, required, text, texts};
use super::invoices::Draft;
use super::refused::Refused;
use super::world::{Due, World, amount, word};
use super::{catalogue_line, customers, invoices, payments, subscriptions};

/// A session lives this long where the caller does not say: as at Stripe, a day.
const LIFETIME_S: i64 = 24 * 60 * 60;

/// The shortest lifetime that Stripe accepts.
const LIFETIME_S_MIN: i64 = 30 * 60;

/// How long a SEPA debit takes to arrive or to come back at once.
pub(super) const DEBIT_MS: u64 = 5 * 24 * 60 * 60 * 1_000;

/// What the payer of the hosted page chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// A card that works.
    Card,
    /// A card that its bank declines.
    DeclinedCard,
    /// A direct debit that arrives.
    Debit,
    /// A direct debit that comes back.
    ReturnedDebit,
}

impl Choice {
    pub(super) const ALL: [(&str, &str, Self); 4] = [
        ("card", "Pay by card", Self::Card),
        ("card_declined", "Pay by a card that is declined", Self::DeclinedCard),
        ("sepa_debit", "Pay by SEPA debit (arrives in 5 days)", Self::Debit),
        ("sepa_returned", "Pay by SEPA debit that comes back", Self::ReturnedDebit),
    ];

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, ..)| *name == text).map(|(.., choice)| *choice)
    }

    fn method(self) -> &'static str {
        match self {
            Self::Card | Self::DeclinedCard => "card",
            Self::Debit | Self::ReturnedDebit => "sepa_debit",
        }
    }
}

pub(super) fn create(world: &mut World, p: &Value) -> Result<Value, Refused> {
    let mode = required(p, "mode")?;
    if !["payment", "subscription"].contains(&mode) {
        return Err(Refused::parameter("mode", "Invalid mode: must be one of payment or subscription"));
    }
    let lines = lines(world, p, mode)?;
    let total: i64 = lines.iter().map(|line| amount(line, "amount_total")).sum();
    let customer = match text(p, "customer") {
        Some(id) => json!(word(&world.get("customer", id)?, "id")),
        None => Value::Null,
    };
    let expires_at = expiry(world, p)?;
    let methods = texts(p, "allowed_payment_method_types");
    let mut session = json!({
        "mode": mode, "status": "open", "payment_status": if total == 0 { "no_payment_required" } else { "unpaid" },
        "amount_subtotal": total, "amount_total": total, "customer": customer, "expires_at": expires_at,
        "currency": lines.first().map_or(Value::Null, |line| line["currency"].clone()),
        "client_reference_id": text(p, "client_reference_id"), "success_url": text(p, "success_url"),
        "cancel_url": text(p, "cancel_url"), "metadata": {}, "payment_intent": null, "subscription": null,
        "invoice": null, "customer_email": text(p, "customer_email"), "customer_details": null,
        "automatic_tax": {"enabled": flag(p, "automatic_tax.enabled"), "status": null},
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "_line_items": {"object": "list", "has_more": false, "data": lines},
        "_methods": if methods.is_empty() { vec!["card".to_owned(), "sepa_debit".to_owned()] } else { methods },
        "_subscription_data": at(p, "subscription_data"), "_payment_intent_data": at(p, "payment_intent_data"),
        "_invoice_creation": flag(p, "invoice_creation.enabled"),
        "_invoice_metadata": at(p, "invoice_creation.invoice_data.metadata"),
    });
    merge_metadata(&mut session, at(p, "metadata"));
    let id = world.new_id("cs_test");
    session["id"] = json!(id);
    session["url"] = json!(format!("{}/pay/{id}", world.public_url));
    world.plan(u64::try_from(expires_at).unwrap_or_default().saturating_mul(1_000), Due::ExpireSession(id));
    Ok(world.add("checkout.session", "cs_test", session))
}

fn lines(world: &mut World, p: &Value, mode: &str) -> Result<Vec<Value>, Refused> {
    let items = at(p, "line_items").and_then(Value::as_array).cloned().unwrap_or_default();
    if items.is_empty() {
        return Err(Refused::missing("line_items"));
    }
    let mut lines = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let price = world.get("price", required(item, "price")?)?;
        let where_ = format!("line_items.{place}.price");
        if price["active"] != json!(true) {
            return Err(Refused::parameter(&where_, "The price specified is inactive."));
        }
        if (price["type"] == "recurring") != (mode == "subscription") {
            let message =
                format!("You specified `{mode}` mode but passed a price of type {}.", price["type"]);
            return Err(Refused::parameter(&where_, &message));
        }
        let quantity = number(item, "quantity")?.unwrap_or(1);
        lines.push(catalogue_line(world, &price, quantity));
    }
    Ok(lines)
}

fn expiry(world: &World, p: &Value) -> Result<i64, Refused> {
    let now = i64::try_from(world.seconds()).unwrap_or(i64::MAX);
    let expires_at = number(p, "expires_at")?.unwrap_or_else(|| now.saturating_add(LIFETIME_S));
    let lifetime = expires_at.saturating_sub(now);
    // A few seconds pass between the caller's clock and this one.
    if lifetime < LIFETIME_S_MIN.saturating_sub(60) || lifetime > LIFETIME_S.saturating_add(60) {
        return Err(Refused::parameter(
            "expires_at",
            "The `expires_at` timestamp must be at least 30 minutes and less than 24 hours from Checkout Session creation.",
        ));
    }
    Ok(expires_at)
}

pub(super) fn expire(world: &mut World, id: &str) -> Result<Value, Refused> {
    let mut session = world.get("checkout.session", id)?;
    if session["status"] != "open" {
        return Err(Refused::state("Only Checkout Sessions with a status in [\"open\"] can be expired."));
    }
    session["status"] = json!("expired");
    session["url"] = Value::Null;
    world.put(&session);
    world.unplan(|due| *due == Due::ExpireSession(id.to_owned()));
    world.emit("checkout.session.expired", &session);
    Ok(session)
}

/// What the payer's choice on the hosted page does.
///
/// # Errors
/// When the session is not open, the choice is not offered, or the card is declined.
pub(super) fn pay(world: &mut World, id: &str, choice: Choice) -> Result<Value, Refused> {
    let mut session = world.get("checkout.session", id)?;
    if session["status"] != "open" {
        return Err(Refused::state("This session is no longer open."));
    }
    let offered = session["_methods"].as_array().is_some_and(|list| list.contains(&json!(choice.method())));
    if !offered {
        return Err(Refused::parameter("method", "This session does not offer that way of paying."));
    }
    if choice == Choice::DeclinedCard {
        return Err(Refused::declined());
    }
    let customer = ensure_customer(world, &mut session)?;
    let method = customers::add_method(world, &customer, choice.method());
    session["status"] = json!("complete");
    session["url"] = Value::Null;
    let paid = choice == Choice::Card || amount(&session, "amount_total") == 0;
    if paid && session["payment_status"] == "unpaid" {
        session["payment_status"] = json!("paid");
    }
    world.unplan(|due| *due == Due::ExpireSession(id.to_owned()));
    let intent = if session["mode"] == "payment" {
        pay_once(world, &mut session, &method, paid)?
    } else {
        subscribe(world, &mut session, &method, paid)?
    };
    world.put(&session);
    world.emit("checkout.session.completed", &session);
    if !paid {
        let arrives = choice == Choice::Debit;
        world.plan(world.now_ms.saturating_add(DEBIT_MS), Due::SettleDebit { intent, arrives });
    }
    Ok(session)
}

fn ensure_customer(world: &mut World, session: &mut Value) -> Result<String, Refused> {
    if !session["customer"].is_string() {
        let email = session["customer_email"].as_str().unwrap_or("payer@example.com").to_owned();
        session["customer"] = customers::create(world, &json!({ "email": email }))?["id"].clone();
    }
    let customer = word(session, "customer");
    let email = world.any(&customer).map_or(Value::Null, |customer| customer["email"].clone());
    session["customer_details"] = json!({"email": email, "tax_exempt": "none", "tax_ids": []});
    Ok(customer)
}

fn pay_once(world: &mut World, session: &mut Value, method: &Value, paid: bool) -> Result<String, Refused> {
    let data = session["_payment_intent_data"].clone();
    let intent = payments::intent(
        world,
        &payments::Intent {
            customer: word(session, "customer"),
            amount: amount(session, "amount_total"),
            currency: word(session, "currency"),
            method: word(method, "id"),
            metadata: data["metadata"].clone(),
            invoice: None,
        },
    );
    session["payment_intent"] = intent["id"].clone();
    if session["_invoice_creation"] == json!(true) {
        let draft = Draft {
            customer: word(session, "customer"),
            reason: "manual",
            metadata: session["_invoice_metadata"].clone(),
            subscription: None,
        };
        let lines = session["_line_items"]["data"].as_array().cloned().unwrap_or_default();
        let invoice = invoices::open(world, &draft, &lines);
        session["invoice"] = invoice["id"].clone();
        invoices::await_payment(world, &word(&invoice, "id"), &word(&intent, "id"))?;
    }
    if paid {
        payments::succeed(world, &word(&intent, "id"))?;
    } else {
        payments::begin(world, &word(&intent, "id"))?;
    }
    Ok(word(&intent, "id"))
}

fn subscribe(world: &mut World, session: &mut Value, method: &Value, paid: bool) -> Result<String, Refused> {
    let subscription = subscriptions::begin(world, session, &word(method, "id"))?;
    session["subscription"] = subscription["id"].clone();
    let invoice = word(&subscription, "latest_invoice");
    session["invoice"] = json!(invoice);
    let intent = invoices::intent_for(world, &invoice, &word(method, "id"))?;
    if paid {
        payments::succeed(world, &intent)?;
    } else {
        payments::begin(world, &intent)?;
    }
    Ok(intent)
}

/// A direct debit arrived or came back: the session that it was for says so.
pub(super) fn settled(world: &mut World, intent: &str, arrived: bool) {
    let session = world
        .all("checkout.session")
        .find(|session| {
            session["payment_intent"] == intent
                || session["invoice"]
                    .as_str()
                    .and_then(|id| world.any(id))
                    .is_some_and(|i| i["_intent"] == intent)
        })
        .cloned();
    let Some(mut session) = session else { return };
    if arrived {
        session["payment_status"] = json!("paid");
        world.put(&session);
        world.emit("checkout.session.async_payment_succeeded", &session);
    } else {
        world.emit("checkout.session.async_payment_failed", &session);
    }
}
