//! Customers, and how they pay.

use serde_json::{Value, json};

use super::api::copy_texts;
use super::form::{at, merge_metadata, text};
use super::refused::Refused;
use super::world::{World, word};

const TEXTS: [&str; 6] = ["email", "name", "phone", "description", "address", "preferred_locales"];

pub(super) fn create(world: &mut World, p: &Value) -> Result<Value, Refused> {
    let mut customer = json!({
        "email": null, "name": null, "description": null, "balance": 0, "currency": null,
        "invoice_settings": {"default_payment_method": null}, "metadata": {}, "delinquent": false,
        // The fake's own: whether the customer's cards work.
        "_card_works": true,
    });
    copy_texts(&mut customer, p, &TEXTS);
    merge_metadata(&mut customer, at(p, "metadata"));
    let customer = world.add("customer", "cus", customer);
    world.emit("customer.created", &customer);
    Ok(customer)
}

pub(super) fn update(world: &mut World, id: &str, p: &Value) -> Result<Value, Refused> {
    let mut customer = world.get("customer", id)?;
    copy_texts(&mut customer, p, &TEXTS);
    merge_metadata(&mut customer, at(p, "metadata"));
    if let Some(method) = text(p, "invoice_settings.default_payment_method") {
        let method = world.get("payment_method", method)?;
        if method["customer"] != id {
            return Err(Refused::parameter(
                "invoice_settings.default_payment_method",
                "The payment method must be attached to the customer.",
            ));
        }
        customer["invoice_settings"]["default_payment_method"] = method["id"].clone();
    }
    world.put(&customer);
    world.emit("customer.updated", &customer);
    Ok(customer)
}

pub(super) fn delete(world: &mut World, id: &str) -> Result<Value, Refused> {
    let customer = world.get("customer", id)?;
    let live: Vec<String> = world
        .all("subscription")
        .filter(|one| one["customer"] == id && one["status"] != "canceled")
        .map(|one| word(one, "id"))
        .collect();
    for subscription in live {
        super::subscriptions::cancel(world, &subscription)?;
    }
    world.forget("customer", id);
    world.emit("customer.deleted", &customer);
    Ok(json!({"id": id, "object": "customer", "deleted": true}))
}

/// Notes with what the customer paid.
pub(super) fn add_method(world: &mut World, customer: &str, kind: &str) -> Value {
    let details = match kind {
        "sepa_debit" => json!({"last4": "3000", "country": "DE", "bank_code": "37040044"}),
        _ => json!({"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2034, "country": "DE"}),
    };
    world.add(
        "payment_method",
        "pm",
        json!({"type": kind, "customer": customer, kind: details, "metadata": {}}),
    )
}

/// Whether a charge of this customer's stored payment method would be accepted, and with which method.
pub(super) fn method_of(world: &World, customer: &str, preferred: &Value) -> Option<String> {
    let customer = world.any(customer)?;
    let default = &customer["invoice_settings"]["default_payment_method"];
    let method = preferred.as_str().or(default.as_str())?;
    (customer["_card_works"] != json!(false)).then(|| method.to_owned())
}
