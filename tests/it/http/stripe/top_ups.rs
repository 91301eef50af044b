//! Automatic top-ups: bought once when little is left, whatever happens to the calls, and stopped by failures.

use anyhow::Result;
use serde_json::{Value, json};
use shared::plan::Plan;
use shared::problem::ErrorCode;
use tests::client::Call;
use tests::poll::eventually;
use tests::receiver::Receiver;
use tests::stack::Part;

use super::shop::Shop;

const SOON: std::time::Duration = std::time::Duration::from_secs(60);

/// The invoices at Stripe that are automatic top-ups.
async fn charged(shop: &Shop) -> Result<Vec<Value>> {
    let all = shop.at_stripe("invoices?limit=100").await?;
    let all = all["data"].as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().filter(|invoice| invoice["metadata"]["palveron_kind"] == "auto_top_up").collect())
}

/// How many invoices of that status there are.
async fn count(shop: &Shop, status: &str) -> Result<usize> {
    Ok(charged(shop).await?.iter().filter(|invoice| invoice["status"] == status).count())
}

/// A project on pro that has bought a small pack that way, which pays from then on: 15,000 units in all.
async fn paying_by(method: &str) -> Result<Shop> {
    let shop = Shop::open_early_in_a_month(Plan::Pro).await?;
    new_method(&shop, method).await?;
    if method == "sepa_debit" {
        shop.later("5d1h").await?;
    }
    shop.has_lots(&[(5_000, 5_000)]).await?;
    pays_by(&shop, method).await?;
    Ok(shop)
}

async fn new_method(shop: &Shop, method: &str) -> Result<()> {
    let (_, session) = shop.buy_pack("small").await?;
    shop.pay(&session, method).await.map(drop)
}

/// Waits until the customer's default payment method is of that type.
async fn pays_by(shop: &Shop, method: &str) -> Result<()> {
    eventually("the default payment method", SOON, async || {
        let customer = shop.at_stripe("customers").await?["data"][0].clone();
        let Some(default) = customer["invoice_settings"]["default_payment_method"].as_str() else {
            return Ok(None);
        };
        let kind = shop.at_stripe(&format!("payment_methods/{default}")).await?["type"].clone();
        Ok((kind == method).then_some(()))
    })
    .await
}

async fn put(shop: &Shop, rule: &Value) -> Result<tests::client::Answer> {
    let body = json!({ "auto_top_up": rule }).to_string();
    let call = Call::new("PUT".parse()?, "/api/v1/billing/plan").json().bearer(&shop.project.token);
    call.with_body(body).send(shop.stack.aggregator()).await
}

/// Buys a small pack when fewer than 9,000 units are left.
async fn turn_on(shop: &Shop, monthly_limit: u32) -> Result<Value> {
    put(shop, &json!({ "pack": "small", "below": 9_000, "monthly_limit": monthly_limit })).await?.ok()
}

async fn has(shop: &Shop, field: &str, value: &Value) -> Result<()> {
    let what = format!("{field} = {value}");
    eventually(&what, SOON, async || Ok((shop.plan().await?["auto_top_up"][field] == *value).then_some(())))
        .await
}

/// One pack was bought for the 4,000 that were left, with one invoice and one charge; 9,000 are left then, and no more due.
async fn is_bought_once(shop: &Shop) -> Result<()> {
    shop.has_lots(&[(5_000, 4_000), (5_000, 5_000)]).await?;
    shop.is_quiet().await?;
    let invoices = charged(shop).await?;
    assert_eq!(invoices.len(), 1, "{invoices:?}");
    assert_eq!((&invoices[0]["status"], &invoices[0]["subtotal"]), (&json!("paid"), &json!(2_900)));
    assert_eq!(invoices[0]["lines"]["data"].as_array().map(Vec::len), Some(1));
    let charges = shop.at_stripe("charges").await?["data"].as_array().map(Vec::len);
    assert_eq!(charges, Some(2), "the pack of before, and this one");
    has(shop, "bought_this_month", &json!(1)).await
}

