//! Subscriptions: their paid time, changes, renewals and ends.

use serde_json::{Value, json};
use shared::time::{Day, Timestamp};

use super::form::{self, at, merge_metadata, text};
use super::invoices::{self, Draft};
use super::refused::Refused;
use super::world::{Due, World, amount, word};
use super::{catalogue_line, customers, payments, schedules};

/// The subscription that a paid Checkout session begins, with its first invoice open.
pub(super) fn begin(world: &mut World, session: &Value, method: &str) -> Result<Value, Refused> {
    let line = session["_line_items"]["data"][0].clone();
    let data = session["_subscription_data"].clone();
    let item = item(world, &line["price"], amount(&line, "quantity"));
    let mut subscription = json!({
        "customer": session["customer"], "status": "active", "cancel_at_period_end": false, "cancel_at": null,
        "canceled_at": null, "ended_at": null, "currency": session["currency"], "default_payment_method": method,
        "billing_cycle_anchor": world.seconds(), "start_date": world.seconds(), "latest_invoice": null,
        "collection_method": "charge_automatically", "items": {"object": "list", "has_more": false, "data": [item]},
        "metadata": {}, "schedule": null, "trial_end": null, "pause_collection": null,
    });
    merge_metadata(&mut subscription, Some(&data["metadata"]));
    let mut subscription = world.add("subscription", "sub", subscription);
    let draft = Draft {
        customer: word(&subscription, "customer"),
        reason: "subscription_create",
        metadata: json!({}),
        subscription: Some(subscription.clone()),
    };
    let invoice = invoices::open(world, &draft, &[line]);
    subscription["latest_invoice"] = invoice["id"].clone();
    world.put(&subscription);
    world.emit("customer.subscription.created", &subscription);
    plan_end(world, &subscription);
    Ok(subscription)
}

fn item(world: &mut World, price: &Value, quantity: i64) -> Value {
    let start = world.seconds();
    json!({
        "id": world.new_id("si"), "object": "subscription_item", "price": price, "quantity": quantity,
        "current_period_start": start, "current_period_end": period_end(start, price, 1), "metadata": {},
    })
}

/// When the paid time that began at `anchor` has been renewed that often.
pub(super) fn period_end(anchor: u64, price: &Value, times: u32) -> u64 {
    let months = if price["recurring"]["interval"] == "year" { 12 } else { 1 };
    let anchor = Timestamp::from_ms(anchor.saturating_mul(1_000));
    let mut period = anchor.period();
    for _ in 0..times.saturating_mul(months) {
        period = period.next();
    }
    let day_of_month = anchor.day().number().saturating_sub(anchor.period().first_day().number());
    let wanted = period.first_day().number().saturating_add(day_of_month).min(period.last_day().number());
    let day = Day::from_number(wanted).unwrap_or_else(|| period.last_day());
    let time_of_day_ms = anchor.ms_since(anchor.day().start());
    day.start().plus_ms(time_of_day_ms).as_seconds()
}

fn paid_until(subscription: &Value) -> u64 {
    subscription["items"]["data"][0]["current_period_end"].as_u64().unwrap_or_default()
}

fn plan_end(world: &mut World, subscription: &Value) {
    let id = word(subscription, "id");
    world.unplan(|due| *due == Due::EndOfPaidTime(id.clone()));
    world.plan(paid_until(subscription).saturating_mul(1_000), Due::EndOfPaidTime(id));
}

pub(super) fn update(world: &mut World, id: &str, p: &Value) -> Result<Value, Refused> {
    let mut subscription = live(world, id)?;
    let before = json!({
        "cancel_at_period_end": subscription["cancel_at_period_end"], "items": subscription["items"],
    });
    merge_metadata(&mut subscription, at(p, "metadata"));
    if text(p, "cancel_at_period_end").is_some() {
        schedules::refuse_cancel(&subscription)?;
        set_cancel(world, &mut subscription, form::flag(p, "cancel_at_period_end"));
    }
    if let Some(method) = text(p, "default_payment_method") {
        subscription["default_payment_method"] = world.get("payment_method", method)?["id"].clone();
    }
    world.put(&subscription);
    if let Some(price) = text(p, "items.0.price") {
        let price = world.get("price", price)?;
        let invoiced = text(p, "proration_behavior").unwrap_or("create_prorations") == "always_invoice";
        subscription = switch(world, subscription, &price, invoiced)?;
    }
    world.emit_changed("customer.subscription.updated", &subscription, Some(before));
    Ok(subscription)
}

