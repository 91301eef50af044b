//! Which call does what: Stripe's paths, as far as the meter uses them.

use serde_json::{Value, json};

use super::form::{self, at, text, texts};
use super::refused::Refused;
use super::world::{World, word};
use super::{catalogue, checkout, customers, invoices, payments, portal, schedules, subscriptions};

/// Collections that are read the same way: their path and the kind of their objects.
const COLLECTIONS: [(&str, &str); 16] = [
    ("customers", "customer"),
    ("products", "product"),
    ("prices", "price"),
    ("checkout/sessions", "checkout.session"),
    ("billing_portal/configurations", "billing_portal.configuration"),
    ("subscriptions", "subscription"),
    ("subscription_schedules", "subscription_schedule"),
    ("invoices", "invoice"),
    ("invoiceitems", "invoiceitem"),
    ("payment_intents", "payment_intent"),
    ("payment_methods", "payment_method"),
    ("charges", "charge"),
    ("refunds", "refund"),
    ("disputes", "dispute"),
    ("credit_notes", "credit_note"),
    ("events", "event"),
];

/// How many objects a page has when the caller does not say, and at most.
const PAGE: i64 = 10;
const PAGE_MAX: i64 = 100;

/// Acts on one call and says what is answered with status 200.
///
/// # Errors
/// When it is refused; then nothing has changed, but for a declined payment.
pub(super) fn call(world: &mut World, method: &str, path: &str, p: &Value) -> Result<Value, Refused> {
    let unknown = || Refused::route(method, path);
    let parts: Vec<&str> = path.strip_prefix("/v1/").ok_or_else(unknown)?.split('/').collect();
    let answer = match method {
        "GET" => read(world, &parts, p).unwrap_or_else(|| Err(unknown())),
        "POST" => write(world, &parts, p).unwrap_or_else(|| Err(unknown())),
        "DELETE" => match parts.as_slice() {
            ["customers", id] => customers::delete(world, id),
            ["subscriptions", id] => subscriptions::cancel(world, id),
            ["invoices", id] => invoices::delete_draft(world, id),
            _ => Err(unknown()),
        },
        _ => Err(unknown()),
    }?;
    Ok(public(expanded(world, answer, &texts(p, "expand"))))
}

fn write(world: &mut World, parts: &[&str], p: &Value) -> Option<Result<Value, Refused>> {
    Some(match parts {
        ["customers"] => customers::create(world, p),
        ["customers", id] => customers::update(world, id, p),
        ["products"] => catalogue::create_product(world, p),
        ["products", id] => catalogue::update_product(world, id, p),
        ["prices"] => catalogue::create_price(world, p),
        ["prices", id] => catalogue::update_price(world, id, p),
        ["checkout", "sessions"] => checkout::create(world, p),
        ["checkout", "sessions", id, "expire"] => checkout::expire(world, id),
        ["billing_portal", "configurations"] => portal::create_configuration(world, p),
        ["billing_portal", "configurations", id] => portal::update_configuration(world, id, p),
        ["billing_portal", "sessions"] => portal::create_session(world, p),
        ["subscriptions", id] => subscriptions::update(world, id, p),
        ["subscription_schedules", id, "release"] => schedules::release(world, id),
        ["invoices"] => invoices::create(world, p),
        ["invoices", id] => invoices::update(world, id, p),
        ["invoices", id, "finalize"] => invoices::finalize(world, id, p),
        ["invoices", id, "pay"] => invoices::pay(world, id),
        ["invoices", id, "void"] => invoices::void(world, id),
        ["invoices", id, "mark_uncollectible"] => invoices::mark_uncollectible(world, id),
        ["invoiceitems"] => invoices::add_item(world, p),
        ["payment_intents"] => payments::create_intent(world, p),
        ["refunds"] => payments::refund(world, p),
        ["credit_notes"] => payments::credit_note(world, p),
        _ => return None,
    })
}

fn read(world: &World, parts: &[&str], p: &Value) -> Option<Result<Value, Refused>> {
    match parts {
        ["invoices", id, "lines"] => return Some(world.get("invoice", id).map(|i| i["lines"].clone())),
        ["checkout", "sessions", id, "line_items"] => {
            return Some(world.get("checkout.session", id).map(|session| session["_line_items"].clone()));
        }
        ["customers", id, "payment_methods"] => {
            return Some(world.get("customer", id).and_then(|_| {
                let of = json!({"customer": id, "limit": text(p, "limit")});
                list(world, "payment_method", "/v1/payment_methods", &of)
            }));
        }
        _ => {}
    }
    let path = parts.join("/");
    if let Some((_, kind)) = COLLECTIONS.iter().find(|(collection, _)| *collection == path) {
        return Some(list(world, kind, &format!("/v1/{path}"), p));
    }
    let (collection, id) = path.rsplit_once('/')?;
    let (_, kind) = COLLECTIONS.iter().find(|(known, _)| *known == collection)?;
    Some(world.get(kind, id))
}

