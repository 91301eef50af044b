//! The turn of a month between a payment and the news of it: the instant of the payment decides.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use shared::plan::Plan;
use tests::poll::eventually;
use tests::stack::Part;

use super::shop::Shop;

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_pack_paid_before_midnight_pays_for_the_old_month_though_it_is_told_in_the_new_one() -> Result<()> {
    const TEN_MINUTES: u64 = 600;
    let mut shop = Shop::open(Plan::Community).await?;
    shop.subscribe("pro", "month").await?;
    shop.is_quiet().await?;
    shop.overage_on().await?;
    let to_turn = shop.now().seconds_until(shop.now().period().end());
    shop.later(&format!("{}s", to_turn.saturating_sub(TEN_MINUTES))).await?;
    // Pro has 10,000: 4,000 are beyond it, which the pack of 5,000 covers.
    shop.used(1, 14_000).await?;
    let month = shop.now().period();
    let (_, session) = shop.buy_pack("small").await?;
    shop.stack.kill(Part::Aggregator)?;
    shop.pay(&session, "card").await?;
    assert_eq!(shop.now().period(), month, "it was paid in the old month");
    shop.later(&format!("{}s", 2 * TEN_MINUTES)).await?;
    assert_eq!(shop.now().period(), month.next());
    shop.stack.begin(&[Part::Aggregator]).await?;
    shop.has_lots(&[(5_000, 1_000)]).await?;
    // The month is final 72 hours after its end, and nothing of it is invoiced as overage.
    shop.later("73h").await?;
    let period = month.to_string();
    let statement = eventually("the month is closed", SOON, async || {
        let words = ["statement", "--project", "demo", "--period", &period, "--json"];
        let statement: Value = serde_json::from_str(&shop.stack.meter(&words)?)?;
        Ok((statement["provisional"] == false).then_some(statement))
    })
    .await?;
    assert_eq!(statement["overage"], 0, "{statement}");
    shop.has_lots(&[(5_000, 1_000)]).await?;
    shop.is_quiet().await?;
    shop.finish().await
}
