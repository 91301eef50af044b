//! Months of contracts: what is billed with and without silence, waivers, late cells, and the three forms of an invoice.

use aggregator::access::Role;
use aggregator::jobs::{contract_close, month_close};
use serde_json::{Value, json};
use shared::time::Timestamp;

use super::reports::{HOUR_MS, Source};
use super::support::{CONTRACTS, Desk, terms};
use crate::support::{noon, project_id};

const DOCUMENTS: &str = "/api/v1/admin/contracts/acme/documents";

/// The contract of `terms`, and a reporter that was heard at noon of 23 November.
async fn desk() -> (Desk, Source) {
    desk_with(terms("acme")).await
}

/// The same with other terms.
async fn desk_with(mut body: Value) -> (Desk, Source) {
    let desk = Desk::new().await;
    body["buyer"] = json!({ "street": "Am Wall 3", "city": "Bremen", "postcode": "28195", "country": "DE",
                            "vat_id": "DE987654321", "reference": "4711 <x>" });
    desk.make(CONTRACTS, &body).await;
    let key = desk.reporter("acme", "berlin").await;
    let source = Source::new(&key, "aaaaaaaa");
    (desk, source)
}

fn set(desk: &Desk, at: Timestamp) {
    desk.meter.app.clock.set(at);
}

/// Closes what is due, and says how many documents of contracts that made.
async fn close(desk: &Desk) -> usize {
    let app = &desk.meter.app;
    while month_close::close_due(app).await.unwrap() > 0 {}
    contract_close::close_due(app).await.unwrap()
}

/// Keeps the reporter heard, day by day, up to an instant.
async fn alive(desk: &Desk, source: &mut Source, until: Timestamp) {
    while desk.meter.app.clock.now() < until {
        let next = desk.meter.app.clock.now().plus_ms(48 * HOUR_MS).as_ms().min(until.as_ms());
        set(desk, Timestamp::from_ms(next));
        source.report(&desk.meter, &[]).await;
    }
}

/// What the documents of November say: billed, amount, total.
async fn told(desk: &Desk) -> Vec<(u64, String, String)> {
    let documents = desk.get(DOCUMENTS).await;
    let november = documents["documents"].as_array().unwrap().iter().filter(|of| of["period"] == "2026-11");
    november
        .map(|of| {
            let minor = |money: &Value| money["minor"].as_str().unwrap().to_owned();
            let figures = &of["figures"];
            (figures["billed"].as_u64().unwrap(), minor(&of["amount"]), minor(&figures["total"]))
        })
        .collect()
}

fn row(billed: u64, amount: &str, total: &str) -> (u64, String, String) {
    (billed, amount.to_owned(), total.to_owned())
}

#[tokio::test]
async fn seventy_two_hours_are_billed_as_reported_and_a_millisecond_more_is_not() {
    for (silence_ms, billed, total) in [(72 * HOUR_MS, 800, "0"), (72 * HOUR_MS + 1, 1_200, "400")] {
        let (desk, mut source) = desk().await;
        source.report(&desk.meter, &["2026-11-23 bot 800"]).await;
        set(&desk, noon().plus_ms(silence_ms));
        source.report(&desk.meter, &[]).await;
        alive(&desk, &mut source, noon().period().end().plus_ms(72 * HOUR_MS)).await;
        assert_eq!(close(&desk).await, 1, "{silence_ms}");
        assert_eq!(told(&desk).await, [row(billed, total, total)], "{silence_ms}");
        assert_eq!(close(&desk).await, 0, "again nothing");
        assert_eq!(desk.meter.app.store.audit(&project_id("acme")).await.unwrap(), Some(vec![]));
    }
}

#[tokio::test]
async fn time_in_which_no_aggregator_ran_does_not_count_as_silence() {
    let (desk, mut source) = desk().await;
    let store = &desk.meter.app.store;
    source.report(&desk.meter, &["2026-11-23 bot 800"]).await;
    store.note_alive(noon().plus_ms(HOUR_MS)).await.unwrap();
    set(&desk, noon().plus_ms(80 * HOUR_MS));
    let down = store.note_start(noon().plus_ms(80 * HOUR_MS)).await.unwrap().unwrap();
    assert_eq!(down.until.ms_since(down.from), 79 * HOUR_MS);
    let receipt = source.report(&desk.meter, &[]).await;
    assert_eq!(receipt.silent_at, noon().plus_ms(152 * HOUR_MS + 1));
    alive(&desk, &mut source, noon().period().end().plus_ms(72 * HOUR_MS)).await;
    close(&desk).await;
    assert_eq!(told(&desk).await, [row(800, "0", "0")]);
}

