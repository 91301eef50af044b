//! Packs: sold once however the call goes, credited once however the events come.

use anyhow::Result;
use serde_json::{Value, json};
use shared::plan::Plan;
use shared::problem::ErrorCode;

use super::shop::Shop;

const SESSIONS: &str = "POST /v1/checkout/sessions";

#[tokio::test]
async fn a_pack_by_card_is_a_lot_and_its_card_pays_from_then_on() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    let (_, session) = shop.buy_pack("medium").await?;
    shop.has_lots(&[]).await?;
    shop.pay(&session, "card").await?;
    shop.has_lots(&[(25_000, 25_000)]).await?;
    let seen = shop.at_stripe(&format!("checkout/sessions/{session}")).await?;
    let customer = seen["customer"].as_str().unwrap_or_default().to_owned();
    let intent =
        shop.at_stripe(&format!("payment_intents/{}", seen["payment_intent"].as_str().unwrap())).await?;
    tests::poll::eventually("the default card", std::time::Duration::from_secs(20), async || {
        let customer = shop.at_stripe(&format!("customers/{customer}")).await?;
        let default = &customer["invoice_settings"]["default_payment_method"];
        Ok((*default == intent["payment_method"]).then_some(()))
    })
    .await?;
    shop.is_quiet().await?;
    assert_eq!(shop.metric("meter_stripe_alarms_total").await?, 0);
    shop.finish().await
}

#[tokio::test]
async fn the_same_wish_is_one_session_and_two_named_ones_are_two_lots() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    let small = json!({ "pack": "small" });
    let (first, again) = tokio::join!(shop.buy(&small, Some("a")), shop.buy(&small, Some("b")));
    let (first, second) = (first?, again?);
    assert_ne!(first, second, "two names are two purchases");
    assert_eq!(shop.buy(&small, Some("a")).await?, first);
    shop.wish(&json!({ "pack": "large" }), Some("a")).await?.problem(ErrorCode::IdempotencyKeyReused)?;
    let unnamed = shop.buy(&small, None).await?;
    assert_eq!(shop.buy(&small, None).await?, unnamed, "the same wish within a minute");
    assert_ne!(shop.buy(&json!({ "pack": "medium" }), None).await?, unnamed);
    for (_, session) in [&first, &second] {
        shop.pay(session, "card").await?;
    }
    shop.has_lots(&[(5_000, 5_000), (5_000, 5_000)]).await?;
    assert_ne!(shop.buy(&small, None).await?.1, first.1);
    shop.finish().await
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_session_and_the_same_bytes_go_again() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    shop.fault(&json!({ "matches": SESSIONS, "times": 3, "drop_after": true })).await?;
    shop.wish(&json!({ "pack": "small" }), Some("k")).await?.problem(ErrorCode::PaymentsUnavailable)?;
    let (_, session) = shop.buy(&json!({ "pack": "small" }), Some("k")).await?;
    let sent = shop.requests(SESSIONS).await?;
    assert_eq!(sent.len(), 4);
    assert!(
        sent.iter().all(|one| one["key"] == sent[0]["key"] && one["body"] == sent[0]["body"]),
        "{sent:?}"
    );
    assert_eq!(shop.at_stripe("checkout/sessions").await?["data"].as_array().map(Vec::len), Some(1));
    shop.pay(&session, "card").await?;
    shop.has_lots(&[(5_000, 5_000)]).await?;
    shop.finish().await
}

