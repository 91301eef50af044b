//! Months of a contract by real processes and moved clocks: the 72-hour rule, and a month by hand with its invoices.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use shared::time::Timestamp;

use super::customer::{Customer, DAY_MS, HOUR_MS};

/// The most time that a step of these tests takes.
const STEP_MS: u64 = 60_000;

fn instant(of: &Value, name: &str) -> Result<Timestamp> {
    of[name].as_str().and_then(Timestamp::parse).with_context(|| format!("{name}: {of}"))
}

/// The reporter is offline for that long from its last receipt on; what the month bills then.
async fn offline(offline_ms: u64, billed: u64, total: &str) -> Result<()> {
    let mut customer = Customer::new().await?;
    customer.reporter.count(r#"{"kind":"verify","agent":"bot","units":800}"#).await?;
    customer.report().await?;
    let standing = customer.standing("berlin").await?;
    let (heard, silent) = (instant(&standing, "heard_at")?, instant(&standing, "silent_at")?);
    assert_eq!(silent.ms_since(heard), 72 * HOUR_MS + 1, "to the millisecond, by the aggregator's clock");
    customer.line.cut();
    customer.advance_to(heard.plus_ms(offline_ms))?;
    customer.line.heal();
    customer.report().await?;
    // The clock goes on while this runs; where a machine is so slow that this says nothing, it is told.
    let again = instant(&customer.standing("berlin").await?, "heard_at")?;
    let (was_late, is_late) = (again >= silent, offline_ms > 72 * HOUR_MS);
    ensure!(was_late == is_late, "heard again after {} ms", again.ms_since(heard));
    customer.alive_until(customer.month.end().plus_ms(72 * HOUR_MS)).await?;
    let documents = customer.documents(1).await?;
    assert_eq!(documents.len(), 1, "{documents:?}");
    let figures = &documents[0]["figures"];
    assert_eq!((&figures["counted"], &figures["billed"]), (&json!(800), &json!(billed)), "{figures}");
    assert_eq!(figures["total"]["minor"], total);
    customer.stack.finish()
}

#[tokio::test]
async fn offline_for_less_than_72_hours_is_billed_as_reported() -> Result<()> {
    offline(72 * HOUR_MS - STEP_MS, 800, "0").await
}

#[tokio::test]
async fn offline_for_more_than_72_hours_falls_back_to_the_minimum() -> Result<()> {
    offline(72 * HOUR_MS + 2_000, 1_200, "400").await
}

/// The month by hand. Volume 1,000; overage 20.00 per 1,000 up to 500 units and 10.00 beyond; minimum 1,200; VAT 19 %.
/// `munich` never reports, so that the month falls back; then its minimum is waived, and then berlin's last day arrives:
/// 801 units of overage are 500 at 20.00 and 301 at 10.00 per 1,000.
const MONTH: &str = "
    # cause       counted  billed  amount  total   net     tax    to be paid
    close         800      1200    400     400     4.00    0.76   4.76
    waiver        800      800     -400    0       -4.00   -0.76  -4.76
    adjustment    1801     1801    1301    1301    13.01   2.47   15.48
";

/// What stands in an element of an electronic invoice.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<cbc:{name} currencyID=\"EUR\">"))?;
    rest.split_once('<').map(|(text, _)| text)
}

#[tokio::test]
async fn a_month_by_hand_is_what_the_documents_say_to_the_cent_in_three_forms() -> Result<()> {
    let mut customer = Customer::new().await?;
    customer.reporter_key("munich").await?;
    customer.reporter.count(r#"{"kind":"verify","agent":"bot","units":800}"#).await?;
    customer.report().await?;
    // On the last day the network goes; what is counted then is late.
    let last_day = customer.month.last_day().start().plus_ms(HOUR_MS);
    customer.alive_until(last_day).await?;
    customer.line.cut();
    customer.reporter.count(r#"{"kind":"mcp_tool_call","agent":"line-3","units":1001}"#).await?;
    let closed = customer.month.end().plus_ms(72 * HOUR_MS + 1_000);
    customer.advance_to(closed)?;
    customer.documents(1).await?;
    let waiver = json!({ "period": customer.month, "reason": "munich was never connected" });
    customer.make("/api/v1/admin/contracts/acme/waivers", &waiver).await?;
    customer.documents(2).await?;
    customer.line.heal();
    customer.report().await?;
    customer.advance(DAY_MS + HOUR_MS)?;
    let mut documents = customer.documents(3).await?;
    documents.sort_by_key(|of| of["number"].as_u64());
    let rows = MONTH.lines().map(str::trim).filter(|row| !row.is_empty() && !row.starts_with('#'));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(documents.len(), rows.len(), "{documents:?}");
    for (document, row) in documents.iter().zip(&rows) {
        let figures = &document["figures"];
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let told = [
            &document["cause"],
            &figures["counted"],
            &figures["billed"],
            &document["amount"]["minor"],
            &figures["total"]["minor"],
        ];
        assert_eq!(told.map(text).as_slice(), &row[..5], "{document}");
        let name = document["name"].as_str().context("no name")?;
        let path = format!("/api/v1/admin/contracts/acme/documents/{name}");
        let (page, xml) =
            (customer.page(&format!("{path}/page")).await?, customer.page(&format!("{path}/xml")).await?);
        let (page, xml) = (page.text(), xml.text());
        for amount in &row[5..] {
            assert!(page.contains(&format!(">{amount}<")), "{name}: {amount}: {page}");
        }
        assert_eq!(element(&xml, "TaxExclusiveAmount"), Some(row[5]), "{xml}");
        assert_eq!(element(&xml, "TaxAmount"), Some(row[6]), "{xml}");
        assert_eq!(element(&xml, "PayableAmount"), Some(row[7]), "{xml}");
    }
    assert_eq!(customer.usage().await?["total"], 1_801);
    customer.stack.finish()
}
