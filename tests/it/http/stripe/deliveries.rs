//! Deliveries: who may deliver, and that nothing that was acknowledged is lost, doubled or in the way.

use self::at_once::join_all;
use anyhow::Result;
use serde_json::{Value, json};
use shared::plan::Plan;
use shared::problem::ErrorCode;
use tests::client::Call;
use tests::clock;
use tests::poll::eventually;
use tests::stack::Part;

use super::shop::{Shop, signature};

const SOON: std::time::Duration = std::time::Duration::from_secs(45);

#[tokio::test]
async fn only_what_stripe_signed_just_now_is_taken_in() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    let body = br#"{"id":"evt_x","object":"event","type":"product.created","livemode":false,"data":{"object":{"id":"p"}}}"#;
    let (secret, now) = (shop.stack.stripe_secret().to_owned(), clock::now().as_seconds());
    let good = signature(&secret, &now.to_string(), body);
    let cases = [
        (good.clone(), None),
        (format!("{good},v1=00"), None),
        (good.replace(",v1=", &format!(",v1={},v1=", "0".repeat(64))), None),
        (signature("whsec_other", &now.to_string(), body), Some(ErrorCode::DeliveryUnverified)),
        (signature(&secret, &now.to_string(), b"{}"), Some(ErrorCode::DeliveryUnverified)),
        (signature(&secret, &(now - 400).to_string(), body), Some(ErrorCode::DeliveryUnverified)),
        (signature(&secret, &(now + 400).to_string(), body), Some(ErrorCode::DeliveryUnverified)),
        ("garbage".to_owned(), Some(ErrorCode::DeliveryUnverified)),
        (good[..good.len() - 2].to_owned(), Some(ErrorCode::DeliveryUnverified)),
    ];
    for (header, refused) in cases {
        let answer = shop.deliver_as(body, &header).await?;
        match refused {
            None => assert_eq!(answer.status, 200, "{header}: {}", answer.text()),
            Some(code) => drop(answer.problem(code)?),
        }
    }
    let unsigned = Call::post("/api/v1/stripe/webhook", body.to_vec()).send(shop.stack.aggregator()).await?;
    unsigned.problem(ErrorCode::DeliveryUnverified)?;
    shop.deliver(&[0xff, 0xfe]).await?.problem(ErrorCode::MalformedJson)?;
    shop.deliver(b"[]").await?.problem(ErrorCode::MalformedJson)?;
    shop.deliver(&vec![b' '; 1024 * 1024 + 1]).await?.problem(ErrorCode::BodyTooLarge)?;
    shop.deliver(&vec![b' '; 1024 * 1024]).await?.problem(ErrorCode::MalformedJson)?;
    shop.finish().await
}

#[tokio::test]
async fn fifty_copies_of_an_event_at_once_are_one() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    let ghost = ghost(&shop).await?;
    eventually("one parked event", SOON, async || Ok((parked(&shop)?.len() == 1).then_some(()))).await?;
    let event = shop.at_stripe("events?type=checkout.session.completed").await?["data"][0].to_string();
    let copies = (0..50).map(|_| shop.deliver(event.as_bytes()));
    for answer in join_all(copies).await {
        assert_eq!(answer?.status, 200);
    }
    shop.is_quiet().await?;
    assert_eq!(parked(&shop)?.len(), 1, "{ghost}");
    // A person can have it looked at again; it is still nobody's.
    let id = parked(&shop)?[0]["id"].as_str().unwrap_or_default().to_owned();
    shop.stack.meter(&["stripe", "retry", &id])?;
    eventually("parked again", SOON, async || Ok((parked(&shop)?.len() == 1).then_some(()))).await?;
    assert!(shop.metric("meter_stripe_alarms_total").await? >= 2);
    shop.finish().await
}

/// Money for an order that we do not have.
pub(super) async fn ghost(shop: &Shop) -> Result<String> {
    let customer = shop.by_owner("customers", "email=a%40b.example").await?;
    let price = shop.at_stripe("prices?lookup_keys[]=palveron_pack_small").await?["data"][0]["id"].clone();
    let form = format!(
        "mode=payment&customer={}&line_items[0][price]={}&line_items[0][quantity]=1&success_url=http%3A%2F%2Fx&metadata[palveron_order]=ord_ghost&metadata[palveron_project]=ghost",
        customer["id"].as_str().unwrap_or_default(),
        price.as_str().unwrap_or_default()
    );
    let session = shop.by_owner("checkout/sessions", &form).await?;
    let id = session["id"].as_str().unwrap_or_default().to_owned();
    shop.pay(&id, "card").await?;
    Ok(id)
}

