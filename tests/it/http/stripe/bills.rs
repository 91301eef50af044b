//! Overage: one invoice a month, whatever happens to the calls that make it.

use anyhow::Result;
use serde_json::{Value, json};
use shared::plan::Plan;
use tests::collector::{Collector, is_below};
use tests::poll::eventually;
use tests::stack::{Options, Part, Stack};

use super::shop::Shop;

const SOON: std::time::Duration = std::time::Duration::from_secs(60);

/// The invoices at Stripe that are our bills.
async fn bills(shop: &Shop) -> Result<Vec<Value>> {
    let all = shop.at_stripe("invoices?limit=100").await?;
    let all = all["data"].as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().filter(|invoice| invoice["metadata"]["palveron_kind"] == "overage").collect())
}

/// A project that pays for pro by card at that interval, with overage on and 2,500 units beyond the quota.
async fn with_overage(interval: &str) -> Result<Shop> {
    let shop = Shop::open(Plan::Community).await?;
    overused(&shop, interval).await?;
    Ok(shop)
}

async fn overused(shop: &Shop, interval: &str) -> Result<()> {
    shop.subscribe("pro", interval).await?;
    shop.is_quiet().await?;
    shop.overage_on().await?;
    shop.used(1, 12_500).await
}

async fn is_paid(shop: &Shop) -> Result<Value> {
    eventually("the paid bill", SOON, async || {
        let bills = bills(shop).await?;
        Ok(bills.first().filter(|bill| bill["status"] == "paid").cloned())
    })
    .await
}

/// Beyond the month's end and the 72 hours that follow.
const CLOSED: &str = "35d";

#[tokio::test]
async fn a_months_overage_is_one_invoice_of_the_right_amount() -> Result<()> {
    let shop = with_overage("month").await?;
    shop.later(CLOSED).await?;
    let bill = is_paid(&shop).await?;
    // 2,500 × 6.00 € / 1,000.
    assert_eq!((&bill["subtotal"], &bill["currency"]), (&json!(1_500), &json!("eur")));
    assert_eq!(bill["lines"]["data"].as_array().map(Vec::len), Some(1));
    shop.is_quiet().await?;
    let shown: Value = serde_json::from_str(&shop.stack.meter(&["stripe", "bills", "--json"])?)?;
    assert_eq!((&shown[0]["step"], &shown[0]["amount"]["minor"]), (&json!("paid"), &json!("1500")));
    assert_eq!(bills(&shop).await?.len(), 1);
    shop.finish().await
}

#[tokio::test]
async fn a_bill_is_traced_by_its_project_and_month() -> Result<()> {
    let (collector, aggregator_settings) = Collector::start().await?;
    let options = Options { aggregator_settings, ..Options::payments() };
    let shop = Shop::on(Stack::start_with(options).await?, Plan::Community)?;
    overused(&shop, "month").await?;
    let month = tests::clock::now().period().to_string();
    shop.later(CLOSED).await?;
    let of_the_bill = [("project.id", "demo"), ("period", month.as_str())];
    let bill = collector.finds("advance an invoice", &of_the_bill).await?;
    collector.finds_where("call Stripe", |span| is_below(span, &bill)).await?;
    is_paid(&shop).await?;
    shop.finish().await
}

#[tokio::test]
async fn a_bill_below_the_smallest_charge_is_paid_and_a_payment_before_our_answer_is_heard() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    shop.subscribe("pro", "year").await?;
    shop.is_quiet().await?;
    shop.overage_on().await?;
    // 60 × 6.00 € / 1,000 are 36 cents: Stripe charges no less than 50 and moves them to the balance.
    shop.used(1, 10_060).await?;
    // It is made final and paid, and told, before anybody hears the answer.
    shop.fault(&json!({ "matches": "POST /v1/invoices/", "delay_ms": 300, "drop_after": true })).await?;
    shop.later(CLOSED).await?;
    let bill = is_paid(&shop).await?;
    assert_eq!((&bill["subtotal"], &bill["amount_due"]), (&json!(36), &json!(0)));
    eventually("the paid bill in our books", SOON, async || {
        let shown: Value = serde_json::from_str(&shop.stack.meter(&["stripe", "bills", "--json"])?)?;
        Ok((shown[0]["step"] == "paid").then_some(()))
    })
    .await?;
    assert_eq!((bills(&shop).await?.len(), bill["lines"]["data"].as_array().map(Vec::len)), (1, Some(1)));
    assert_eq!(shop.metric("meter_stripe_alarms_total").await?, 0);
    shop.finish().await
}

