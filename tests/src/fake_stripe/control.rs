//! What tests and demonstrations ask of the fake, below `/_fake/`: its clock, faults, and what customers
//! and banks do.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::api::public;
use super::checkout::{self, Choice};
use super::faults::{CallFault, DeliveryFaults};
use super::form::required;
use super::refused::Refused;
use super::world::World;
use super::{advance, payments, portal, subscriptions};

/// Acts on a control call; the body is JSON.
///
/// | call | body | |
/// |---|---|---|
/// | `GET /_fake/clock` | | `{"now_ms","offset_ms"}` |
/// | `POST /_fake/clock` | `{"offset_ms"}` | how far the clock is ahead in all; it never goes back |
/// | `POST /_fake/faults` | `{"matches","times","status","page","delay_ms","drop","drop_after"}` | faults of the next calls |
/// | `POST /_fake/deliveries` | `{"hold","duplicates","shuffle_seed","lose_every"}` | faults of deliveries |
/// | `GET /_fake/deliveries` | | `{"waiting"}` |
/// | `DELETE /_fake/faults` | | takes all faults back and sends at once what waits |
/// | `POST /_fake/checkout/{id}/pay` | `{"method"}` | as the hosted page |
/// | `POST /_fake/portal/{id}` | `{"action"}` | as the hosted page |
/// | `POST /_fake/customers/{id}/card` | `{"works"}` | whether charges succeed |
/// | `POST /_fake/refunds/{id}/fail` | | the refund comes back |
/// | `POST /_fake/disputes` | `{"charge"|"payment_intent","amount"?,"status"?}` | a dispute is opened |
/// | `POST /_fake/disputes/{id}/close` | `{"status"}` | won, lost, prevented, warning_closed |
/// | `GET /_fake/requests` | | the calls so far |
/// | `DELETE /_fake/idempotency` | | forgets all keys, as Stripe does after a day |
///
/// # Errors
/// When the call is not one of these, or is refused.
pub(super) fn call(world: &mut World, method: &str, path: &str, body: &[u8]) -> Result<Value, Refused> {
    let parts: Vec<&str> = path.trim_start_matches("/_fake/").split('/').collect();
    match (method, parts.as_slice()) {
        ("GET", ["clock"]) => Ok(clock(world)),
        ("POST", ["clock"]) => {
            let wanted =
                read::<Value>(body)?["offset_ms"].as_u64().ok_or_else(|| Refused::missing("offset_ms"))?;
            let step_ms = wanted.saturating_sub(world.offset_ms);
            world.offset_ms = world.offset_ms.max(wanted);
            advance(world, world.now_ms.saturating_add(step_ms));
            Ok(clock(world))
        }
        ("POST", ["faults"]) => {
            world.faults.add(read::<CallFault>(body)?);
            Ok(json!({}))
        }
        ("DELETE", ["faults"]) => {
            world.faults.clear();
            world.queue.hurry(world.now_ms);
            Ok(json!({}))
        }
        ("POST", ["deliveries"]) => {
            world.faults.deliveries = read::<DeliveryFaults>(body)?;
            Ok(json!({}))
        }
        ("GET", ["deliveries"]) => Ok(json!({"waiting": world.queue.len()})),
        ("GET", ["requests"]) => Ok(json!({"requests": world.log()})),
        ("DELETE", ["idempotency"]) => {
            world.kept.clear();
            Ok(json!({}))
        }
        ("POST", parts) => happen(world, parts, &texts(&read::<Value>(body)?)).map(public),
        _ => Err(Refused::route(method, path)),
    }
}

/// What customers and banks do.
fn happen(world: &mut World, parts: &[&str], p: &Value) -> Result<Value, Refused> {
    match parts {
        ["checkout", id, "pay"] => {
            let name = required(p, "method")?;
            let choice = Choice::parse(name).ok_or_else(|| {
                Refused::parameter("method", "must be card, card_declined, sepa_debit or sepa_returned")
            })?;
            checkout::pay(world, id, choice)
        }
        ["portal", id] => portal::act(world, id, p),
        ["customers", id, "card"] => {
            subscriptions::set_card(world, id, required(p, "works")? == "true").map(|()| json!({}))
        }
        ["refunds", id, "fail"] => payments::fail_refund(world, id),
        ["disputes"] => payments::dispute(world, p),
        ["disputes", id, "close"] => payments::close_dispute(world, id, p),
        _ => Err(Refused::route("POST", &format!("/_fake/{}", parts.join("/")))),
    }
}

fn clock(world: &World) -> Value {
    json!({"now_ms": world.now_ms, "offset_ms": world.offset_ms})
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Refused::parameter("body", &error.to_string()))
}

/// JSON with all numbers and flags as the texts of a form.
fn texts(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), texts(value))).collect(),
        Value::Bool(flag) => json!(flag.to_string()),
        Value::Number(number) => json!(number.to_string()),
        other @ (Value::Null | Value::String(_) | Value::Array(_)) => other.clone(),
    }
}
