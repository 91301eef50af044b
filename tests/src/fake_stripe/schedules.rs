//! Schedules: changes of a subscription that wait for the end of its paid time.

use serde_json::{Value, json};

use super::refused::Refused;
use super::subscriptions::period_end;
use super::world::{World, amount, word};

/// Plans another price for when the paid time is over. Behind a change that waits already it comes later still, as
/// Stripe has it.
pub(super) fn plan(world: &mut World, subscription: &Value, price: &Value) -> Value {
    let item = &subscription["items"]["data"][0];
    let quantity = amount(item, "quantity");
    let phase = |start: &Value, end: &Value, price: &Value| {
        let items = json!([{"price": price["id"], "quantity": quantity, "metadata": {}}]);
        json!({"start_date": start, "end_date": end, "items": items, "proration_behavior": "none", "metadata": {}})
    };
    let following = |start: &Value| {
        let end = period_end(start.as_u64().unwrap_or_default(), price, 1);
        phase(start, &json!(end), price)
    };
    if let Some(mut schedule) = of(world, subscription) {
        let last = schedule["phases"].as_array().and_then(|phases| phases.last()).cloned();
        let next = following(&last.unwrap_or_default()["end_date"]);
        if let Some(phases) = schedule["phases"].as_array_mut() {
            phases.push(next);
        }
        world.put(&schedule);
        world.emit("subscription_schedule.updated", &schedule);
        return subscription.clone();
    }
    let (start, end) = (&item["current_period_start"], &item["current_period_end"]);
    let schedule = json!({
        "customer": subscription["customer"], "subscription": subscription["id"], "released_subscription": null,
        "status": "active", "end_behavior": "release", "current_phase": {"start_date": start, "end_date": end},
        "phases": [phase(start, end, &item["price"]), following(end)],
        "canceled_at": null, "completed_at": null, "released_at": null, "metadata": {},
    });
    let schedule = world.add("subscription_schedule", "sub_sched", schedule);
    world.emit("subscription_schedule.created", &schedule);
    attach(world, subscription, &schedule["id"])
}

/// The schedule that a subscription is managed by.
fn of(world: &World, subscription: &Value) -> Option<Value> {
    subscription["schedule"].as_str().and_then(|id| world.any(id))
}

fn attach(world: &mut World, subscription: &Value, schedule: &Value) -> Value {
    let mut subscription = subscription.clone();
    let before = json!({"schedule": subscription["schedule"]});
    subscription["schedule"] = schedule.clone();
    world.put(&subscription);
    world.emit_changed("customer.subscription.updated", &subscription, Some(before));
    subscription
}

/// Lets a subscription go on as it is.
pub(super) fn release(world: &mut World, id: &str) -> Result<Value, Refused> {
    let mut schedule = world.get("subscription_schedule", id)?;
    if schedule["status"] != "active" {
        return Err(Refused::state("Only a schedule that is active or not started can be released."));
    }
    let subscription = schedule["subscription"].take();
    schedule["released_subscription"] = subscription.clone();
    over(world, &mut schedule, "released");
    if let Some(subscription) = subscription.as_str().and_then(|id| world.any(id)) {
        attach(world, &subscription, &Value::Null);
    }
    Ok(schedule)
}

fn over(world: &mut World, schedule: &mut Value, how: &str) {
    schedule["status"] = json!(how);
    schedule["current_phase"] = Value::Null;
    schedule[format!("{how}_at")] = json!(world.seconds());
    world.put(schedule);
    world.emit(&format!("subscription_schedule.{how}"), schedule);
}

/// A schedule ends with its subscription.
pub(super) fn canceled(world: &mut World, subscription: &mut Value) {
    let Some(mut schedule) = of(world, subscription) else { return };
    subscription["schedule"] = Value::Null;
    over(world, &mut schedule, "canceled");
}

/// A subscription's paid time is over: which price the next phase has, if there is one. After the last phase the
/// subscription goes on by itself.
pub(super) fn advance(world: &mut World, subscription: &mut Value) -> Option<Value> {
    let mut schedule = of(world, subscription)?;
    let end = schedule["current_phase"]["end_date"].clone();
    if end.as_u64() > subscription["items"]["data"][0]["current_period_end"].as_u64() {
        return None;
    }
    let phases = schedule["phases"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(next) = phases.iter().find(|phase| phase["start_date"] == end).cloned() else {
        schedule["released_subscription"] = schedule["subscription"].take();
        subscription["schedule"] = Value::Null;
        over(world, &mut schedule, "released");
        return None;
    };
    schedule["current_phase"] = json!({"start_date": next["start_date"], "end_date": next["end_date"]});
    world.put(&schedule);
    world.emit("subscription_schedule.updated", &schedule);
    world.any(&word(&next["items"][0], "price"))
}

/// Refuses to change when a subscription ends while a schedule says so.
pub(super) fn refuse_cancel(subscription: &Value) -> Result<(), Refused> {
    let Some(id) = subscription["schedule"].as_str() else { return Ok(()) };
    Err(Refused::state(&format!(
        "The subscription is managed by the subscription schedule `{id}`, and updating any cancelation behavior directly is not allowed. Please update the schedule instead."
    )))
}