fn parked(shop: &Shop) -> Result<Vec<Value>> {
    Ok(shop.parked()?["events"].as_array().cloned().unwrap_or_default())
}

#[tokio::test]
async fn every_order_and_repetition_of_a_purchases_events_is_one_lot() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    let mut expected = Vec::new();
    for seed in 0..4 {
        let (_, session) = shop.buy(&json!({ "pack": "small" }), Some(&format!("k{seed}"))).await?;
        shop.control("POST", "deliveries", &json!({ "hold": true })).await?;
        let paid = shop.pay(&session, "card").await?;
        let refund =
            format!("payment_intent={}&amount=290", paid["payment_intent"].as_str().unwrap_or_default());
        shop.by_owner("refunds", &refund).await?;
        let faults = json!({ "shuffle_seed": seed, "duplicates": 2, "lose_every": 5 });
        shop.control("POST", "deliveries", &faults).await?;
        // A tenth of the price is a tenth of the units.
        expected.push((5_000, 4_500));
        shop.has_lots(&expected).await?;
    }
    shop.control("DELETE", "faults", &Value::Null).await?;
    shop.is_quiet().await?;
    assert_eq!(shop.lots().await?, expected);
    shop.finish().await
}

#[tokio::test]
async fn thin_and_old_events_only_say_what_to_look_at() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    for (number, form) in [("1", "thin"), ("2", "old"), ("3", "empty")] {
        let (_, session) = shop.buy(&json!({ "pack": "small" }), Some(number)).await?;
        shop.control("POST", "deliveries", &json!({ "hold": true })).await?;
        shop.pay(&session, "card").await?;
        let body = match form {
            "thin" => json!({
                "id": "evt_thin", "object": "v2.core.event", "type": "v1.checkout.session.completed", "livemode": false,
                "created": "2026-11-25T00:00:00.000Z", "related_object": { "id": session, "type": "checkout.session" },
            }),
            "old" => json!({
                "id": "evt_old", "object": "event", "type": "checkout.session.completed", "livemode": false,
                "api_version": "2020-08-27", "created": 1_577_836_800,
                "data": { "object": { "id": session, "object": "checkout.session", "payment_status": "unpaid" } },
            }),
            _ => json!({
                "id": "evt_empty", "type": "checkout.session.completed", "data": { "object": { "id": session } },
            }),
        };
        assert_eq!(shop.deliver(body.to_string().as_bytes()).await?.status, 200);
        let count = number.parse()?;
        shop.has_lots(&vec![(5_000, 5_000); count]).await?;
    }
    // What was held back is delivered in the end, and changes nothing more.
    shop.control("DELETE", "faults", &Value::Null).await?;
    shop.is_quiet().await?;
    assert_eq!(shop.lots().await?.len(), 3);
    shop.finish().await
}

#[tokio::test]
async fn what_is_not_ours_is_kept_and_ignored() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    let alarms = shop.metric("meter_stripe_alarms_total").await?;
    let cases = [
        json!({ "id": "evt_1", "type": "invoice.paid", "livemode": false, "data": { "object": { "id": "in_other" } } }),
        json!({ "id": "evt_2", "type": "brand.new.thing", "livemode": false, "data": { "object": { "id": "x" } } }),
        json!({ "id": "evt_3", "type": "checkout.session.completed", "livemode": true, "data": { "object": { "id": "cs_1" } } }),
        json!({ "id": "evt_4", "type": "charge.refunded", "livemode": false, "data": {} }),
    ];
    for body in &cases {
        assert_eq!(shop.deliver(body.to_string().as_bytes()).await?.status, 200);
    }
    let customer = shop.by_owner("customers", "email=a%40b.example").await?;
    let gone = Call::new("DELETE".parse()?, &format!("/v1/customers/{}", customer["id"].as_str().unwrap()));
    gone.bearer(shop.stack.stripe_key()).send(shop.stack.stripe()).await?.ok::<Value>()?;
    shop.is_quiet().await?;
    assert_eq!(parked(&shop)?, Vec::<Value>::new());
    assert_eq!(
        shop.metric("meter_stripe_alarms_total").await?,
        alarms + 1,
        "an event of the other mode is told"
    );
    shop.finish().await
}