#[tokio::test]
async fn a_session_is_paid_before_we_know_of_it_and_a_minute_later_the_same_is_sent_again() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    shop.fault(&json!({ "matches": SESSIONS, "times": 3, "drop_after": true })).await?;
    shop.wish(&json!({ "pack": "small" }), Some("paid")).await?.problem(ErrorCode::PaymentsUnavailable)?;
    // The event is faster than any answer.
    let made = shop.at_stripe("checkout/sessions").await?["data"][0]["id"].clone();
    shop.pay(made.as_str().unwrap_or_default(), "card").await?;
    shop.has_lots(&[(5_000, 5_000)]).await?;
    // Another is made and nobody hears of it, nor asks again: the job sends the same a minute later.
    shop.fault(&json!({ "matches": SESSIONS, "times": 3, "drop_after": true })).await?;
    shop.wish(&json!({ "pack": "small" }), Some("open")).await?.problem(ErrorCode::PaymentsUnavailable)?;
    let before = shop.requests(SESSIONS).await?;
    shop.later("61s").await?;
    tests::poll::eventually("another try", std::time::Duration::from_secs(30), async || {
        Ok((shop.requests(SESSIONS).await?.len() > before.len()).then_some(()))
    })
    .await?;
    let last = shop.requests(SESSIONS).await?.pop().unwrap_or_default();
    let first = before.last().cloned().unwrap_or_default();
    assert_eq!((&last["key"], &last["body"]), (&first["key"], &first["body"]));
    assert_eq!(last["replayed"], true);
    assert_eq!(shop.at_stripe("checkout/sessions").await?["data"].as_array().map(Vec::len), Some(2));
    shop.finish().await
}

#[tokio::test]
async fn a_debit_that_comes_back_as_a_dispute_after_use_binds_the_next_lot() -> Result<()> {
    let shop = Shop::open_early_in_a_month(Plan::Pro).await?;
    shop.used(1, 12_000).await?;
    let (_, session) = shop.buy_pack("small").await?;
    shop.pay(&session, "sepa_debit").await?;
    shop.is_quiet().await?;
    shop.later("5d1h").await?;
    // What was used beyond the quota before is the lot's.
    shop.has_lots(&[(5_000, 3_000)]).await?;
    let intent = shop.at_stripe(&format!("checkout/sessions/{session}")).await?["payment_intent"].clone();
    shop.later("14d").await?;
    let dispute = shop.control("POST", "disputes", &json!({ "payment_intent": intent })).await?;
    shop.has_lots(&[(5_000, 0)]).await?;
    let close = format!("disputes/{}/close", dispute["id"].as_str().unwrap_or_default());
    shop.control("POST", &close, &json!({ "status": "lost" })).await?;
    shop.is_quiet().await?;
    let (_, next) = shop.buy_pack("small").await?;
    shop.pay(&next, "card").await?;
    // 2,000 of the first were used and are gone: they are the next lot's.
    shop.has_lots(&[(5_000, 0), (5_000, 3_000)]).await?;
    shop.finish().await
}

#[tokio::test]
async fn a_failure_that_stripe_remembers_is_looked_up_and_the_next_key_used() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    shop.fault(&json!({ "matches": SESSIONS, "times": 1, "status": 500 })).await?;
    let (_, session) = shop.buy(&json!({ "pack": "small" }), None).await?;
    let sent = shop.requests(SESSIONS).await?;
    assert_eq!(sent.len(), 2);
    assert_ne!(sent[0]["key"], sent[1]["key"]);
    assert_eq!(sent[0]["body"], sent[1]["body"]);
    // Busy, cut off before it acted, and a proxy's page: the same key goes again.
    let busy =
        [json!({ "status": 429 }), json!({ "status": 409 }), json!({ "drop": true }), json!({ "page": 502 })];
    for fault in busy {
        let mut fault = fault;
        fault["matches"] = json!(SESSIONS);
        shop.fault(&fault).await?;
        shop.buy(&json!({ "pack": "medium" }), Some(&fault.to_string().replace(' ', ""))).await?;
    }
    shop.pay(&session, "card").await?;
    shop.has_lots(&[(5_000, 5_000)]).await?;
    shop.finish().await
}

#[tokio::test]
async fn a_debit_is_credited_when_it_arrives_and_never_when_it_comes_back() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    let (_, arrives) = shop.buy_pack("small").await?;
    let (returned_order, returns) = shop.buy_pack("large").await?;
    shop.pay(&arrives, "sepa_debit").await?;
    shop.pay(&returns, "sepa_returned").await?;
    shop.is_quiet().await?;
    assert_eq!(shop.lots().await?, []);
    shop.later("5d1h").await?;
    shop.has_lots(&[(5_000, 5_000)]).await?;
    shop.is_quiet().await?;
    let orders: Value = serde_json::from_str(&shop.stack.meter(&["stripe", "orders", "--json"])?)?;
    let of = |id: &str| {
        orders.as_array().unwrap().iter().find(|order| order["id"] == id).unwrap()["state"].clone()
    };
    assert_eq!(of(&returned_order), "failed");
    assert_ne!(shop.buy_pack("large").await?.1, returns, "it may be bought again");
    shop.finish().await
}

