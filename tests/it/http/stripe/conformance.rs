//! Every kind of call that we send, in any test of this folder, is one that was judged against the parameters that
//! Stripe's API knows.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use shared::plan::Plan;
use tests::client::Call;
use tests::poll::eventually;

use super::shop::{Shop, named};

const SOON: std::time::Duration = std::time::Duration::from_secs(60);

const JUDGED: &str = include_str!("../../../vectors/stripe-requests.json");

/// A call as one line: the path without ids, and the names of its parameters in order.
fn kind(request: &Value) -> String {
    let text = |name: &str| request[name].as_str().unwrap_or_default();
    // Products have ids that we gave them, and one test asks for an invoice that there is not.
    let is_id = |part: &str| {
        ["palveron_", "in_"].iter().any(|begin| part.starts_with(begin))
            || (part.contains('_') && part.chars().any(|letter| letter.is_ascii_digit()))
    };
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
    let dispute =
        shop.control("POST", "disputes", &json!({ "payment_intent": paid["payment_intent"] })).await?;
    shop.has_lots(&[(5_000, 0)]).await?;
    let close = format!("disputes/{}/close", dispute["id"].as_str().unwrap_or_default());
    shop.control("POST", &close, &json!({ "status": "won" })).await?;
    shop.has_lots(&[(5_000, 4_500)]).await?;
    shop.get("/api/v1/stripe/portal").await?;
    let change = shop.wish(&json!({ "plan": "business", "interval": "year" }), None).await?;
    named(&change.ok()?)?;
    // A pack that is bought by itself, and one whose payment fails.
    let rule = json!({ "auto_top_up": { "pack": "small", "below": 9_000, "monthly_limit": 2 } }).to_string();
    let put = Call::new("PUT".parse()?, "/api/v1/billing/plan").json().bearer(&shop.project.token);
    put.with_body(rule).send(shop.stack.aggregator()).await?.ok::<Value>()?;
    shop.used(1, 9_000).await?;
    eventually("a second lot", SOON, async || Ok((shop.lots().await?.len() == 2).then_some(()))).await?;
    let customer = shop.at_stripe("customers").await?["data"][0]["id"].clone();
    let card = format!("customers/{}/card", customer.as_str().unwrap_or_default());
    shop.control("POST", &card, &json!({ "works": false })).await?;
    shop.used(2, 13_000).await?;
    eventually("a failed top-up", SOON, async || {
        Ok((shop.plan().await?["auto_top_up"]["failures"] == 1).then_some(()))
    })
    .await?;
    shop.control("POST", &card, &json!({ "works": true })).await?;
    shop.overage_on().await?;
    shop.used(3, 24_000).await?;
    shop.later("35d").await?;
    eventually("a collected bill", SOON, async || {
        let invoices = shop.at_stripe("invoices?limit=100").await?["data"].clone();
        let is_bill = |invoice: &Value| {
            invoice["metadata"]["palveron_kind"] == "overage" && invoice["status"] == "paid"
        };
        Ok(invoices.as_array().is_some_and(|all| all.iter().any(is_bill)).then_some(()))
    })
    .await?;
    shop.is_quiet().await?;
    shop.finish().await
}

/// Whether every call that the meter has sent so far was judged; those of the account's owner are not ours.
pub(super) async fn all_were_judged(shop: &Shop) -> Result<()> {
    let judged: BTreeSet<String> = serde_json::from_str(JUDGED)?;
    let all = shop.control("GET", "requests", &Value::Null).await?;
    let is_ours = |one: &&Value| one["agent"].as_str().is_some_and(|agent| agent.contains("palveron-meter"));
    let sent: Vec<&Value> = all["requests"].as_array().into_iter().flatten().filter(is_ours).collect();
    ensure!(!sent.is_empty(), "the meter has sent nothing, or does not say that it is the meter");
    let new: BTreeSet<String> = sent.into_iter().map(kind).filter(|kind| !judged.contains(kind)).collect();
    ensure!(new.is_empty(), "not judged yet: {}", serde_json::to_string_pretty(&new)?);
    Ok(())
}
