//! What is overdue: said with its amount, since when and where it is paid, before the fall, after it and in the log.

use anyhow::Result;
use serde_json::{Value, json};
use shared::plan::Plan;
use tests::client::Call;
use tests::poll::eventually;

use super::shop::Shop;

const SOON: std::time::Duration = std::time::Duration::from_secs(45);

/// Lets the cards of the only customer fail, or work again.
async fn card(shop: &Shop, works: bool) -> Result<()> {
    let customers = shop.at_stripe("customers").await?;
    let customer = customers["data"][0]["id"].as_str().unwrap_or_default();
    shop.control("POST", &format!("customers/{customer}/card"), &json!({ "works": works })).await.map(drop)
}

/// Waits until that much is overdue: (source, minor units).
async fn is_overdue(shop: &Shop, expected: &[(&str, &str)]) -> Result<Value> {
    eventually(&format!("overdue {expected:?}"), SOON, async || {
        let plan = shop.plan().await?;
        let overdue: Vec<Value> = plan["overdue"].as_array().cloned().unwrap_or_default();
        let same = overdue.len() == expected.len()
            && overdue.iter().zip(expected).all(|(one, (source, minor))| {
                one["source"] == *source && one["amount"] == json!({ "minor": minor, "currency": "eur" })
            });
        Ok(same.then_some(plan))
    })
    .await
}

/// What the audit log says was done so, the newest first.
fn noted(shop: &Shop, action: &str) -> Result<Vec<Value>> {
    let lines: Value = serde_json::from_str(&shop.stack.meter(&["audit", "--json"])?)?;
    let lines = lines["entries"].as_array().or(lines.as_array()).cloned().unwrap_or_default();
    Ok(lines.into_iter().filter(|line| line["action"] == action).collect())
}

#[tokio::test]
async fn after_a_fall_it_is_said_which_bill_is_overdue_and_where_it_is_paid() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    shop.subscribe("pro", "month").await?;
    shop.is_quiet().await?;
    card(&shop, false).await?;
    shop.later("31d12h").await?;
    is_overdue(&shop, &[("subscription", "4900")]).await?;
    // The bill is known before the subscription says that it is past due.
    let plan = eventually("past due", SOON, async || {
        Ok(Some(shop.plan().await?).filter(|plan| !plan["overdue_since"].is_null()))
    })
    .await?;
    assert_eq!((&plan["plan"], &plan["subscribed"]), (&json!("pro"), &json!("pro")));
    let invoice = shop.at_stripe("invoices?status=open").await?["data"][0].clone();
    let overdue = &plan["overdue"][0];
    assert_eq!((&overdue["invoice"], &overdue["pay_at"]), (&invoice["id"], &invoice["hosted_invoice_url"]));
    assert_eq!((&overdue["since"], overdue["period"].clone()), (&plan["overdue_since"], Value::Null));
    assert!(plan["falls_at"].is_string() && plan["fell_at"].is_null(), "{plan}");
    let falls_at = plan["falls_at"].clone();
    shop.later("7d12h").await?;
    shop.has_plan("community").await?;
    let plan = shop.plan().await?;
    assert_eq!((&plan["overdue"][0], &plan["fell_at"]), (overdue, &falls_at));
    assert_eq!((&plan["subscribed"], &plan["falls_at"]), (&json!("pro"), &Value::Null));
    // The audit log says the same, and what became of it.
    for (action, at) in [("payment.overdue", "falls_at"), ("plan.fell", "fell_at")] {
        let fell = eventually(action, SOON, async || Ok(noted(&shop, action)?.first().cloned())).await?;
        let became = &fell["became"];
        assert_eq!((&became["overdue"][0], &became[at]), (overdue, &falls_at), "{fell}");
    }
    card(&shop, true).await?;
    shop.has_plan("pro").await?;
    let plan = is_overdue(&shop, &[]).await?;
    assert!(plan["fell_at"].is_null() && plan["overdue_since"].is_null(), "{plan}");
    assert_eq!(noted(&shop, "payment.recovered")?.len(), 1);
    shop.finish().await
}

#[tokio::test]
async fn an_overdue_bill_of_usage_is_named_with_its_month() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    shop.subscribe("pro", "year").await?;
    shop.is_quiet().await?;
    shop.overage_on().await?;
    shop.used(1, 12_500).await?;
    let month = tests::clock::now().period().to_string();
    card(&shop, false).await?;
    shop.later("35d").await?;
    let plan = is_overdue(&shop, &[("usage", "1500")]).await?;
    assert_eq!(plan["overdue"][0]["period"], json!(month));
    assert!(plan["overdue"][0]["pay_at"].as_str().is_some_and(|url| url.contains("/invoice/")), "{plan}");
    // The bill is seen first, and what follows from it a moment later.
    let is_past_due = async || Ok((shop.plan().await?["overage"]["state"] == "past_due").then_some(()));
    eventually("past_due", SOON, is_past_due).await?;
    card(&shop, true).await?;
    is_overdue(&shop, &[]).await?;
    shop.finish().await
}

#[tokio::test]
async fn a_subscription_that_stripe_gave_up_says_what_was_not_paid() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    shop.subscribe("pro", "month").await?;
    shop.is_quiet().await?;
    card(&shop, false).await?;
    shop.later("50d").await?;
    shop.has_plan("community").await?;
    shop.is_quiet().await?;
    let plan = is_overdue(&shop, &[("subscription", "4900")]).await?;
    assert_eq!((&plan["subscribed"], &plan["overdue_since"]), (&json!("community"), &Value::Null));
    let ended = noted(&shop, "subscription.followed")?;
    assert_eq!(ended[0]["became"]["overdue"][0], plan["overdue"][0], "{ended:?}");
    shop.finish().await
}

#[tokio::test]
async fn overage_that_nothing_can_be_charged_for_says_so_when_it_is_turned_on() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    assert_eq!(shop.plan().await?["warnings"], json!([]));
    let body = json!({ "auto_overage": true }).to_string();
    let call = Call::new("PUT".parse()?, "/api/v1/billing/plan").json().bearer(&shop.project.token);
    let answer: Value = call.with_body(body).send(shop.stack.aggregator()).await?.ok()?;
    assert_eq!(
        (&answer["auto_overage"], &answer["warnings"][0]["code"]),
        (&json!(true), &json!("no_payment_method"))
    );
    assert_eq!(shop.plan().await?["warnings"], answer["warnings"]);
    shop.subscribe("pro", "month").await?;
    eventually("a payment method on file", SOON, async || {
        Ok((shop.plan().await?["warnings"] == json!([])).then_some(()))
    })
    .await?;
    shop.finish().await
}
