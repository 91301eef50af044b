//! Products and prices.

use serde_json::{Value, json};

use super::api::copy_texts;
use super::form::{self, at, merge_metadata, number, required, text};
use super::refused::Refused;
use super::world::{World, word};

pub(super) fn create_product(world: &mut World, p: &Value) -> Result<Value, Refused> {
    required(p, "name")?;
    let mut product =
        json!({"active": true, "name": null, "description": null, "metadata": {}, "tax_code": null});
    if let Some(id) = text(p, "id") {
        if world.any(id).is_some() {
            return Err(Refused::parameter("id", &format!("Product already exists: {id}")));
        }
        product["id"] = json!(id);
    }
    set_product(&mut product, p);
    let product = world.add("product", "prod", product);
    world.emit("product.created", &product);
    Ok(product)
}

pub(super) fn update_product(world: &mut World, id: &str, p: &Value) -> Result<Value, Refused> {
    let mut product = world.get("product", id)?;
    set_product(&mut product, p);
    world.put(&product);
    world.emit("product.updated", &product);
    Ok(product)
}

fn set_product(product: &mut Value, p: &Value) {
    copy_texts(product, p, &["name", "description", "tax_code", "statement_descriptor", "unit_label"]);
    set_active(product, p);
    merge_metadata(product, at(p, "metadata"));
}

fn set_active(object: &mut Value, p: &Value) {
    if text(p, "active").is_some() {
        object["active"] = json!(form::flag(p, "active"));
    }
}

pub(super) fn create_price(world: &mut World, p: &Value) -> Result<Value, Refused> {
    let currency = required(p, "currency")?.to_owned();
    let product = match text(p, "product") {
        Some(id) => word(&world.get("product", id)?, "id"),
        None => {
            let name = required(p, "product_data.name")?;
            word(&create_product(world, &json!({ "name": name }))?, "id")
        }
    };
    let unit_amount = number(p, "unit_amount")?.ok_or_else(|| Refused::missing("unit_amount"))?;
    if unit_amount < 0 {
        return Err(Refused::parameter("unit_amount", "This value must be greater than or equal to 0."));
    }
    let recurring = match text(p, "recurring.interval") {
        Some(interval @ ("day" | "week" | "month" | "year")) => json!({
            "interval": interval, "interval_count": number(p, "recurring.interval_count")?.unwrap_or(1),
            "usage_type": "licensed",
        }),
        Some(other) => {
            return Err(Refused::parameter(
                "recurring.interval",
                &format!(
                    "Invalid recurring[interval]: must be one of day, month, week, or year; got {other}"
                ),
            ));
        }
        None => Value::Null,
    };
    let mut price = json!({
        "active": true, "currency": currency, "product": product, "unit_amount": unit_amount,
        "unit_amount_decimal": unit_amount.to_string(), "lookup_key": null, "nickname": null, "metadata": {},
        "type": if recurring.is_null() { "one_time" } else { "recurring" }, "recurring": recurring,
        "billing_scheme": "per_unit", "tax_behavior": text(p, "tax_behavior").unwrap_or("unspecified"),
    });
    set_price(world, &mut price, p)?;
    let price = world.add("price", "price", price);
    world.emit("price.created", &price);
    Ok(price)
}

pub(super) fn update_price(world: &mut World, id: &str, p: &Value) -> Result<Value, Refused> {
    let mut price = world.get("price", id)?;
    set_price(world, &mut price, p)?;
    world.put(&price);
    world.emit("price.updated", &price);
    Ok(price)
}

fn set_price(world: &mut World, price: &mut Value, p: &Value) -> Result<(), Refused> {
    if let Some(key) = text(p, "lookup_key") {
        let holder =
            world.all("price").find(|other| other["lookup_key"] == key && other["id"] != price["id"]);
        if let Some(mut holder) = holder.cloned() {
            if !form::flag(p, "transfer_lookup_key") {
                return Err(Refused::parameter(
                    "lookup_key",
                    &format!("A price (`{}`) already uses that lookup key.", word(&holder, "id")),
                ));
            }
            holder["lookup_key"] = Value::Null;
            world.put(&holder);
        }
        price["lookup_key"] = json!(key);
    }
    copy_texts(price, p, &["nickname"]);
    set_active(price, p);
    merge_metadata(price, at(p, "metadata"));
    Ok(())
}