#[tokio::test]
async fn ten_days_of_backlog_are_exact_and_what_comes_after_the_close_is_an_adjustment() {
    let (desk, mut source) = desk().await;
    source.report(&desk.meter, &["2026-11-23 bot 800"]).await;
    let closed = noon().period().end().plus_ms(72 * HOUR_MS);
    set(&desk, closed);
    assert_eq!(close(&desk).await, 1);
    assert_eq!(told(&desk).await, [row(1_200, "400", "400")], "it was silent");
    // The network is back: ten days at once. Below the minimum it changes nothing, beyond it everything counts.
    let backlog: Vec<String> = (23..=30).map(|day| format!("2026-11-{day} bot 900")).collect();
    let backlog: Vec<&str> = backlog.iter().map(String::as_str).collect();
    source.report(&desk.meter, &backlog).await;
    set(&desk, closed.plus_ms(25 * HOUR_MS));
    assert_eq!(close(&desk).await, 1);
    // 8 × 900 = 7,200; 6,200 beyond the volume: 500 at 20.00 and 5,700 at 10.00 per 1,000.
    assert_eq!(told(&desk).await, [row(1_200, "400", "400"), row(7_200, "6300", "6700")]);
    // The project's own month has overage too, and its largest quota was community's: nothing is collected twice.
    let intents = desk.meter.app.store.shown_intents(Some(&project_id("acme")), 10).await.unwrap();
    assert!(intents.is_empty(), "{intents:?}");
    let owner = desk.meter.member("acme", Role::Owner).await;
    let invoices = desk.meter.get("/api/v1/billing/invoices", &owner).await.value();
    let november =
        invoices["invoices"].as_array().unwrap().iter().find(|of| of["period"] == "2026-11").unwrap();
    assert_eq!((&november["state"], &november["units"]), (&json!("by_contract"), &json!(7_200)));
    let path = format!("{DOCUMENTS}/acme-2026-11-1");
    let late = desk.get(&path).await;
    assert_eq!((&late["cause"], late["lines"].as_array().unwrap().len()), (&"adjustment".into(), 2));
    assert_eq!(late["evidence"][0]["days"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn a_waiver_takes_the_minimum_back_and_late_cells_are_billed_as_reported() {
    let (desk, mut source) = desk().await;
    source.report(&desk.meter, &["2026-11-23 bot 800"]).await;
    let closed = noon().period().end().plus_ms(72 * HOUR_MS);
    set(&desk, closed);
    assert_eq!(close(&desk).await, 1);
    let waivers = format!("{CONTRACTS}/acme/waivers");
    let waiver = json!({ "period": "2026-11", "reason": "our own outage" });
    let made = desk.make(&waivers, &waiver).await;
    assert_eq!(made["document"]["amount"]["minor"], "-400");
    desk.post(&waivers, &waiver).await.is_problem("contract_refused", "again");
    desk.post(&waivers, &json!({ "period": "2026-10", "reason": "x" }))
        .await
        .is_problem("contract_refused", "before the term");
    source.report(&desk.meter, &["2026-11-23 bot 1100"]).await;
    assert_eq!(close(&desk).await, 0, "once a day");
    set(&desk, closed.plus_ms(25 * HOUR_MS));
    assert_eq!(close(&desk).await, 1);
    assert_eq!(
        told(&desk).await,
        [row(1_200, "400", "400"), row(800, "-400", "0"), row(1_100, "200", "200")]
    );
    let audit = desk.get("/api/v1/admin/audit").await.to_string();
    assert!(audit.contains("contract.minimum_waived") && audit.contains("our own outage"));
}

#[tokio::test]
async fn several_projects_share_volume_and_minimum() {
    let desk = Desk::new().await;
    desk.meter.project("edge", shared::plan::Plan::Community).await;
    let mut body = terms("acme");
    body["projects"] = json!(["acme", "edge"]);
    desk.make(CONTRACTS, &body).await;
    for (project, units) in [("acme", 700), ("edge", 600)] {
        let flush = format!(
            r#"{{"project":"{project}","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":1,"cells":[{{"day":"2026-11-23","kind":"verify","agent":"a","units":{units}}}]}}"#
        );
        assert_eq!(desk.meter.flush(&flush).await.status, 200);
    }
    set(&desk, noon().period().end().plus_ms(72 * HOUR_MS));
    close(&desk).await;
    assert_eq!(told(&desk).await, [row(1_300, "600", "600")], "300 beyond the volume, at 20.00 per 1,000");
}

/// Closes a month of 2,001 units, and once more with 100 that come late.
async fn close_twice(desk: &Desk, source: &mut Source) {
    let closed = noon().period().end().plus_ms(72 * HOUR_MS);
    for (cell, at) in [("2026-11-23 bot 2001", closed), ("2026-11-23 bot 2101", closed.plus_ms(25 * HOUR_MS))]
    {
        source.report(&desk.meter, &[cell]).await;
        set(desk, at);
        assert_eq!(close(desk).await, 1);
    }
}

#[tokio::test]
async fn an_invoice_says_the_same_in_three_forms_and_others_judge_it_well() {
    let (desk, mut source) = desk().await;
    close_twice(&desk, &mut source).await;
    // 1,001 beyond: 500 at 20.00 and 501 at 10.00 per 1,000 are 15.01; with 19 percent 2.85 are 17.86.
    let first = desk.get(&format!("{DOCUMENTS}/acme-2026-11-0")).await;
    assert_eq!(first["amount"]["minor"], "1501");
    let told = [("acme-2026-11-0", ["15.01", "2.85", "17.86"]), ("acme-2026-11-1", ["1.00", "0.19", "1.19"])];
    let pages = are_well_judged(&desk, &told).await;
    assert!(pages.iter().all(|page| page.contains("Meter &amp; Söhne GmbH")));
}

#[tokio::test]
async fn a_base_fee_is_on_the_first_invoice_alone_and_shared_by_days() {
    let mut body = terms("acme");
    body["first_day"] = "2026-11-16".into();
    body["base_fee"] = json!({ "minor": 10_001, "per": "month" });
    let (desk, mut source) = desk_with(body).await;
    close_twice(&desk, &mut source).await;
    // 15 of 30 days of 100.01 are 50.00; the overage is 15.01 as without it.
    let first = desk.get(&format!("{DOCUMENTS}/acme-2026-11-0")).await;
    let lines = first["lines"].as_array().unwrap();
    assert_eq!((&lines[0]["charge"], &lines[0]["amount"]["minor"]), (&json!("base_fee"), &json!("5000")));
    assert_eq!((lines.len(), &first["figures"]["base_fee"]["minor"]), (3, &json!("5000")));
    let told =
        [("acme-2026-11-0", ["65.01", "12.35", "77.36"]), ("acme-2026-11-1", ["1.00", "0.19", "1.19"])];
    let pages = are_well_judged(&desk, &told).await;
    assert!(pages[0].contains("Base fee") && !pages[1].contains("Base fee"));
}

/// Whether documents say these amounts as a page and as an electronic invoice that others judge well; the pages.
async fn are_well_judged(desk: &Desk, told: &[(&str, [&str; 3])]) -> Vec<String> {
    let (mut files, mut pages) = (Vec::new(), Vec::new());
    for (name, amounts) in told {
        let page = desk.meter.get(&format!("{DOCUMENTS}/{name}/page"), &desk.operator).await;
        let xml = desk.meter.get(&format!("{DOCUMENTS}/{name}/xml"), &desk.operator).await;
        assert_eq!((page.status, xml.status), (200, 200), "{page:?} {xml:?}");
        for amount in amounts {
            assert!(page.body.contains(&format!(">{amount}<")), "{amount}: {}", page.body);
            assert!(xml.body.contains(&format!(">{amount}<")), "{amount}: {}", xml.body);
        }
        assert!(xml.body.contains("4711 &lt;x&gt;"));
        let file = desk.meter.folder.path().join(format!("{name}.xml"));
        std::fs::write(&file, &xml.body).unwrap();
        files.push(file);
        pages.push(page.body);
    }
    // The rules of the norm itself, run by Saxon.
    let judge = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/e-invoice/judge.py");
    let judged = std::process::Command::new(crate::backend::e_invoice_python())
        .arg(judge)
        .args(&files)
        .output()
        .unwrap();
    assert!(judged.status.success(), "{judged:?}");
    pages
}
