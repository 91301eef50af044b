//! Plans: bought, changed, overdue, cancelled; the tier follows what was paid, and nothing else.

use anyhow::Result;
use serde_json::{Value, json};
use shared::plan::Plan;
use shared::problem::ErrorCode;
use tests::client::Call;
use tests::poll::eventually;
use tests::stack::{Options, Stack};

use super::shop::Shop;

const SOON: std::time::Duration = std::time::Duration::from_secs(45);

#[tokio::test]
async fn an_upgrade_paid_on_the_hosted_page_is_live_at_the_edge() -> Result<()> {
    let stack = Stack::start_with(Options { stripe: true, ..Options::default() }).await?;
    let shop = Shop::on(stack, Plan::Community)?;
    let included = async |shop: &Shop| -> Result<Value> {
        let quota = Call::get("/v1/quota").bearer(&shop.project.key).send(shop.stack.edge()).await?;
        Ok(quota.ok::<Value>()?["included"].clone())
    };
    eventually("the key at the edge", SOON, async || Ok((included(&shop).await? == 1_000).then_some(())))
        .await?;
    let (_, session) = shop.buy(&json!({ "plan": "pro", "interval": "month" }), None).await?;
    let page = Call::post(&format!("/pay/{session}"), "method=card")
        .header("content-type", "application/x-www-form-urlencoded")
        .send(shop.stack.stripe())
        .await?;
    assert!(page.status < 400, "{}", page.text());
    eventually("the tier at the edge", SOON, async || Ok((included(&shop).await? == 10_000).then_some(())))
        .await?;
    shop.finish().await
}

#[tokio::test]
async fn a_plan_by_debit_begins_when_the_debit_has_arrived() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    let wish = json!({ "plan": "pro", "interval": "year" });
    let (_, session) = shop.buy(&wish, None).await?;
    shop.pay(&session, "sepa_debit").await?;
    shop.is_quiet().await?;
    assert_eq!(shop.plan().await?["plan"], "community");
    shop.wish(&json!({ "plan": "business", "interval": "month" }), None)
        .await?
        .problem(ErrorCode::NotBillable)?;
    shop.later("5d1h").await?;
    shop.has_plan("pro").await?;
    shop.finish().await
}

#[tokio::test]
async fn a_plan_whose_debit_comes_back_never_begins() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    let (_, session) = shop.buy(&json!({ "plan": "pro", "interval": "month" }), None).await?;
    shop.pay(&session, "sepa_returned").await?;
    shop.later("6d").await?;
    shop.is_quiet().await?;
    assert_eq!(shop.plan().await?["plan"], "community");
    shop.finish().await
}

#[tokio::test]
async fn of_two_plans_only_the_one_that_was_chosen_last_can_be_paid() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    let (_, first) = shop.buy(&json!({ "plan": "pro", "interval": "month" }), None).await?;
    assert_eq!(shop.buy(&json!({ "plan": "pro", "interval": "month" }), Some("k")).await?.1, first);
    let (_, second) = shop.buy(&json!({ "plan": "business", "interval": "month" }), None).await?;
    assert_ne!(first, second);
    assert_eq!(shop.at_stripe(&format!("checkout/sessions/{first}")).await?["status"], "expired");
    shop.pay(&second, "card").await?;
    shop.has_plan("business").await?;
    shop.finish().await
}

#[tokio::test]
async fn a_second_plan_that_is_paid_all_the_same_counts_as_the_larger_and_is_told() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    shop.subscribe("pro", "month").await?;
    shop.is_quiet().await?;
    let alarms = shop.metric("meter_stripe_alarms_total").await?;
    // Somebody sells the same customer a second subscription at Stripe, past our Checkout.
    let customer = shop.at_stripe("customers").await?["data"][0]["id"].clone();
    let price =
        shop.at_stripe("prices?lookup_keys[]=palveron_business_month").await?["data"][0]["id"].clone();
    let form = format!(
        "mode=subscription&customer={}&line_items[0][price]={}&line_items[0][quantity]=1&success_url=http%3A%2F%2Fx",
        customer.as_str().unwrap_or_default(),
        price.as_str().unwrap_or_default()
    );
    let session = shop.by_owner("checkout/sessions", &form).await?;
    shop.pay(session["id"].as_str().unwrap_or_default(), "card").await?;
    shop.has_plan("business").await?;
    assert_eq!(shop.at_stripe("subscriptions").await?["data"].as_array().map(Vec::len), Some(2));
    assert!(shop.metric("meter_stripe_alarms_total").await? > alarms, "all but one should be refunded");
    shop.finish().await
}

