//! The hosted pages: Checkout, the portal and invoices, as plain as forms can be.

use serde_json::Value;

use super::checkout::Choice;
use super::world::{World, amount, word};

/// The page of a Checkout session.
pub(super) fn checkout(session: &Value, told: &str) -> String {
    let lines: String = session["_line_items"]["data"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .map(|line| {
            format!("<li>{} × {}</li>", amount(line, "quantity"), escaped(&word(line, "description")))
        })
        .collect();
    let buttons: String = if session["status"] == "open" {
        let offered = |choice: &str| {
            session["_methods"].as_array().is_some_and(|list| {
                list.iter()
                    .filter_map(Value::as_str)
                    .any(|method| choice.split('_').next() == method.split('_').next())
            })
        };
        Choice::ALL
            .iter()
            .filter(|(name, ..)| offered(name))
            .map(|(name, label, _)| button("method", name, label))
            .collect()
    } else {
        format!("<p>This session is {}.</p>", escaped(&word(session, "status")))
    };
    let cancel = session["cancel_url"].as_str().map_or_else(String::new, |url| {
        format!("<p><a href=\"{}\">Cancel and go back</a></p>", escaped(url))
    });
    page(
        "Pay",
        &format!(
            "<p class=\"told\">{}</p><ul>{lines}</ul><p class=\"total\">{}</p><form method=\"post\">{buttons}</form>{cancel}",
            escaped(told),
            money(session, "amount_total"),
        ),
    )
}

/// The page of a portal session.
pub(super) fn portal(world: &World, session: &Value, told: &str) -> String {
    let customer = word(session, "customer");
    let subscriptions: String = world
        .all("subscription")
        .filter(|one| one["customer"] == customer.as_str())
        .map(|one| {
            let price = &one["items"]["data"][0]["price"];
            let end = if one["cancel_at_period_end"] == true {
                ", ends with the paid time"
            } else if one["schedule"].is_string() {
                ", changes with the end of the paid time"
            } else {
                ""
            };
            format!(
                "<li>{} ({}): {}{end}</li>",
                escaped(&word(price, "lookup_key")),
                money(price, "unit_amount"),
                escaped(&word(one, "status"))
            )
        })
        .collect();
    let invoices: String = world
        .all("invoice")
        .filter(|one| one["customer"] == customer.as_str() && one["status"] != "draft")
        .map(|one| {
            format!(
                "<li><a href=\"{}\">{}</a>: {}, {}</li>",
                escaped(&word(one, "hosted_invoice_url")),
                escaped(&word(one, "number")),
                money(one, "total"),
                escaped(&word(one, "status"))
            )
        })
        .collect();
    let confirm = if session["flow"]["subscription_update_confirm"].is_object() {
        button("action", "confirm", "Confirm the new plan")
    } else {
        String::new()
    };
    let buttons = [
        ("cancel", "Cancel at the end of the paid time"),
        ("resume", "Do not cancel"),
        ("take_back", "Do not change at the end of the paid time"),
        ("card_fails", "Let my card fail"),
        ("card_works", "Let my card work"),
    ];
    let buttons: String = buttons.iter().map(|(name, label)| button("action", name, label)).collect();
    let back = session["return_url"]
        .as_str()
        .map_or_else(String::new, |url| format!("<p><a href=\"{}\">Go back</a></p>", escaped(url)));
    page(
        "Your billing",
        &format!(
            "<p class=\"told\">{}</p><h2>Subscriptions</h2><ul>{subscriptions}</ul><h2>Invoices</h2><ul>{invoices}</ul>\
             <form method=\"post\">{confirm}{buttons}</form>{back}",
            escaped(told)
        ),
    )
}

/// The page of an invoice.
pub(super) fn invoice(invoice: &Value) -> String {
    let lines: String = invoice["lines"]["data"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .map(|line| format!("<li>{}: {}</li>", escaped(&word(line, "description")), money(line, "amount")))
        .collect();
    page(
        &format!("Invoice {}", word(invoice, "number")),
        &format!(
            "<ul>{lines}</ul><p class=\"total\">{}, {}</p>",
            money(invoice, "total"),
            escaped(&word(invoice, "status"))
        ),
    )
}

fn button(name: &str, value: &str, label: &str) -> String {
    format!("<button name=\"{name}\" value=\"{value}\">{}</button>", escaped(label))
}

/// Minor units with their currency.
fn money(object: &Value, field: &str) -> String {
    let minor = amount(object, field);
    format!(
        "{}.{:02} {}",
        minor.div_euclid(100),
        minor.rem_euclid(100),
        word(object, "currency").to_uppercase()
    )
}

fn page(title: &str, content: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{0} (simulated Stripe)</title><style>\
         body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem}}\
         button{{display:block;width:100%;margin:.5rem 0;padding:.7rem;border:0;border-radius:6px;background:#635bff;\
         color:#fff;font:inherit;cursor:pointer}}.total{{font-weight:600}}.told{{color:#b00020}}\
         .note{{color:#666;font-size:.85rem}}</style><h1>{0}</h1>{content}\
         <p class=\"note\">This is a simulation: no money moves.</p></html>",
        escaped(title)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