pub(super) fn live(world: &World, id: &str) -> Result<Value, Refused> {
    let subscription = world.get("subscription", id)?;
    if subscription["status"] == "canceled" {
        return Err(Refused::state(
            "A canceled subscription can only update its cancellation_details and metadata.",
        ));
    }
    Ok(subscription)
}

fn set_cancel(world: &World, subscription: &mut Value, cancel: bool) {
    subscription["cancel_at_period_end"] = json!(cancel);
    subscription["cancel_at"] = if cancel { json!(paid_until(subscription)) } else { Value::Null };
    subscription["canceled_at"] = if cancel { json!(world.seconds()) } else { Value::Null };
}

/// Changes the price at once. What was paid and not used counts against the new price.
fn switch(
    world: &mut World,
    mut subscription: Value,
    price: &Value,
    invoiced: bool,
) -> Result<Value, Refused> {
    let old = subscription["items"]["data"][0].clone();
    let now = world.seconds();
    let same_interval = old["price"]["recurring"]["interval"] == price["recurring"]["interval"];
    let (start, end) = (old["current_period_start"].as_u64(), old["current_period_end"].as_u64());
    let (start, end) = (start.unwrap_or_default(), end.unwrap_or_default());
    let left = |amount: i64| share(amount, end.saturating_sub(now), end.saturating_sub(start));
    let credit = left(amount(&old["price"], "unit_amount"));
    let price_of_rest =
        if same_interval { left(amount(price, "unit_amount")) } else { amount(price, "unit_amount") };
    let item = &mut subscription["items"]["data"][0];
    item["price"] = price.clone();
    if !same_interval {
        item["current_period_start"] = json!(now);
        item["current_period_end"] = json!(period_end(now, price, 1));
        subscription["billing_cycle_anchor"] = json!(now);
        subscription["_renewals"] = json!(0);
    }
    world.put(&subscription);
    plan_end(world, &subscription);
    let due = price_of_rest.saturating_sub(credit);
    // What the customer has too much is kept for later invoices.
    if invoiced && due != 0 {
        let mut line = catalogue_line(world, price, 1);
        line["amount_total"] = json!(due);
        bill(world, &mut subscription, "subscription_update", &line)?;
    }
    Ok(subscription)
}

/// The share of an amount, rounded down.
fn share(amount: i64, part: u64, whole: u64) -> i64 {
    let (part, whole) = (i128::from(part.min(whole)), i128::from(whole.max(1)));
    i64::try_from(i128::from(amount).saturating_mul(part).div_euclid(whole)).unwrap_or(i64::MAX)
}

/// Invoices a line and tries to have it paid.
fn bill(
    world: &mut World,
    subscription: &mut Value,
    reason: &'static str,
    line: &Value,
) -> Result<(), Refused> {
    let draft = Draft {
        customer: word(subscription, "customer"),
        reason,
        metadata: json!({}),
        subscription: Some(subscription.clone()),
    };
    let invoice = invoices::open(world, &draft, std::slice::from_ref(line));
    subscription["latest_invoice"] = invoice["id"].clone();
    world.put(subscription);
    invoices::attempt(world, &word(&invoice, "id"), 0)?;
    if let Some(changed) = world.any(&word(subscription, "id")) {
        *subscription = changed;
    }
    Ok(())
}

