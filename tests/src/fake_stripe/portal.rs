//! The customer portal: its configurations, sessions, and what customers do there.

use serde_json::{Value, json};

use super::api::customer_of;
use super::form::{at, flag, merge_metadata, text};
use super::refused::Refused;
use super::world::{World, amount, word};
use super::{schedules, subscriptions};

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
        may_choose(world, p, &flow)?;
    }
    let id = world.new_id("bps");
    let url = format!("{}/portal/{id}", world.public_url);
    let session = json!({
        "id": id, "customer": customer, "configuration": text(p, "configuration"), "url": url,
        "return_url": text(p, "return_url"), "flow": flow,
    });
    Ok(world.add("billing_portal.session", "bps", session))
}

/// Refuses a change to a price that the configuration does not offer.
fn may_choose(world: &World, p: &Value, flow: &Value) -> Result<(), Refused> {
    let update = feature(world, &json!({"configuration": text(p, "configuration")}));
    let price = text(flow, "subscription_update_confirm.items.0.price").unwrap_or_default();
    let products = update["products"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut prices = products.iter().filter_map(|product| product["prices"].as_array()).flatten();
    if update["enabled"] == true && prices.any(|offered| offered == price) {
        return Ok(());
    }
    Err(Refused::state("This subscription cannot be updated to that price by the portal's configuration."))
}

/// What a customer does in the portal: `confirm` the change that the session is for, `cancel` at the end
/// of the paid time, `resume`, `take_back` a change that waits, or let their cards fail (`card_fails`) and work again (`card_works`).
pub(super) fn act(world: &mut World, id: &str, p: &Value) -> Result<Value, Refused> {
    let session = world.get("billing_portal.session", id)?;
    let customer = word(&session, "customer");
    match text(p, "action").unwrap_or_default() {
        "confirm" => confirm(world, &session),
        "cancel" => at_end(world, &customer, true),
        "resume" => at_end(world, &customer, false),
        "take_back" => take_back(world, &customer),
        "card_fails" => subscriptions::set_card(world, &customer, false).map(|()| session),
        "card_works" => subscriptions::set_card(world, &customer, true).map(|()| session),
        _ => Err(Refused::parameter(
            "action",
            "must be confirm, cancel, resume, take_back, card_fails or card_works",
        )),
    }
}

fn at_end(world: &mut World, customer: &str, cancel: bool) -> Result<Value, Refused> {
    let subscription = word(&subscription_of(world, customer)?, "id");
    subscriptions::update(world, &subscription, &json!({"cancel_at_period_end": cancel.to_string()}))
}

fn subscription_of(world: &World, customer: &str) -> Result<Value, Refused> {
    let live = |one: &&Value| one["customer"] == customer && one["status"] != "canceled";
    let found = world.all("subscription").find(live).cloned();
    found.ok_or_else(|| Refused::state("This customer has no subscription."))
}

/// A change is at once and paid at once, unless the session's configuration has it wait for the end of the paid time.
fn confirm(world: &mut World, session: &Value) -> Result<Value, Refused> {
    let change = &session["flow"]["subscription_update_confirm"];
    let price =
        change["items"][0]["price"].as_str().ok_or_else(|| Refused::state("There is nothing to confirm."))?;
    let subscription = subscriptions::live(world, &word(change, "subscription"))?;
    let (old, new) = (&subscription["items"]["data"][0]["price"], world.get("price", price)?);
    let update = feature(world, session);
    let conditions = update["schedule_at_period_end"]["conditions"].as_array();
    let waits = conditions.is_some_and(|conditions| conditions.iter().any(|one| holds(one, old, &new)));
    if waits {
        return Ok(schedules::plan(world, &subscription, &new));
    }
    let p = json!({"items": [{"price": price}], "proration_behavior": update["proration_behavior"]});
    subscriptions::update(world, &word(&subscription, "id"), &p)
}

/// Whether a condition under which a change waits holds for it.
fn holds(condition: &Value, old: &Value, new: &Value) -> bool {
    let interval = |price: &Value| word(&price["recurring"], "interval");
    match word(condition, "type").as_str() {
        "shortening_interval" => interval(old) == "year" && interval(new) == "month",
        "decreasing_item_amount" => amount(new, "unit_amount") < amount(old, "unit_amount"),
        _ => false,
    }
}

/// How the session's configuration has subscriptions changed.
fn feature(world: &World, session: &Value) -> Value {
    let configuration = session["configuration"].as_str().and_then(|id| world.any(id));
    configuration.unwrap_or_default()["features"]["subscription_update"].clone()
}

/// Lets what waits for the end of the paid time not come.
fn take_back(world: &mut World, customer: &str) -> Result<Value, Refused> {
    let subscription = subscription_of(world, customer)?;
    let schedule = subscription["schedule"].as_str().ok_or_else(|| Refused::state("Nothing waits."))?;
    schedules::release(world, schedule)
}
