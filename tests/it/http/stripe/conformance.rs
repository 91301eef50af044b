//! Every kind of call that we send is one that was judged against the parameters that Stripe's API knows.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Value, json};
use shared::plan::Plan;
use tests::poll::eventually;

use super::shop::{Shop, named};

const JUDGED: &str = include_str!("../../../vectors/stripe-requests.json");

/// A call as one line: the path without ids, and the names of its parameters in order.
fn kind(request: &Value) -> String {
    let text = |name: &str| request[name].as_str().unwrap_or_default();
    let is_id = |part: &str| part.contains('_') && part.chars().any(|letter| letter.is_ascii_digit());
    let call: Vec<&str> =
        text("call").split('/').map(|part| if is_id(part) { "{id}" } else { part }).collect();
    let form = [text("body"), text("query")].into_iter().find(|form| !form.is_empty()).unwrap_or_default();
    let names: BTreeSet<String> = form
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, _)| percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned())
        .collect();
    format!("{} {}", call.join("/"), names.into_iter().collect::<Vec<_>>().join(" "))
}

#[tokio::test]
async fn every_call_that_we_send_was_judged() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    shop.subscribe("pro", "month").await?;
    let (_, pack) = shop.buy_pack("small").await?;
    let paid = shop.pay(&pack, "card").await?;
    shop.has_lots(&[(5_000, 5_000)]).await?;
    shop.by_owner(
        "refunds",
        &format!("payment_intent={}&amount=290", paid["payment_intent"].as_str().unwrap()),
    )
    .await?;
    shop.has_lots(&[(5_000, 4_500)]).await?;
    shop.control("POST", "disputes", &json!({ "payment_intent": paid["payment_intent"] })).await?;
    shop.get("/api/v1/stripe/portal").await?;
    let change = shop.wish(&json!({ "plan": "business", "interval": "year" }), None).await?;
    named(&change.ok()?)?;
    shop.overage_on().await?;
    shop.used(1, 20_000).await?;
    shop.later("35d").await?;
    eventually("a collected bill", std::time::Duration::from_secs(60), async || {
        Ok((!shop.requests("POST /v1/invoiceitems").await?.is_empty()).then_some(()))
    })
    .await?;
    shop.is_quiet().await?;
    let judged: BTreeSet<String> = serde_json::from_str(JUDGED)?;
    let all = shop.control("GET", "requests", &Value::Null).await?;
    let sent: BTreeSet<String> = all["requests"].as_array().unwrap().iter().map(kind).collect();
    // The refund was the account owner's.
    let sent: BTreeSet<String> =
        sent.into_iter().filter(|kind| !kind.starts_with("POST /v1/refunds")).collect();
    let new: Vec<&String> = sent.difference(&judged).collect();
    assert!(new.is_empty(), "not judged yet: {}", serde_json::to_string_pretty(&new)?);
    shop.stack.finish()
}