pub(super) fn cancel(world: &mut World, id: &str) -> Result<Value, Refused> {
    let mut subscription = live(world, id)?;
    subscription["status"] = json!("canceled");
    subscription["ended_at"] = json!(world.seconds());
    if subscription["canceled_at"].is_null() {
        subscription["canceled_at"] = json!(world.seconds());
    }
    schedules::canceled(world, &mut subscription);
    world.put(&subscription);
    world.unplan(|due| *due == Due::EndOfPaidTime(id.to_owned()));
    world.emit("customer.subscription.deleted", &subscription);
    Ok(subscription)
}

/// The paid time is over: the subscription ends, changes, or is renewed.
pub(super) fn paid_time_ended(world: &mut World, id: &str) -> Result<(), Refused> {
    let mut subscription = live(world, id)?;
    if subscription["cancel_at_period_end"] == json!(true) {
        return cancel(world, id).map(drop);
    }
    let scheduled = schedules::advance(world, &mut subscription);
    let is_scheduled = scheduled.is_some();
    if let Some(price) = scheduled {
        subscription["items"]["data"][0]["price"] = price;
        subscription["billing_cycle_anchor"] = json!(paid_until(&subscription));
        subscription["_renewals"] = json!(0);
    }
    let anchor = subscription["billing_cycle_anchor"].as_u64().unwrap_or_default();
    let before = subscription["_renewals"].as_u64().unwrap_or_default();
    let renewals = if is_scheduled { 0 } else { before.saturating_add(1) };
    subscription["_renewals"] = json!(renewals);
    let times = u32::try_from(renewals.saturating_add(1)).unwrap_or(u32::MAX);
    let item = &mut subscription["items"]["data"][0];
    item["current_period_start"] = item["current_period_end"].clone();
    item["current_period_end"] = json!(period_end(anchor, &item["price"].clone(), times));
    let (price, quantity) = (item["price"].clone(), amount(item, "quantity"));
    world.put(&subscription);
    plan_end(world, &subscription);
    let line = catalogue_line(world, &price, quantity);
    bill(world, &mut subscription, "subscription_cycle", &line)?;
    world.emit("customer.subscription.updated", &subscription);
    Ok(())
}

/// Follows the payment of one of the subscription's invoices.
pub(super) fn follow(world: &mut World, id: &str, status: &str) {
    let Some(mut subscription) = world.any(id) else { return };
    if subscription["status"] == "canceled" || subscription["status"] == status {
        return;
    }
    let before = json!({"status": subscription["status"]});
    subscription["status"] = json!(status);
    world.put(&subscription);
    world.emit_changed("customer.subscription.updated", &subscription, Some(before));
}

/// With what the subscription is paid.
pub(super) fn method_of(world: &World, subscription: &Value) -> Option<String> {
    customers::method_of(world, &word(subscription, "customer"), &subscription["default_payment_method"])
}

/// Lets a customer's cards fail, or work again.
pub(super) fn set_card(world: &mut World, customer: &str, works: bool) -> Result<(), Refused> {
    let mut customer = world.get("customer", customer)?;
    customer["_card_works"] = json!(works);
    world.put(&customer);
    if works {
        payments::retry_unpaid(world, &word(&customer, "id"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paid_time_keeps_its_day_of_the_month() {
        let price = |interval| json!({"recurring": {"interval": interval}});
        let cases = [
            ("2026-01-31", "month", 1, "2026-02-28"),
            ("2026-01-31", "month", 2, "2026-03-31"),
            ("2026-12-15", "month", 1, "2027-01-15"),
            ("2024-02-29", "year", 1, "2025-02-28"),
        ];
        for (anchor, interval, times, expected) in cases {
            let start = Day::parse(anchor).unwrap().start().plus_ms(3_600_000).as_seconds();
            let end = period_end(start, &price(interval), times);
            let end = Timestamp::from_ms(end * 1_000).to_string();
            assert_eq!(end, format!("{expected}T01:00:00Z"), "{anchor} {interval} {times}");
        }
    }

    #[test]
    fn shares_are_rounded_down() {
        assert_eq!(share(4_900, 1, 3), 1_633);
        assert_eq!(share(4_900, 5, 3), 4_900);
        assert_eq!(share(4_900, 0, 0), 0);
    }
}