#[tokio::test]
async fn when_little_is_left_one_pack_is_bought_and_no_more_than_the_months_limit() -> Result<()> {
    let shop = paying_by("card").await?;
    let view = turn_on(&shop, 2).await?["auto_top_up"].clone();
    assert_eq!(
        (&view["state"], &view["bought_this_month"], &view["monthly_limit"]),
        (&json!("on"), &json!(0), &json!(2))
    );
    shop.used(1, 6_000).await?;
    assert_eq!(charged(&shop).await?.len(), 0, "exactly the level is not below it");
    shop.used(2, 6_001).await?;
    shop.has_lots(&[(5_000, 5_000), (5_000, 5_000)]).await?;
    shop.used(3, 12_000).await?;
    shop.has_lots(&[(5_000, 3_000), (5_000, 5_000), (5_000, 5_000)]).await?;
    // Everything is used up, and the limit is reached; a pack by hand leaves less than the level.
    shop.used(4, 25_000).await?;
    new_method(&shop, "sepa_debit").await?;
    new_method_is_told(&shop).await?;
    assert_eq!((count(&shop, "paid").await?, charged(&shop).await?.len()), (2, 2));
    // A larger limit lets the third be bought.
    turn_on(&shop, 3).await?;
    eventually("the third", SOON, async || Ok((count(&shop, "paid").await? == 3).then_some(()))).await?;
    let orders: Value = serde_json::from_str(&shop.stack.meter(&["stripe", "orders", "--json"])?)?;
    assert_eq!(orders.as_array().unwrap().iter().filter(|order| order["automatic"] == true).count(), 3);
    assert_eq!(shop.metric("meter_stripe_alarms_total").await?, 0);
    let audit = shop.stack.meter(&["audit", "--json"])?;
    assert!(audit.contains("auto_top_up.begun") && audit.contains("auto_top_up.set"), "{audit}");
    shop.finish().await
}