#[tokio::test]
async fn a_subscription_told_in_any_order_is_what_it_is_now() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    for seed in 0..3 {
        let interval = if seed == 1 { "year" } else { "month" };
        let (_, session) = shop.buy(&json!({ "plan": "pro", "interval": interval }), None).await?;
        shop.control("POST", "deliveries", &json!({ "hold": true })).await?;
        let paid = shop.pay(&session, "card").await?;
        let id = paid["subscription"].as_str().unwrap_or_default().to_owned();
        let gone = async || -> Result<()> {
            let call = Call::new("DELETE".parse()?, &format!("/v1/subscriptions/{id}"))
                .bearer(shop.stack.stripe_key());
            call.send(shop.stack.stripe()).await?.ok::<Value>().map(drop)
        };
        let faults = json!({ "shuffle_seed": seed, "duplicates": 1, "lose_every": 4 });
        if seed == 2 {
            // Made, changed and deleted before anything was told: deleted may come before created.
            gone().await?;
            shop.control("POST", "deliveries", &faults).await?;
            shop.control("DELETE", "faults", &Value::Null).await?;
        } else {
            shop.control("POST", "deliveries", &faults).await?;
            shop.has_plan("pro").await?;
            shop.control("POST", "deliveries", &json!({ "hold": true })).await?;
            gone().await?;
            shop.control("DELETE", "faults", &Value::Null).await?;
        }
        shop.has_plan("community").await?;
        shop.is_quiet().await?;
        assert_eq!(shop.plan().await?["plan"], "community", "{seed}");
    }
    shop.finish().await
}

#[tokio::test]
async fn a_subscription_by_an_archived_price_keeps_its_plan_and_new_ones_take_the_new_price() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    shop.subscribe("pro", "month").await?;
    let before = shop.at_stripe("prices?lookup_keys[]=palveron_pro_month").await?["data"][0]["id"].clone();
    shop.by_owner(&format!("prices/{}", before.as_str().unwrap_or_default()), "active=false").await?;
    shop.stack.meter(&["stripe", "sync"])?;
    let after =
        shop.at_stripe("prices?lookup_keys[]=palveron_pro_month&active=true").await?["data"][0]["id"].clone();
    assert_ne!(before, after);
    // A renewal by the archived price is still that plan.
    shop.later("32d").await?;
    shop.is_quiet().await?;
    assert_eq!(shop.plan().await?["plan"], "pro");
    assert_eq!(shop.metric("meter_stripe_alarms_total").await?, 0);
    // An unknown price changes nothing, is told and waits for a person.
    let product = shop.by_owner("products", "name=Other").await?["id"].clone();
    let form = format!(
        "product={}&currency=eur&unit_amount=100&recurring[interval]=month",
        product.as_str().unwrap_or_default()
    );
    let unknown = shop.by_owner("prices", &form).await?["id"].clone();
    let subscription = shop.at_stripe("subscriptions").await?["data"][0].clone();
    let form = format!(
        "items[0][id]={}&items[0][price]={}",
        subscription["items"]["data"][0]["id"].as_str().unwrap_or_default(),
        unknown.as_str().unwrap_or_default()
    );
    shop.by_owner(&format!("subscriptions/{}", subscription["id"].as_str().unwrap_or_default()), &form)
        .await?;
    eventually("the alarm", SOON, async || {
        Ok((shop.metric("meter_stripe_alarms_total").await? > 0).then_some(()))
    })
    .await?;
    assert_eq!(shop.plan().await?["plan"], "pro");
    shop.finish().await
}