#[tokio::test]
async fn a_correction_of_an_invoiced_month_is_drift_until_a_credit_note_says_so() -> Result<()> {
    let shop = with_overage("month").await?;
    let month = tests::clock::now().period().to_string();
    shop.later(CLOSED).await?;
    let bill = is_paid(&shop).await?;
    shop.is_quiet().await?;
    let correct =
        ["correct", "--project", "demo", "--period", &month, "--units", "500", "--reason", "an outage"];
    shop.stack.meter(&correct)?;
    shop.later("2h").await?;
    let drift = async |expected: u64| {
        eventually("the drift", SOON, async || {
            Ok((shop.metric("meter_stripe_drift").await? == expected).then_some(()))
        })
        .await
    };
    drift(1).await?;
    eventually("what differs", SOON, async || {
        let found = shop.parked()?["drift"]["findings"][0].as_str().unwrap_or_default().to_owned();
        Ok((found.contains("300 eur off") && found.contains(&month)).then_some(()))
    })
    .await?;
    // 500 × 6.00 € / 1,000.
    let note = format!("invoice={}&amount=300&credit_amount=300", bill["id"].as_str().unwrap_or_default());
    shop.by_owner("credit_notes", &note).await?;
    shop.later("2h").await?;
    drift(0).await?;
    shop.finish().await
}

#[tokio::test]
async fn lost_answers_and_remembered_failures_make_no_second_line() -> Result<()> {
    let shop = with_overage("month").await?;
    for call in ["POST /v1/invoices", "POST /v1/invoiceitems"] {
        shop.fault(&json!({ "matches": call, "drop_after": true })).await?;
        shop.fault(&json!({ "matches": call, "status": 500 })).await?;
        shop.fault(&json!({ "matches": call, "drop": true })).await?;
    }
    shop.later(CLOSED).await?;
    let bill = is_paid(&shop).await?;
    assert_eq!((bills(&shop).await?.len(), &bill["subtotal"]), (1, &json!(1_500)));
    assert_eq!(bill["lines"]["data"].as_array().map(Vec::len), Some(1));
    shop.finish().await
}

#[tokio::test]
async fn a_kill_between_any_two_calls_makes_no_second_line() -> Result<()> {
    let mut shop = with_overage("month").await?;
    // Every call is acted on slowly, so that the process can be killed while it waits for the answer.
    for _ in 0..6 {
        shop.fault(&json!({ "matches": "POST /v1/invoice", "delay_ms": 400, "drop_after": true })).await?;
    }
    shop.later(CLOSED).await?;
    for seen in 1..=3 {
        eventually("another call", SOON, async || {
            let made = shop.requests("POST /v1/invoices").await?.len()
                + shop.requests("POST /v1/invoiceitems").await?.len();
            Ok((made >= seen).then_some(()))
        })
        .await?;
        shop.stack.kill(Part::Aggregator)?;
        shop.stack.begin(&[Part::Aggregator]).await?;
    }
    let bill = is_paid(&shop).await?;
    assert_eq!((bills(&shop).await?.len(), &bill["subtotal"]), (1, &json!(1_500)));
    shop.finish().await
}

#[tokio::test]
async fn keys_that_stripe_has_forgotten_make_no_second_invoice() -> Result<()> {
    let mut shop = with_overage("month").await?;
    shop.loses("POST /v1/invoices", 1_000).await?;
    shop.later(CLOSED).await?;
    shop.comes_back_forgotten("POST /v1/invoices").await?;
    is_paid(&shop).await?;
    assert_eq!(bills(&shop).await?.len(), 1);
    shop.finish().await
}

#[tokio::test]
async fn an_unpaid_bill_is_past_due_until_it_is_paid() -> Result<()> {
    // By the year: a plan by the month is unpaid too by then, and its grace is over where the month was a short one.
    let shop = with_overage("year").await?;
    let customer =
        shop.at_stripe("customers").await?["data"][0]["id"].as_str().unwrap_or_default().to_owned();
    let card = format!("customers/{customer}/card");
    shop.later("1d").await?;
    shop.is_quiet().await?;
    shop.control("POST", &card, &json!({ "works": false })).await?;
    shop.later(CLOSED).await?;
    eventually("an overdue bill", SOON, async || {
        let state = shop.plan().await?["overage"]["state"].clone();
        Ok((state == "past_due").then_some(()))
    })
    .await?;
    shop.control("POST", &card, &json!({ "works": true })).await?;
    is_paid(&shop).await?;
    eventually("overage is served again", SOON, async || {
        let state = shop.plan().await?["overage"]["state"].clone();
        Ok((state == "on").then_some(()))
    })
    .await?;
    shop.finish().await
}

#[tokio::test]
async fn a_month_within_the_quota_makes_no_invoice() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    shop.subscribe("pro", "year").await?;
    shop.used(1, 9_999).await?;
    shop.later(CLOSED).await?;
    eventually("the close", SOON, async || {
        Ok((shop.metric("meter_closed_periods_total").await? > 0).then_some(()))
    })
    .await?;
    shop.is_quiet().await?;
    assert_eq!(bills(&shop).await?, Vec::<Value>::new());
    shop.finish().await
}