#[tokio::test]
async fn a_customer_that_was_deleted_is_told_and_replaced() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    let (_, session) = shop.buy_pack("small").await?;
    let customer = shop.at_stripe(&format!("checkout/sessions/{session}")).await?["customer"].clone();
    let gone = Call::new("DELETE".parse()?, &format!("/v1/customers/{}", customer.as_str().unwrap()));
    gone.bearer(shop.stack.stripe_key()).send(shop.stack.stripe()).await?.ok::<Value>()?;
    eventually("the alarm", SOON, async || {
        Ok((shop.metric("meter_stripe_alarms_total").await? > 0).then_some(()))
    })
    .await?;
    let (_, session) = shop.buy(&json!({ "pack": "medium" }), None).await?;
    let other = shop.at_stripe(&format!("checkout/sessions/{session}")).await?["customer"].clone();
    assert_ne!(other, customer);
    shop.pay(&session, "card").await?;
    shop.has_lots(&[(25_000, 25_000)]).await?;
    shop.finish().await
}

#[tokio::test]
async fn one_poisoned_event_among_many_is_parked_alone() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    let (_, session) = shop.buy_pack("small").await?;
    ghost(&shop).await?;
    let mut many = (0..300).map(|number| {
        let body = json!({
            "id": format!("evt_many_{number}"), "type": "product.updated", "livemode": false,
            "data": { "object": { "id": "prod" } },
        });
        let shop = &shop;
        async move { shop.deliver(body.to_string().as_bytes()).await }
    });
    // One address has a hundred connections.
    for _ in 0..6 {
        for answer in join_all(many.by_ref().take(50)).await {
            assert_eq!(answer?.status, 200);
        }
    }
    shop.pay(&session, "card").await?;
    shop.has_lots(&[(5_000, 5_000)]).await?;
    shop.is_quiet().await?;
    assert_eq!(parked(&shop)?.len(), 1);
    // The gauge is set after the event was parked.
    eventually("the gauge", SOON, async || {
        Ok((shop.metric("meter_stripe_events_parked").await? == 1).then_some(()))
    })
    .await?;
    shop.finish().await
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_and_an_outage_of_stripe() -> Result<()> {
    let mut shop = Shop::open(Plan::Pro).await?;
    let (_, session) = shop.buy_pack("medium").await?;
    shop.control("POST", "deliveries", &json!({ "hold": true })).await?;
    shop.pay(&session, "card").await?;
    let body = json!({
        "id": "evt_only", "type": "checkout.session.completed", "livemode": false,
        "data": { "object": { "id": session } },
    });
    shop.stack.kill(Part::Stripe)?;
    assert_eq!(shop.deliver(body.to_string().as_bytes()).await?.status, 200);
    shop.wish(&json!({ "pack": "small" }), None).await?.problem(ErrorCode::PaymentsUnavailable)?;
    shop.stack.kill(Part::Aggregator)?;
    shop.stack.begin(&[Part::Aggregator]).await?;
    assert_eq!(shop.lots().await?, []);
    shop.stack.begin(&[Part::Stripe]).await?;
    shop.has_lots(&[(25_000, 25_000)]).await?;
    shop.finish().await
}

#[tokio::test]
async fn what_was_never_delivered_is_found_by_comparing() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    let (_, session) = shop.buy_pack("small").await?;
    shop.control("POST", "deliveries", &json!({ "lose_every": 1 })).await?;
    shop.pay(&session, "card").await?;
    assert_eq!(shop.lots().await?, []);
    // An hour later our books are compared with Stripe's.
    shop.later("2h").await?;
    shop.has_lots(&[(5_000, 5_000)]).await?;
    shop.control("DELETE", "faults", &Value::Null).await?;
    shop.later("2h").await?;
    shop.has_lots(&[(5_000, 5_000)]).await?;
    eventually("no drift", SOON, async || Ok((shop.metric("meter_stripe_drift").await? == 0).then_some(())))
        .await?;
    shop.finish().await
}

/// All futures at once, answers in their order.
mod at_once {
    pub(super) async fn join_all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
        // Polled one after the other in one task: each is ready when its socket is.
        let mut running: Vec<_> = futures.into_iter().map(Box::pin).collect();
        let mut done: Vec<Option<T>> = running.iter().map(|_| None).collect();
        std::future::poll_fn(|context| {
            for (future, slot) in running.iter_mut().zip(&mut done) {
                if slot.is_none()
                    && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
                {
                    *slot = Some(value);
                }
            }
            if done.iter().all(Option::is_some) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        done.into_iter().flatten().collect()
    }
}
