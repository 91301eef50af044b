//! Changes of a live subscription: what is more is at once, what waits is planned and shown.

use anyhow::Result;
use serde_json::{Value, json};
use shared::plan::Plan;
use shared::problem::ErrorCode;
use tests::poll::eventually;

use super::shop::Shop;

const SOON: std::time::Duration = std::time::Duration::from_secs(45);

/// How often the subscription is paid, by Stripe.
async fn interval(shop: &Shop) -> Result<Value> {
    let subscription = shop.at_stripe("subscriptions").await?["data"][0].clone();
    Ok(subscription["items"]["data"][0]["price"]["recurring"]["interval"].clone())
}

/// Waits until so much is planned: (plan, quota, interval).
async fn plans(shop: &Shop, expected: &[(&str, u64, &str)]) -> Result<()> {
    let expected: Vec<Value> = expected
        .iter()
        .map(|(plan, quota, interval)| json!({ "plan": plan, "quota": quota, "interval": interval }))
        .collect();
    eventually(&format!("planned {expected:?}"), SOON, async || {
        let mut planned = shop.plan().await?["planned"].as_array().cloned().unwrap_or_default();
        for one in &mut planned {
            one.as_object_mut().and_then(|one| one.remove("at"));
        }
        Ok((planned == expected).then_some(()))
    })
    .await
}

#[tokio::test]
async fn ten_times_the_quota_is_at_once_from_a_year_to_a_month_too() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    shop.subscribe("pro", "year").await?;
    shop.change("business", "month").await?;
    shop.has_plan("business").await?;
    let plan = shop.plan().await?;
    assert_eq!((&plan["quota"], &plan["planned"]), (&json!(100_000), &json!([])));
    assert_eq!(interval(&shop).await?, "month");
    // What was paid for the year and not used pays for the months to come.
    let invoice = shop.at_stripe("invoices").await?["data"][0].clone();
    assert_eq!((&invoice["status"], &invoice["amount_due"]), (&json!("paid"), &json!(0)));
    shop.later("32d").await?;
    shop.is_quiet().await?;
    assert_eq!(shop.plan().await?["plan"], "business");
    shop.finish().await
}

#[tokio::test]
async fn a_smaller_plan_waits_for_the_end_of_paid_time_and_is_shown_with_its_date() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    shop.subscribe("business", "month").await?;
    shop.change("pro", "month").await?;
    plans(&shop, &[("pro", 10_000, "month")]).await?;
    let subscription = shop.at_stripe("subscriptions").await?["data"][0].clone();
    let end = subscription["items"]["data"][0]["current_period_end"].as_u64().unwrap_or_default();
    let plan = shop.plan().await?;
    let at = shared::time::Timestamp::from_ms(end * 1_000).to_string();
    assert_eq!((&plan["plan"], &plan["planned"][0]["at"]), (&json!("business"), &json!(at)));
    // Another change would be put behind it and charged for; it is taken back first.
    let wish = json!({ "plan": "business", "interval": "year" });
    let refused = shop.wish(&wish, None).await?.problem(ErrorCode::NotBillable)?;
    assert!(refused.detail.contains("pro/month waits for") && refused.detail.contains(&at), "{refused:?}");
    shop.in_portal("take_back").await?;
    plans(&shop, &[]).await?;
    shop.change("pro", "month").await?;
    plans(&shop, &[("pro", 10_000, "month")]).await?;
    shop.later("32d").await?;
    shop.has_plan("pro").await?;
    plans(&shop, &[]).await?;
    shop.finish().await
}

#[tokio::test]
async fn from_a_year_to_a_month_is_changed_when_the_year_is_over() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    shop.subscribe("pro", "year").await?;
    shop.change("pro", "month").await?;
    plans(&shop, &[("pro", 10_000, "month")]).await?;
    assert_eq!((interval(&shop).await?, shop.plan().await?["plan"].clone()), (json!("year"), json!("pro")));
    shop.later("366d").await?;
    eventually("the month", SOON, async || Ok((interval(&shop).await? == "month").then_some(()))).await?;
    shop.is_quiet().await?;
    let plan = shop.plan().await?;
    assert_eq!((&plan["plan"], &plan["planned"]), (&json!("pro"), &json!([])));
    shop.finish().await
}

#[tokio::test]
async fn a_larger_plan_that_the_portal_has_wait_is_planned_and_comes() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    shop.subscribe("pro", "year").await?;
    // In the portal for payments in general, whose configuration has a shorter interval wait.
    let first = |list: &Value| list["data"][0]["id"].as_str().unwrap_or_default().to_owned();
    let subscription = shop.at_stripe("subscriptions").await?["data"][0].clone();
    let customer = subscription["customer"].as_str().unwrap_or_default().to_owned();
    let price = first(&shop.at_stripe("prices?lookup_keys[]=palveron_business_month").await?);
    let configurations = shop.at_stripe("billing_portal/configurations?active=true").await?;
    let usual = configurations["data"].as_array().into_iter().flatten();
    let usual = usual.filter(|one| one["metadata"]["palveron_form"].is_string());
    let usual = usual.filter_map(|one| one["id"].as_str()).next().unwrap_or_default();
    let update = "flow_data[subscription_update_confirm]";
    let form = format!(
        "customer={customer}&configuration={usual}&flow_data[type]=subscription_update_confirm&{update}[subscription]={}&{update}[items][0][id]={}&{update}[items][0][price]={price}",
        subscription["id"].as_str().unwrap_or_default(),
        subscription["items"]["data"][0]["id"].as_str().unwrap_or_default(),
    );
    let session = shop.by_owner("billing_portal/sessions", &form).await?;
    let path = format!("portal/{}", session["id"].as_str().unwrap_or_default());
    shop.control("POST", &path, &json!({ "action": "confirm" })).await?;
    plans(&shop, &[("business", 100_000, "month")]).await?;
    assert_eq!(shop.plan().await?["plan"], "pro");
    shop.later("366d").await?;
    shop.has_plan("business").await?;
    plans(&shop, &[]).await?;
    shop.finish().await
}