/// A page of a collection, the newest first.
fn list(world: &World, kind: &str, url: &str, p: &Value) -> Result<Value, Refused> {
    let limit = form::number(p, "limit")?.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Refused::parameter("limit", "This value must be between 1 and 100."));
    }
    let limit = usize::try_from(limit).unwrap_or_default();
    let mut found: Vec<&Value> = world.all(kind).filter(|object| is_wanted(object, p)).collect();
    if let Some(after) = text(p, "starting_after") {
        let place = found.iter().position(|object| object["id"] == after);
        let place = place.ok_or_else(|| Refused::no_such(kind, after))?;
        found.drain(..=place);
    } else if let Some(before) = text(p, "ending_before") {
        let place = found.iter().position(|object| object["id"] == before);
        found.truncate(place.ok_or_else(|| Refused::no_such(kind, before))?);
        found.drain(..found.len().saturating_sub(limit));
    }
    let more = found.len() > limit;
    let page: Vec<Value> = found.into_iter().take(limit).cloned().collect();
    Ok(json!({"object": "list", "url": url, "has_more": more, "data": page}))
}

/// Whether an object meets the filters of a list.
fn is_wanted(object: &Value, p: &Value) -> bool {
    const SAME: [&str; 9] =
        ["customer", "status", "product", "payment_intent", "charge", "type", "email", "invoice", "currency"];
    let same = SAME.iter().all(|field| match text(p, field) {
        // Canceled subscriptions are listed only where they are asked for.
        None => *field != "status" || object["object"] != "subscription" || object["status"] != "canceled",
        Some("all") => true,
        Some(wanted) => object[*field] == wanted,
    });
    let listed =
        [("lookup_keys", "lookup_key"), ("ids", "id"), ("types", "type")].iter().all(|(many, one)| {
            let wanted = texts(p, many);
            wanted.is_empty() || wanted.iter().any(|wanted| object[*one] == wanted.as_str())
        });
    let subscription = text(p, "subscription").is_none_or(|wanted| {
        object["subscription"] == wanted || object["parent"]["subscription_details"]["subscription"] == wanted
    });
    let active = text(p, "active").is_none_or(|wanted| object["active"] == json!(wanted == "true"));
    let delivered =
        text(p, "delivery_success").is_none_or(|wanted| object["delivered"] == json!(wanted == "true"));
    same && listed && subscription && active && delivered && is_of_time(object, p)
}

fn is_of_time(object: &Value, p: &Value) -> bool {
    let created = object["created"].as_i64().unwrap_or_default();
    let bound = |name: &str| text(p, &format!("created.{name}")).and_then(|text| text.parse::<i64>().ok());
    bound("gte").is_none_or(|bound| created >= bound)
        && bound("gt").is_none_or(|bound| created > bound)
        && bound("lte").is_none_or(|bound| created <= bound)
        && bound("lt").is_none_or(|bound| created < bound)
        && text(p, "created").and_then(|text| text.parse().ok()).is_none_or(|wanted: i64| created == wanted)
}

/// Puts objects in the place of their ids, as `expand[]` asks.
fn expanded(world: &World, mut answer: Value, paths: &[String]) -> Value {
    for path in paths {
        let parts: Vec<&str> = path.split('.').collect();
        expand(world, &mut answer, &parts);
    }
    answer
}

fn expand(world: &World, place: &mut Value, path: &[&str]) {
    let Some((name, rest)) = path.split_first() else { return };
    if let Value::Array(list) = place {
        list.iter_mut().for_each(|one| expand(world, one, path));
        return;
    }
    if *name == "line_items" && place["_line_items"].is_object() {
        place["line_items"] = place["_line_items"].clone();
    }
    let Some(field) = place.get_mut(*name) else { return };
    if let Some(object) = field.as_str().and_then(|id| world.any(id)) {
        *field = object;
    }
    expand(world, field, rest);
}

/// An object without what the fake notes for itself: fields whose names begin with `_`.
pub(super) fn public(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(name, _)| !name.starts_with('_') && name != "delivered")
            .map(|(name, value)| (name, public(value)))
            .collect(),
        Value::Array(list) => list.into_iter().map(public).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

/// Copies those texts of the parameters that are given into the object.
pub(super) fn copy_texts(object: &mut Value, p: &Value, fields: &[&str]) {
    for field in fields {
        if let Some(value) = at(p, field) {
            object[*field] = value.clone();
        }
    }
}

/// Checks that the customer of a call is there.
///
/// # Errors
/// When it is missing or unknown.
pub(super) fn customer_of(world: &World, p: &Value) -> Result<String, Refused> {
    let id = form::required(p, "customer")?;
    world.get("customer", id).map(|customer| word(&customer, "id"))
}
