//! Stripe's own library makes and judges headers; a running meter judges them too, over HTTP.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;
use shared::plan::Plan;
use shared::problem::ErrorCode;
use tests::{clock, config};

use super::shop::Shop;

#[tokio::test]
async fn a_running_meter_judges_signatures_as_stripes_library_does_except_where_it_is_stricter() -> Result<()>
{
    let shop = Shop::open(Plan::Pro).await?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/stripe_signatures.py");
    let mut python = Command::new(config::stripe_python()?);
    let now = clock::now().as_seconds().to_string();
    let output = python.arg(script).arg(now).args(shop.stack.stripe_secrets()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let (mut taken, mut refused) = (0, 0);
    for row in &rows {
        let answer = shop.deliver_as(text(row, "body").as_bytes(), &text(row, "header")).await?;
        if row["accepted"] == true && row["stricter"].is_null() {
            ensure!(answer.status == 200, "{}: {}", text(row, "what"), answer.text());
            taken += 1;
        } else {
            answer
                .problem(ErrorCode::DeliveryUnverified)
                .map_err(|error| error.context(text(row, "what")))?;
            refused += 1;
        }
    }
    assert!(taken >= 10 && refused >= 15, "{taken} {refused}");
    assert!(rows.iter().filter(|row| row["accepted"] == false).count() >= 10);
    shop.finish().await
}
