//! The customer portal: its configurations, sessions, and what customers do there.

use serde_json::{Value, json};

use super::api::customer_of;
use super::form::{at, flag, merge_metadata, text};
use super::refused::Refused;
use super::subscriptions;
use super::world::{World, amount, word};

pub(super) fn create_configuration(world: &mut World, p: &Value) -> Result<Value, Refused> {
    let mut configuration = json!({
        "active": true, "is_default": false, "name": null, "features": {}, "business_profile": {}, "metadata": {},
        "default_return_url": null, "login_page": {"enabled": false, "url": null},
    });
    if at(p, "features").is_none() {
        return Err(Refused::missing("features"));
    }
    set_configuration(&mut configuration, p);
    Ok(world.add("billing_portal.configuration", "bpc", configuration))
}

pub(super) fn update_configuration(world: &mut World, id: &str, p: &Value) -> Result<Value, Refused> {
    let mut configuration = world.get("billing_portal.configuration", id)?;
    set_configuration(&mut configuration, p);
    world.put(&configuration);
    Ok(configuration)
}

fn set_configuration(configuration: &mut Value, p: &Value) {
    for field in ["features", "business_profile", "default_return_url", "name"] {
        if let Some(value) = at(p, field) {
            configuration[field] = typed(value);
        }
    }
    if text(p, "active").is_some() {
        configuration["active"] = json!(flag(p, "active"));
    }
    merge_metadata(configuration, at(p, "metadata"));
}

/// Texts of a form as the values that Stripe answers.
fn typed(value: &Value) -> Value {
    match value {
        Value::String(text) if text == "true" => json!(true),
        Value::String(text) if text == "false" => json!(false),
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), typed(value))).collect(),
        Value::Array(list) => list.iter().map(typed).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other.clone(),
    }
}

pub(super) fn create_session(world: &mut World, p: &Value) -> Result<Value, Refused> {
    let customer = customer_of(world, p)?;
    if let Some(configuration) = text(p, "configuration") {
        world.get("billing_portal.configuration", configuration)?;
    }
    let flow = at(p, "flow_data").cloned().unwrap_or(Value::Null);
    if let Some(subscription) = text(&flow, "subscription_update_confirm.subscription") {
        world.get("subscription", subscription)?;
    }
    let id = world.new_id("bps");
    let url = format!("{}/portal/{id}", world.public_url);
    let session = json!({
        "id": id, "customer": customer, "configuration": text(p, "configuration"), "url": url,
        "return_url": text(p, "return_url"), "flow": flow,
    });
    Ok(world.add("billing_portal.session", "bps", session))
}

/// What a customer does in the portal: `confirm` the change that the session is for, `cancel` at the end
/// of the paid time, `resume`, or let their cards fail (`card_fails`) and work again (`card_works`).
pub(super) fn act(world: &mut World, id: &str, p: &Value) -> Result<Value, Refused> {
    let session = world.get("billing_portal.session", id)?;
    let customer = word(&session, "customer");
    match text(p, "action").unwrap_or_default() {
        "confirm" => confirm(world, &session),
        "cancel" => at_end(world, &customer, true),
        "resume" => at_end(world, &customer, false),
        "card_fails" => subscriptions::set_card(world, &customer, false).map(|()| session),
        "card_works" => subscriptions::set_card(world, &customer, true).map(|()| session),
        _ => Err(Refused::parameter("action", "must be confirm, cancel, resume, card_fails or card_works")),
    }
}

fn at_end(world: &mut World, customer: &str, cancel: bool) -> Result<Value, Refused> {
    let subscription = world
        .all("subscription")
        .find(|one| one["customer"] == customer && one["status"] != "canceled")
        .map(|one| word(one, "id"))
        .ok_or_else(|| Refused::state("This customer has no subscription."))?;
    subscriptions::update(world, &subscription, &json!({"cancel_at_period_end": cancel.to_string()}))
}

/// Upgrades are at once and paid at once; what costs less or is paid more often waits for the end of the paid time.
fn confirm(world: &mut World, session: &Value) -> Result<Value, Refused> {
    let change = &session["flow"]["subscription_update_confirm"];
    let price =
        change["items"][0]["price"].as_str().ok_or_else(|| Refused::state("There is nothing to confirm."))?;
    let subscription = world.get("subscription", &word(change, "subscription"))?;
    let new = world.get("price", price)?;
    let old = &subscription["items"]["data"][0]["price"];
    let interval = |price: &Value| word(&price["recurring"], "interval");
    let shorter = interval(old) == "year" && interval(&new) == "month";
    let cheaper = interval(old) == interval(&new) && amount(&new, "unit_amount") < amount(old, "unit_amount");
    if shorter || cheaper {
        return subscriptions::schedule(world, &word(&subscription, "id"), price);
    }
    let p = json!({"items": [{"price": price}], "proration_behavior": "always_invoice"});
    subscriptions::update(world, &word(&subscription, "id"), &p)
}