/// Another round of what is done every few seconds has passed: an order by debit is under way.
async fn new_method_is_told(shop: &Shop) -> Result<()> {
    shop.is_quiet().await?;
    eventually("a debit under way", SOON, async || {
        let orders: Value = serde_json::from_str(&shop.stack.meter(&["stripe", "orders", "--json"])?)?;
        Ok(orders.as_array().unwrap().iter().any(|order| order["state"] == "processing").then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_declined_card_stops_buying_after_three_times_and_another_one_goes_on() -> Result<()> {
    let (shop, receiver) = (paying_by("card").await?, Receiver::start().await?);
    let hook = json!({ "url": receiver.url(), "events": ["topup.failed"] }).to_string();
    let hook = Call::post("/api/v1/webhooks", hook).json().bearer(&shop.project.token);
    assert_eq!(hook.send(shop.stack.aggregator()).await?.status, 201);
    let customer = shop.at_stripe("customers").await?["data"][0]["id"].clone();
    let card = format!("customers/{}/card", customer.as_str().unwrap_or_default());
    shop.control("POST", &card, &json!({ "works": false })).await?;
    turn_on(&shop, 5).await?;
    shop.used(1, 12_000).await?;
    for failures in 1..=3 {
        has(&shop, "failures", &json!(failures)).await?;
        assert_eq!((count(&shop, "void").await?, charged(&shop).await?.len()), (failures, failures));
        if failures < 3 {
            assert!(shop.plan().await?["auto_top_up"]["next_try_at"].is_string());
            shop.later("61m").await?;
        }
    }
    let view = shop.plan().await?["auto_top_up"].clone();
    assert_eq!(
        (&view["state"], &view["last_failure"], &view["bought_this_month"]),
        (&json!("stopped"), &json!("card_declined"), &json!(0))
    );
    let tried = view["attempts"].as_array().unwrap();
    assert_eq!(tried.len(), 3, "{view}");
    for one in tried {
        assert_eq!(
            (&one["pack"], &one["state"], &one["reason"]),
            (&json!("small"), &json!("failed"), &json!("card_declined"))
        );
    }
    eventually("three events", SOON, async || Ok((receiver.kept().len() == 3).then_some(()))).await?;
    let told: Vec<Value> = receiver
        .kept()
        .iter()
        .map(|one| one.value().map(|one| one["data"]["stopped"].clone()))
        .collect::<Result<_>>()?;
    assert_eq!(told.iter().filter(|stopped| **stopped == json!(true)).count(), 1);
    shop.later("3h").await?;
    shop.is_quiet().await?;
    assert_eq!(charged(&shop).await?.len(), 3, "it has stopped");
    // Another card, left at Checkout, is another payment method.
    shop.control("POST", &card, &json!({ "works": true })).await?;
    new_method(&shop, "card").await?;
    has(&shop, "state", &json!("on")).await?;
    has(&shop, "failures", &json!(0)).await?;
    assert!(shop.stack.meter(&["audit", "--json"])?.contains("auto_top_up.stopped"));
    shop.finish().await
}

#[tokio::test]
async fn what_has_stopped_goes_on_when_it_is_set_again() -> Result<()> {
    let shop = paying_by("card").await?;
    let customer = shop.at_stripe("customers").await?["data"][0]["id"].clone();
    let card = format!("customers/{}/card", customer.as_str().unwrap_or_default());
    shop.control("POST", &card, &json!({ "works": false })).await?;
    turn_on(&shop, 5).await?;
    shop.used(1, 12_000).await?;
    has(&shop, "failures", &json!(1)).await?;
    shop.control("POST", &card, &json!({ "works": true })).await?;
    assert_eq!(turn_on(&shop, 5).await?["auto_top_up"]["failures"], json!(0));
    shop.has_lots(&[(5_000, 3_000), (5_000, 5_000)]).await?;
    assert_eq!((count(&shop, "paid").await?, count(&shop, "void").await?), (1, 1));
    shop.finish().await
}

#[tokio::test]
async fn a_top_up_that_stripe_made_and_did_not_answer_is_one_charge() -> Result<()> {
    let shop = paying_by("card").await?;
    // Making, its line, making it final, paying: each is done and unanswered, then fails, then is cut off.
    for fault in [json!({ "drop_after": true }), json!({ "status": 500 }), json!({ "drop": true })] {
        for (call, times) in [("POST /v1/invoiceitems", 1), ("POST /v1/invoices", 3)] {
            let mut fault = fault.clone();
            (fault["matches"], fault["times"]) = (json!(call), json!(times));
            shop.fault(&fault).await?;
        }
    }
    turn_on(&shop, 5).await?;
    shop.used(1, 11_000).await?;
    is_bought_once(&shop).await?;
    shop.finish().await
}

#[tokio::test]
async fn a_kill_between_any_two_calls_of_a_top_up_is_one_charge() -> Result<()> {
    let mut shop = paying_by("card").await?;
    turn_on(&shop, 5).await?;
    for _ in 0..6 {
        shop.fault(&json!({ "matches": "POST /v1/invoice", "delay_ms": 400, "drop_after": true })).await?;
    }
    shop.used(1, 11_000).await?;
    let made = async |shop: &Shop| -> Result<usize> {
        let all = shop.control("GET", "requests", &Value::Null).await?;
        let calls = all["requests"].as_array().cloned().unwrap_or_default();
        let is_ours =
            |one: &&Value| one["call"].as_str().is_some_and(|call| call.starts_with("POST /v1/invoice"));
        Ok(calls.iter().filter(is_ours).count())
    };
    for seen in 1..=4 {
        eventually("another call", SOON, async || Ok((made(&shop).await? >= seen).then_some(()))).await?;
        shop.stack.kill(Part::Aggregator)?;
        shop.stack.begin(&[Part::Aggregator]).await?;
    }
    is_bought_once(&shop).await?;
    shop.finish().await
}

#[tokio::test]
async fn a_top_up_whose_keys_stripe_has_forgotten_is_one_charge() -> Result<()> {
    let mut shop = paying_by("card").await?;
    turn_on(&shop, 5).await?;
    shop.loses("POST /v1/invoices", 2_000).await?;
    shop.used(1, 12_000).await?;
    shop.comes_back_forgotten("POST /v1/invoices").await?;
    shop.has_lots(&[(5_000, 3_000), (5_000, 5_000)]).await?;
    assert_eq!(charged(&shop).await?.len(), 1);
    shop.finish().await
}

#[tokio::test]
async fn a_top_up_by_debit_is_credited_once_it_has_arrived_and_can_be_refunded() -> Result<()> {
    let shop = Shop::open_early_in_a_month(Plan::Pro).await?;
    new_method(&shop, "card").await?;
    shop.has_lots(&[(5_000, 5_000)]).await?;
    pays_by(&shop, "card").await?;
    let customer =
        shop.at_stripe("customers").await?["data"][0]["id"].as_str().unwrap_or_default().to_owned();
    new_method(&shop, "sepa_debit").await?;
    let methods = shop.at_stripe(&format!("customers/{customer}/payment_methods")).await?["data"].clone();
    let debit =
        methods.as_array().unwrap().iter().find(|one| one["type"] == "sepa_debit").unwrap()["id"].clone();
    let form = format!("invoice_settings[default_payment_method]={}", debit.as_str().unwrap_or_default());
    shop.by_owner(&format!("customers/{customer}"), &form).await?;
    turn_on(&shop, 5).await?;
    shop.used(1, 12_000).await?;
    eventually("a debit under way", SOON, async || Ok((count(&shop, "open").await? == 1).then_some(())))
        .await?;
    has(&shop, "bought_this_month", &json!(1)).await?;
    assert_eq!(shop.lots().await?.len(), 1, "nothing has arrived");
    shop.later("5d1h").await?;
    eventually("both debits", SOON, async || Ok((shop.lots().await?.len() == 3).then_some(()))).await?;
    let invoices = charged(&shop).await?;
    assert_eq!(invoices.len(), 1, "{invoices:?}");
    let id = invoices[0]["id"].as_str().unwrap_or_default();
    let paid = shop.at_stripe(&format!("invoices/{id}?expand[]=payments")).await?;
    let intent =
        paid["payments"]["data"][0]["payment"]["payment_intent"].as_str().unwrap_or_default().to_owned();
    shop.by_owner("refunds", &format!("payment_intent={intent}")).await?;
    eventually("the refunded lot", SOON, async || {
        Ok((shop.lots().await?.iter().filter(|(_, left)| *left == 0).count() == 1).then_some(()))
    })
    .await?;
    shop.is_quiet().await?;
    assert_eq!(shop.metric("meter_stripe_alarms_total").await?, 0);
    shop.finish().await
}

#[tokio::test]
async fn only_what_can_be_bought_may_be_asked_for_and_only_by_who_pays() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    let good = json!({ "pack": "small", "below": 1, "monthly_limit": 1 });
    for (field, value) in [
        ("pack", json!("huge")),
        ("below", json!(0)),
        ("below", json!(-1)),
        ("monthly_limit", json!(0)),
        ("monthly_limit", json!(101)),
        ("extra", json!(true)),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        let problem = put(&shop, &bad).await?.problem(ErrorCode::FieldRejected)?;
        assert_eq!(problem.field.as_deref(), Some("auto_top_up"), "{bad}");
    }
    put(&shop, &json!({ "pack": "small" })).await?.problem(ErrorCode::FieldRejected)?;
    assert_eq!(put(&shop, &good).await?.ok::<Value>()?["auto_top_up"]["pack"], "small");
    let shown = shop.stack.meter(&["top-up", "show", "--project", "demo", "--json"])?;
    let shown: Value = serde_json::from_str(&shown)?;
    assert_eq!(
        (&shown["state"], &shown["pack"], &shown["below"]),
        (&json!("on"), &json!("small"), &json!(1))
    );
    assert_eq!((&shown["bought_this_month"], &shown["monthly_limit"]), (&json!(0), &json!(1)));
    assert_eq!(put(&shop, &Value::Null).await?.ok::<Value>()?["auto_top_up"], Value::Null);
    let arguments = [
        "top-up",
        "set",
        "--project",
        "demo",
        "--pack",
        "large",
        "--below",
        "5",
        "--monthly-limit",
        "2",
        "--json",
    ];
    let set: Value = serde_json::from_str(&shop.stack.meter(&arguments)?)?;
    assert_eq!((&set["pack"], &set["below"]), (&json!("large"), &json!(5)));
    assert_eq!(shop.plan().await?["auto_top_up"]["monthly_limit"], 2);
    assert!(shop.stack.meter(&["top-up", "off", "--project", "demo"])?.starts_with("off"));
    for (role, may) in [("finance", true), ("viewer", false)] {
        let token = shop.stack.meter(&["token", "create", "--project", "demo", "--role", role, "--json"])?;
        let token: Value = serde_json::from_str(&token)?;
        let call = Call::new("PUT".parse()?, "/api/v1/billing/plan").json();
        let call = call.bearer(token["token"].as_str().unwrap_or_default());
        let answer =
            call.with_body(json!({ "auto_top_up": good }).to_string()).send(shop.stack.aggregator()).await?;
        if may {
            answer.ok::<Value>()?;
        } else {
            answer.problem(ErrorCode::Forbidden)?;
        }
    }
    shop.stack.meter(&["project", "set", "demo", "--plan", "community"])?;
    put(&shop, &good).await?.problem(ErrorCode::NotBillable)?;
    shop.finish().await
}
