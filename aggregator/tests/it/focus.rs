//! `GET /api/v1/usage/focus`: the export agrees with the invoices to the cent, and is what FOCUS says it is.

use std::collections::BTreeMap;

use aggregator::access::Role;
use aggregator::jobs::month_close;
use shared::plan::Plan;
use shared::time::Timestamp;

use crate::backend;
use crate::support::Meter;

/// A meter whose project had 12,345 units and 7 anchors this month, of which 10,000 are included.
async fn meter() -> Meter {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Pro).await;
    meter.project("still", Plan::Community).await;
    let operator = meter.operator().await;
    let on =
        meter.json("PUT", "/api/v1/billing/plan?project=demo", &operator, r#"{"auto_overage":true}"#).await;
    assert_eq!(on.status, 200, "{on:?}");
    let body = r#"{"project":"demo","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":1,"cells":[
        {"day":"2026-11-23","kind":"verify","agent":"bot","units":12345,"anchors":7}]}"#;
    assert_eq!(meter.flush(body).await.status, 200);
    meter
}

/// The rows of an export by column, and the columns.
fn rows(csv: &str) -> (Vec<&str>, Vec<BTreeMap<&str, &str>>) {
    let mut lines = csv.lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    // No cell but the last has a comma.
    let rows = lines.map(|line| columns.iter().copied().zip(line.splitn(columns.len(), ',')).collect());
    (columns.clone(), rows.collect())
}

/// An amount such as `-12.34`, in hundredths.
fn minor(amount: &str) -> i128 {
    let (whole, part) = amount.split_once('.').unwrap();
    assert_eq!(part.len(), 2, "{amount}");
    format!("{whole}{part}").parse().unwrap()
}

#[tokio::test]
async fn the_export_says_what_was_used_and_costs_what_is_invoiced() {
    let meter = meter().await;
    let viewer = meter.member("demo", Role::Viewer).await;
    let path = "/api/v1/usage/focus?month=2026-11";
    for state in ["provisional", "final"] {
        let export = meter.get(path, &viewer).await;
        assert_eq!(
            (export.status, export.header("content-type")),
            (200, Some("text/csv; charset=utf-8; header=present"))
        );
        let (_, rows) = rows(&export.body);
        let of = |sku: &str| rows.iter().find(|row| row["SkuId"] == sku).unwrap();
        assert_eq!((of("included")["ConsumedQuantity"], of("included")["BilledCost"]), ("10000.0", "0.00"));
        assert_eq!(of("overage")["ConsumedQuantity"], "2345.0");
        assert_eq!(of("anchors")["ConsumedQuantity"], "7.0");
        assert!(rows.iter().all(|row| row["Tags"].contains(state)), "{rows:?}");
        let invoices = meter.get("/api/v1/billing/invoices", &viewer).await.value();
        let november = invoices["invoices"]
            .as_array()
            .unwrap()
            .iter()
            .find(|month| month["period"] == "2026-11")
            .unwrap();
        let total: i128 = november["total"]["minor"].as_str().unwrap().parse().unwrap();
        assert!(total > 0);
        assert_eq!(rows.iter().map(|row| minor(row["BilledCost"])).sum::<i128>(), total);
        assert!(rows.iter().all(|row| row["BillingCurrency"] == "EUR"));
        meter.app.clock.set(Timestamp::parse("2026-12-04T00:00:00Z").unwrap());
        month_close::close_due(&meter.app).await.unwrap();
    }
    // A month before the project and one that has not begun have nothing to tell.
    for month in ["2026-09", "2027-06"] {
        let empty = meter.get(&format!("/api/v1/usage/focus?month={month}"), &viewer).await;
        assert_eq!(empty.body.lines().count(), 1, "{month}");
    }
    meter.get("/api/v1/usage/focus", &viewer).await.refuses("month", "no month");
    meter.get("/api/v1/usage/focus?month=2026-13", &viewer).await.refuses("month", "no such month");
    meter.get(&format!("{path}&project=still"), &viewer).await.is_problem("project_unknown", "another's");
}

#[tokio::test]
async fn the_official_validator_finds_nothing_and_would_have() {
    let meter = meter().await;
    let operator = meter.operator().await;
    // Operators who name no project are told of all.
    let export = meter.get("/api/v1/usage/focus?month=2026-11", &operator).await.body;
    assert!(rows(&export).1.iter().any(|row| row["SubAccountId"] == "demo"), "{export}");
    for (export, is_valid) in [(export.clone(), true), (export.replace(",EUR,", ",EURO,"), false)] {
        let file = meter.folder.path().join("export.csv");
        std::fs::write(&file, export).unwrap();
        let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/focus/validate.py");
        let judged =
            std::process::Command::new(backend::focus_python()).arg(script).arg(file).output().unwrap();
        assert_eq!(judged.status.success(), is_valid, "{judged:?}");
    }
}