#[tokio::test]
async fn a_refund_after_use_takes_what_is_left_and_binds_the_next_lot() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    let (_, session) = shop.buy_pack("medium").await?;
    shop.pay(&session, "card").await?;
    shop.has_lots(&[(25_000, 25_000)]).await?;
    shop.used(1, 30_000).await?;
    shop.has_lots(&[(25_000, 5_000)]).await?;
    let intent = shop.at_stripe(&format!("checkout/sessions/{session}")).await?["payment_intent"].clone();
    let intent = intent.as_str().unwrap_or_default();
    let refund = shop.by_owner("refunds", &format!("payment_intent={intent}&amount=5950")).await?;
    shop.has_lots(&[(25_000, 0)]).await?;
    let (_, next) = shop.buy_pack("medium").await?;
    shop.pay(&next, "card").await?;
    // 12,500 were to be returned, 5,000 were there: 7,500 are the next lot's.
    shop.has_lots(&[(25_000, 0), (25_000, 17_500)]).await?;
    shop.control("POST", &format!("refunds/{}/fail", refund["id"].as_str().unwrap()), &json!({})).await?;
    shop.has_lots(&[(25_000, 5_000), (25_000, 25_000)]).await?;
    shop.finish().await
}

#[tokio::test]
async fn a_dispute_freezes_what_is_left_and_winning_it_frees_that() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    for (outcome, left) in [("won", 5_000), ("lost", 0)] {
        let (_, session) = shop.buy_pack("small").await?;
        shop.pay(&session, "card").await?;
        tests::poll::eventually("the lot", std::time::Duration::from_secs(30), async || {
            Ok((shop.lots().await?.last() == Some(&(5_000, 5_000))).then_some(()))
        })
        .await?;
        let seen = shop.at_stripe(&format!("checkout/sessions/{session}")).await?;
        let dispute =
            shop.control("POST", "disputes", &json!({ "payment_intent": seen["payment_intent"] })).await?;
        let last = |expected: u64| {
            let shop = &shop;
            async move {
                tests::poll::eventually("the lot's rest", std::time::Duration::from_secs(30), async || {
                    Ok((shop.lots().await?.last() == Some(&(5_000, expected))).then_some(()))
                })
                .await
            }
        };
        last(0).await?;
        let close = format!("disputes/{}/close", dispute["id"].as_str().unwrap());
        shop.control("POST", &close, &json!({ "status": outcome })).await?;
        last(left).await?;
    }
    shop.finish().await
}

#[tokio::test]
async fn what_the_plan_does_not_allow_is_not_billable() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    shop.wish(&json!({ "pack": "small" }), None).await?.problem(ErrorCode::NotBillable)?;
    for (body, field) in [
        (json!({}), "plan"),
        (json!({ "plan": "enterprise", "interval": "month" }), "plan"),
        (json!({ "plan": "pro" }), "interval"),
        (json!({ "plan": "pro", "interval": "week" }), "interval"),
        (json!({ "pack": "huge" }), "pack"),
        (json!({ "pack": "small", "plan": "pro" }), "pack"),
        (
            json!({ "plan": "pro", "interval": "month", "success_url": "https://evil.example/" }),
            "success_url",
        ),
        (json!({ "plan": "pro", "interval": "month", "quantity": 2 }), "quantity"),
    ] {
        let problem = shop.wish(&body, None).await?.problem(ErrorCode::FieldRejected)?;
        assert_eq!(problem.field.as_deref(), Some(field), "{body}");
    }
    let portal = tests::client::Call::get("/api/v1/stripe/portal").bearer(&shop.project.token);
    portal.send(shop.stack.aggregator()).await?.problem(ErrorCode::NotBillable)?;
    shop.finish().await
}