#[tokio::test]
async fn a_live_subscription_is_changed_by_confirmation_and_never_doubled() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    shop.subscribe("pro", "month").await?;
    shop.wish(&json!({ "plan": "pro", "interval": "month" }), None).await?.problem(ErrorCode::NotBillable)?;
    shop.used(1, 9_500).await?;
    shop.change("business", "month").await?;
    shop.has_plan("business").await?;
    let plan = shop.plan().await?;
    assert_eq!(plan["quota"], 100_000, "the quota is there at once");
    let crossed: Vec<_> =
        plan["crossings"].as_array().unwrap().iter().map(|one| one["percent"].clone()).collect();
    assert_eq!(crossed, [json!(80)], "95 % of the smaller plan, and nothing of the larger");
    assert_eq!(shop.at_stripe("subscriptions").await?["data"].as_array().map(Vec::len), Some(1));
    // Back to the smaller one: only when the paid time is over.
    shop.change("pro", "month").await?;
    shop.is_quiet().await?;
    assert_eq!(shop.plan().await?["plan"], "business");
    shop.later("32d").await?;
    shop.has_plan("pro").await?;
    shop.finish().await
}

#[tokio::test]
async fn cancelling_takes_effect_when_the_paid_time_is_over_and_lots_survive() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    shop.subscribe("pro", "month").await?;
    let (_, pack) = shop.buy_pack("small").await?;
    shop.pay(&pack, "card").await?;
    shop.has_lots(&[(5_000, 5_000)]).await?;
    let portal = shop.get("/api/v1/stripe/portal").await?;
    let id = portal["url"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
    for action in ["cancel", "resume", "cancel"] {
        shop.control("POST", &format!("portal/{id}"), &json!({ "action": action })).await?;
        shop.is_quiet().await?;
        assert_eq!(shop.plan().await?["plan"], "pro", "{action}");
    }
    shop.later("32d").await?;
    shop.has_plan("community").await?;
    assert_eq!(shop.lots().await?, [(5_000, 5_000)]);
    shop.finish().await
}

#[tokio::test]
async fn a_missed_payment_has_its_grace_then_falls_and_paying_brings_it_back() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    shop.subscribe("pro", "month").await?;
    shop.is_quiet().await?;
    let customer =
        shop.at_stripe("customers").await?["data"][0]["id"].as_str().unwrap_or_default().to_owned();
    let card = format!("customers/{customer}/card");
    shop.control("POST", &card, &json!({ "works": false })).await?;
    shop.later("31d12h").await?;
    shop.is_quiet().await?;
    let state = shop.at_stripe("subscriptions?status=all").await?["data"][0]["status"].clone();
    assert_eq!(state, "past_due");
    assert_eq!(shop.plan().await?["plan"], "pro", "within the grace");
    shop.later("7d12h").await?;
    shop.has_plan("community").await?;
    shop.control("POST", &card, &json!({ "works": true })).await?;
    shop.has_plan("pro").await?;
    shop.finish().await
}

#[tokio::test]
async fn finance_may_open_the_portal_and_viewers_may_not() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    for (role, may) in [("finance", true), ("viewer", false)] {
        let token = shop.stack.meter(&["token", "create", "--project", "demo", "--role", role, "--json"])?;
        let token: Value = serde_json::from_str(&token)?;
        let call = Call::get("/api/v1/stripe/portal").bearer(token["token"].as_str().unwrap_or_default());
        let answer = call.send(shop.stack.aggregator()).await?;
        if may {
            assert!(answer.ok::<Value>()?["url"].as_str().is_some_and(|url| url.contains("/portal/")));
        } else {
            answer.problem(ErrorCode::Forbidden)?;
        }
    }
    shop.finish().await
}

#[tokio::test]
async fn syncing_prices_shows_what_differs_and_again_nothing() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    let run = |arguments: &[&str]| -> Result<Value> {
        let all = [&["stripe", "sync", "--json"], arguments].concat();
        Ok(serde_json::from_str(&shop.stack.meter(&all)?)?)
    };
    assert_eq!(run(&[])?, json!({ "differences": [], "applied": false }));
    // Somebody archives a price and renames a product.
    let price = shop.at_stripe("prices?lookup_keys[]=palveron_pro_month").await?["data"][0]["id"].clone();
    shop.by_owner(&format!("prices/{}", price.as_str().unwrap_or_default()), "active=false").await?;
    shop.by_owner("products/palveron_pro", "name=Other").await?;
    let dry = run(&["--dry-run"])?;
    assert_eq!(dry["applied"], false);
    let lines = dry["differences"].to_string();
    assert!(
        lines.contains("~ product palveron_pro ") && lines.contains("+ price palveron_pro_month 4900 eur"),
        "{lines}"
    );
    assert_eq!(run(&[])?["applied"], true);
    assert_eq!(run(&[])?["differences"], json!([]));
    shop.finish().await
}
