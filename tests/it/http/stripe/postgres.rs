//! The same books on Postgres, with two aggregators at once: every statement about payments, and each effect once.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use shared::plan::Plan;
use tests::client::Call;
use tests::poll::eventually;
use tests::postgres::Postgres;
use tests::stack::Part;

use super::shop::{Shop, named};

/// Two processes, a database server and the other tests share the machine.
const SOON: Duration = Duration::from_secs(90);

/// A project that pays for pro by card, on two aggregators.
async fn with_replica(postgres: &Postgres) -> Result<Shop> {
    let mut shop = Shop::open_on(Plan::Community, Some(postgres.create("payments")?)).await?;
    shop.stack.begin(&[Part::Replica]).await?;
    shop.subscribe("pro", "month").await?;
    shop.is_quiet().await?;
    Ok(shop)
}

async fn set(shop: &Shop, setting: &Value) -> Result<Value> {
    let call = Call::new("PUT".parse()?, "/api/v1/billing/plan").json().bearer(&shop.project.token);
    call.with_body(setting.to_string()).send(shop.stack.aggregator()).await?.ok()
}

/// The invoices at Stripe of that kind.
async fn invoices(shop: &Shop, kind: &str) -> Result<Vec<Value>> {
    let all = shop.at_stripe("invoices?limit=100").await?;
    let all = all["data"].as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().filter(|invoice| invoice["metadata"]["palveron_kind"] == kind).collect())
}

#[tokio::test]
async fn on_postgres_two_aggregators_top_up_once_and_bill_once() -> Result<()> {
    let postgres = Postgres::start().await?;
    let shop = with_replica(&postgres).await?;
    set(&shop, &json!({ "auto_top_up": { "pack": "small", "below": 2_000, "monthly_limit": 2 } })).await?;
    shop.used(1, 9_000).await?;
    shop.has_lots(&[(5_000, 5_000)]).await?;
    shop.used(2, 14_000).await?;
    shop.has_lots(&[(5_000, 1_000), (5_000, 5_000)]).await?;
    set(&shop, &json!({ "auto_overage": true })).await?;
    shop.used(3, 21_500).await?;
    shop.later("35d").await?;
    eventually("the paid bill", SOON, async || {
        let bills = invoices(&shop, "overage").await?;
        Ok(bills.first().is_some_and(|bill| bill["status"] == "paid").then_some(()))
    })
    .await?;
    shop.is_quiet().await?;
    let bills = invoices(&shop, "overage").await?;
    assert_eq!((bills.len(), &bills[0]["subtotal"]), (1, &json!(900)), "1,500 × 6.00 € / 1,000");
    let topped = invoices(&shop, "auto_top_up").await?;
    assert_eq!(topped.iter().filter(|invoice| invoice["status"] == "paid").count(), 2, "{topped:?}");
    assert_eq!(topped.len(), 2);
    shop.finish().await
}

#[tokio::test]
async fn on_postgres_payments_are_settled_as_on_sqlite() -> Result<()> {
    let postgres = Postgres::start().await?;
    let shop = with_replica(&postgres).await?;
    let (_, session) = shop.buy_pack("medium").await?;
    shop.pay(&session, "card").await?;
    shop.has_lots(&[(25_000, 25_000)]).await?;
    let intent = shop.at_stripe(&format!("checkout/sessions/{session}")).await?["payment_intent"].clone();
    let refund = format!("payment_intent={}&amount=5950", intent.as_str().unwrap_or_default());
    let refund = shop.by_owner("refunds", &refund).await?;
    shop.has_lots(&[(25_000, 12_500)]).await?;
    shop.control("POST", &format!("refunds/{}/fail", refund["id"].as_str().unwrap()), &json!({})).await?;
    shop.has_lots(&[(25_000, 25_000)]).await?;
    let dispute = shop.control("POST", "disputes", &json!({ "payment_intent": intent })).await?;
    shop.has_lots(&[(25_000, 0)]).await?;
    let close = format!("disputes/{}/close", dispute["id"].as_str().unwrap_or_default());
    shop.control("POST", &close, &json!({ "status": "won" })).await?;
    shop.has_lots(&[(25_000, 25_000)]).await?;
    // Lost answers, remembered failures and the same wish again.
    shop.fault(&json!({ "matches": "POST /v1/checkout/sessions", "drop_after": true })).await?;
    shop.fault(&json!({ "matches": "POST /v1/checkout/sessions", "status": 500 })).await?;
    let once = shop.buy(&json!({ "pack": "small" }), Some("k")).await?;
    assert_eq!(shop.buy(&json!({ "pack": "small" }), Some("k")).await?, once);
    // A change of plan, an unknown order, the operator's lists, the comparison.
    let change = shop.wish(&json!({ "plan": "business", "interval": "month" }), None).await?;
    let (_, portal) = named(&change.ok()?)?;
    shop.control("POST", &format!("portal/{portal}"), &json!({ "action": "confirm" })).await?;
    shop.has_plan("business").await?;
    let ghost = json!({
        "id": "evt_ghost", "type": "checkout.session.completed", "livemode": false,
        "data": { "object": { "id": ghost(&shop).await? } },
    });
    assert_eq!(shop.deliver(ghost.to_string().as_bytes()).await?.status, 200);
    shop.is_quiet().await?;
    let parked = shop.parked()?;
    assert!(parked["events"].as_array().is_some_and(|events| !events.is_empty()), "{parked}");
    let id = parked["events"][0]["id"].as_str().unwrap_or_default().to_owned();
    shop.stack.meter(&["stripe", "retry", &id])?;
    let orders: Value = serde_json::from_str(&shop.stack.meter(&["stripe", "orders", "--json"])?)?;
    assert!(orders.as_array().is_some_and(|orders| orders.len() >= 3), "{orders}");
    shop.later("2h").await?;
    eventually("a comparison", SOON, async || Ok(shop.parked()?["drift"].is_object().then_some(()))).await?;
    shop.finish().await
}

/// A paid session of an order that we do not have.
async fn ghost(shop: &Shop) -> Result<String> {
    let customer = shop.by_owner("customers", "email=a%40b.example").await?["id"].clone();
    let price = shop.at_stripe("prices?lookup_keys[]=palveron_pack_small").await?["data"][0]["id"].clone();
    let form = format!(
        "mode=payment&customer={}&line_items[0][price]={}&line_items[0][quantity]=1&success_url=http%3A%2F%2Fx&metadata[palveron_order]=ord_ghost&metadata[palveron_project]=ghost",
        customer.as_str().unwrap_or_default(),
        price.as_str().unwrap_or_default()
    );
    let session = shop.by_owner("checkout/sessions", &form).await?["id"].clone();
    let session = session.as_str().unwrap_or_default().to_owned();
    shop.pay(&session, "card").await?;
    Ok(session)
}
