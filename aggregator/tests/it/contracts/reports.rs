//! `POST /ingest` of reporters: what is taken, what is refused and told, and what is known of silence.

use aggregator::jobs::{contract_turn, reporter_watch};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::report::{ReportReceipt, ReporterKey};
use shared::sign::{Purpose, Signed, SigningKeys};
use shared::time::Timestamp;

use super::support::{CONTRACTS, Desk, REPORTERS, terms};
use crate::support::{Answer, Meter, noon, project_id};

pub(super) const HOUR_MS: u64 = 3_600_000;

/// A data folder of a reporter.
#[derive(Clone)]
pub(super) struct Source {
    key: ReporterKey,
    life: &'static str,
    seq: u64,
    previous: String,
}

impl Source {
    pub(super) fn new(key: &str, life: &'static str) -> Self {
        Self { key: ReporterKey::parse(key).unwrap(), life, seq: 0, previous: "0".repeat(64) }
    }

    /// The next report: `cells` are `day agent units`.
    pub(super) fn next(&mut self, cells: &[&str]) -> String {
        let cells: Vec<Value> = cells
            .iter()
            .map(|cell| {
                let [day, agent, units] = cell.split(' ').collect::<Vec<_>>()[..] else { panic!("{cell}") };
                let units: u64 = units.parse().unwrap();
                json!({ "day": day, "kind": "verify", "agent": agent, "units": units })
            })
            .collect();
        self.seq += 1;
        let body = json!({
            "schema": 1, "source": self.key.source(), "incarnation": self.life, "seq": self.seq,
            "previous": self.previous, "environment": "production", "cells": cells,
        })
        .to_string();
        self.previous = base16ct::lower::encode_string(&Sha256::digest(&body));
        body
    }

    pub(super) fn sign(&self, body: &str, at: Timestamp) -> String {
        Signed { method: "POST", path: "/ingest", body: body.as_bytes() }.sign(self.key.signing(), at)
    }

    pub(super) async fn send(&self, meter: &Meter, body: &str) -> Answer {
        meter.signed_flush(&self.sign(body, meter.app.clock.now()), body).await
    }

    /// Sends the next report, which must be taken.
    pub(super) async fn report(&mut self, meter: &Meter, cells: &[&str]) -> ReportReceipt {
        let body = self.next(cells);
        self.opened(&self.send(meter, &body).await, meter)
    }

    /// The receipt, whose signature must be by the reporter's own key.
    fn opened(&self, answer: &Answer, meter: &Meter) -> ReportReceipt {
        assert_eq!(answer.status, 200, "{answer:?}");
        let keys = SigningKeys::of(vec![self.key.signing().clone()]);
        Signed { method: "POST", path: "/ingest", body: answer.body.as_bytes() }
            .verify(
                answer.header("palveron-signature").unwrap(),
                &keys,
                Purpose::Reporter,
                meter.app.clock.now(),
            )
            .unwrap();
        serde_json::from_str(&answer.body).unwrap()
    }
}

async fn desk() -> (Desk, Source) {
    let desk = Desk::new().await;
    desk.make(CONTRACTS, &terms("acme")).await;
    let key = desk.reporter("acme", "berlin").await;
    let source = Source::new(&key, "aaaaaaaa");
    (desk, source)
}

async fn state(desk: &Desk) -> String {
    desk.get(&format!("{REPORTERS}/berlin")).await["state"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_report_is_merged_and_its_receipt_is_signed_and_has_the_policy() {
    let (desk, mut source) = desk().await;
    let meter = &desk.meter;
    let receipt = source.report(meter, &["2026-11-22 bot 3", "2026-11-23 bot 2"]).await;
    assert_eq!((receipt.watermark, receipt.project.as_str()), (1, "acme"));
    assert_eq!(receipt.silent_at, noon().plus_ms(72 * HOUR_MS + 1));
    assert_eq!((receipt.policy.rpm, receipt.policy.allowance.included.get()), (6_000, 1_000));
    let before = meter.cells("acme").await;
    assert_eq!(before.len(), 2);
    assert!(before[0].contains("bot verify berlin aaaaaaaa units=3"), "{before:?}");
    assert_eq!(source.report(meter, &["2026-11-23 bot 7"]).await.watermark, 2);
    // The first one again, byte for byte, and signed anew.
    let mut again = Source { seq: 0, previous: "0".repeat(64), ..source.clone() };
    let body = again.next(&["2026-11-22 bot 3", "2026-11-23 bot 2"]);
    assert_eq!(source.opened(&source.send(meter, &body).await, meter).watermark, 2);
    let total = desk.get("/api/v1/usage?project=acme&from=2026-11-01&to=2026-11-30").await;
    assert_eq!(total["total"], 10);
    assert_eq!(meter.app.store.audit(&project_id("acme")).await.unwrap(), Some(vec![]));
}

#[tokio::test]
async fn what_is_not_by_the_reporters_key_in_time_and_form_is_refused() {
    let (desk, mut source) = desk().await;
    let meter = &desk.meter;
    let body = source.next(&["2026-11-23 bot 1"]);
    let foreign = Source::new(&desk.reporter("acme", "paris").await, "aaaaaaaa");
    foreign.send(meter, &body).await.refuses("source", "another reporter's key");
    let other = source.sign(&body.replace("\"bot\"", "\"bat\""), noon());
    meter.signed_flush(&other, &body).await.is_problem("signature_rejected", "another body");
    let late = source.sign(&body, noon().plus_ms(301_000));
    meter.signed_flush(&late, &body).await.is_problem("signature_expired", "a wrong clock");
    assert_eq!(state(&desk).await, "refused_clock");
    for (from, to, field) in [
        ("\"schema\":1", "\"schema\":2", "schema"),
        ("\"seq\":1", "\"seq\":0", "seq"),
        ("\"environment\":\"production\"", "\"environment\":\"development\"", "environment"),
        ("\"schema\":1", "\"schema\":1,\"note\":\"free text\"", "note"),
    ] {
        let body = body.replace(from, to);
        source.send(meter, &body).await.refuses(field, &body);
    }
    source.send(meter, &body[..body.len() - 9]).await.is_problem("malformed_json", "cut off");
    assert!(meter.cells("acme").await.is_empty());
    source.opened(&source.send(meter, &body).await, meter);
    assert_eq!(state(&desk).await, "ok", "what was refused before is over");
    let key = source.key.signing().id().clone();
    desk.delete(&format!("{REPORTERS}/berlin/keys/{key}")).await;
    let next = source.next(&[]);
    source.send(meter, &next).await.is_problem("signature_rejected", "a revoked key");
    assert_eq!(state(&desk).await, "refused_key");
    // Its successor goes on where it stopped.
    let mut successor = Source { key: ReporterKey::parse(&desk.key("berlin").await).unwrap(), ..source };
    successor.opened(&successor.send(meter, &next).await, meter);
    assert_eq!(successor.report(meter, &[]).await.watermark, 3);
    assert_eq!(state(&desk).await, "ok");
}

#[tokio::test]
async fn a_cloned_folder_and_a_standby_are_refused_loudly_until_one_is_promoted() {
    let (desk, mut source) = desk().await;
    let meter = &desk.meter;
    source.report(meter, &["2026-11-23 bot 5"]).await;
    let mut clone = source.clone();
    source.report(meter, &["2026-11-23 bot 6"]).await;
    let cells = meter.cells("acme").await;
    let other = clone.next(&["2026-11-23 bot 900"]);
    clone.send(meter, &other).await.is_problem("reporter_forked", "another body under a number");
    let next = clone.next(&["2026-11-23 bot 901"]);
    clone.send(meter, &next).await.is_problem("reporter_forked", "it does not follow");
    let mut standby = Source::new(&desk.key("berlin").await, "bbbbbbbb");
    let first = standby.next(&["2026-11-23 bot 2"]);
    let refused = standby.send(meter, &first).await;
    refused.is_problem("reporter_forked", "a second life");
    assert!(refused.body.contains("meter reporter promote berlin bbbbbbbb"), "{refused:?}");
    assert_eq!(meter.cells("acme").await, cells, "nothing of it was counted");
    let shown = desk.get(&format!("{REPORTERS}/berlin")).await;
    assert_eq!((shown["forks"].as_array().unwrap().len(), shown["forked_at"].is_string()), (3, true));
    let promote = format!("{REPORTERS}/berlin/promote");
    let promoted = desk.post(&promote, &json!({ "incarnation": "bbbbbbbb" })).await.value();
    assert_eq!((&promoted["incarnation"], &promoted["forked_at"]), (&"bbbbbbbb".into(), &Value::Null));
    standby.opened(&standby.send(meter, &first).await, meter);
    let body = source.next(&["2026-11-23 bot 7"]);
    source.send(meter, &body).await.is_problem("reporter_forked", "the one before");
    let total = desk.get("/api/v1/usage?project=acme&from=2026-11-01&to=2026-11-30").await;
    assert_eq!(total["total"], 8, "both lives' units count");
}

#[tokio::test]
async fn carried_reports_come_in_any_order_at_any_age_and_once() {
    let (desk, mut source) = desk().await;
    let meter = &desk.meter;
    let bodies: Vec<String> =
        (1..=4).map(|units| source.next(&[&format!("2026-11-23 bot {units}")])).collect();
    let signed: Vec<String> = bodies.iter().map(|body| source.sign(body, noon())).collect();
    let carry = async |at: usize| {
        let headers = [("palveron-signature", signed[at].as_str()), ("content-type", "application/json")];
        source.opened(&meter.send("POST", "/ingest/carried", &headers, &bodies[at]).await, meter)
    };
    meter.app.clock.set(noon().plus_ms(60 * HOUR_MS));
    assert_eq!(carry(2).await.watermark, 0, "there is a hole before it");
    assert_eq!(carry(0).await.watermark, 1);
    assert_eq!(carry(3).await.watermark, 1);
    assert_eq!(carry(1).await.watermark, 4, "the hole is filled");
    let heard = desk.get(&format!("{REPORTERS}/berlin")).await["heard_at"].clone();
    let cells = meter.cells("acme").await;
    meter.app.clock.set(noon().plus_ms(9_000 * HOUR_MS));
    for at in [3, 0, 2, 1] {
        assert_eq!(carry(at).await.watermark, 4);
    }
    assert_eq!(meter.cells("acme").await, cells, "a year later it changes nothing");
    assert_eq!(desk.get(&format!("{REPORTERS}/berlin")).await["heard_at"], heard, "nor does it live");
    meter.signed_flush(&signed[0], &bodies[0]).await.is_problem("signature_expired", "not as if just sent");
}

#[tokio::test]
async fn silence_is_told_at_a_day_at_two_and_when_it_is_too_long_once_each() {
    let (desk, mut source) = desk().await;
    let app = &desk.meter.app;
    source.report(&desk.meter, &[]).await;
    let told = async |hours: u64, ms: u64| {
        app.clock.set(noon().plus_ms(hours * HOUR_MS + ms));
        (reporter_watch::watch(app).await.unwrap(), state(&desk).await)
    };
    assert_eq!(told(23, 0).await, (0, "ok".to_owned()));
    assert_eq!(told(24, 0).await, (1, "late".to_owned()));
    assert_eq!(told(24, 0).await, (0, "late".to_owned()));
    assert_eq!(told(72, 0).await, (1, "late".to_owned()), "two days were over");
    assert_eq!(desk.get(&format!("{REPORTERS}/berlin")).await["hours_left"], 0);
    let counted = async |state: &str| {
        let numbers = desk.meter.get("/metrics", &desk.operator).await.body;
        numbers
            .lines()
            .find(|line| line.contains(&format!(r#"reporters{{state="{state}"}}"#)))
            .map(str::to_owned)
    };
    assert_eq!(counted("late").await.as_deref(), Some(r#"meter_reporters{state="late"} 1"#));
    assert_eq!(told(72, 1).await, (1, "silent".to_owned()));
    assert_eq!(counted("silent").await.as_deref(), Some(r#"meter_reporters{state="silent"} 1"#));
    assert_eq!(counted("late").await.as_deref(), Some(r#"meter_reporters{state="late"} 0"#));
    assert_eq!(told(500, 0).await, (0, "silent".to_owned()));
    let id = project_id("acme");
    let (webhook, _) = desk.meter.webhook("acme", "https://example.com/").await;
    drop(webhook);
    source.report(&desk.meter, &[]).await;
    assert_eq!(told(501, 0).await, (0, "ok".to_owned()));
    assert_eq!(told(525, 0).await, (1, "late".to_owned()), "another silence");
    desk.delete(&format!("{REPORTERS}/berlin")).await;
    reporter_watch::watch(app).await.unwrap();
    assert_eq!(counted("late").await.as_deref(), Some(r#"meter_reporters{state="late"} 0"#), "it is retired");
    assert_eq!(app.store.audit(&id).await.unwrap(), Some(vec![]));
}

#[tokio::test]
async fn after_the_term_reports_are_taken_for_72_hours_and_serving_is_stopped() {
    let (desk, mut source) = desk().await;
    let app = &desk.meter.app;
    desk.post(&format!("{CONTRACTS}/acme/end"), &json!({ "last_day": "2026-11-30" })).await;
    let end = noon().period().end();
    app.clock.set(end.plus_ms(71 * HOUR_MS));
    let receipt = source.report(&desk.meter, &["2026-11-30 bot 9"]).await;
    assert_eq!(receipt.policy.status, shared::policy::Status::Suspended);
    assert_eq!(state(&desk).await, "contract_ended");
    app.clock.set(end.plus_ms(72 * HOUR_MS));
    let body = source.next(&[]);
    source.send(&desk.meter, &body).await.is_problem("contract_ended", "too late");
    assert_eq!(reporter_watch::watch(app).await.unwrap(), 0, "nothing is expected of it");
}

#[tokio::test]
async fn before_the_first_day_a_reporter_serves_and_its_units_are_shown_and_not_billed() {
    let desk = Desk::new().await;
    let mut body = terms("acme");
    body["first_day"] = "2026-12-01".into();
    desk.make(CONTRACTS, &body).await;
    let mut source = Source::new(&desk.reporter("acme", "berlin").await, "aaaaaaaa");
    let receipt = source.report(&desk.meter, &["2026-11-23 bot 2000"]).await;
    let policy = receipt.policy;
    assert_eq!(receipt.billed_from.map(|day| day.to_string()), Some("2026-12-01".to_owned()));
    assert_eq!((policy.status, policy.rpm), (shared::policy::Status::Active, 6_000));
    assert_eq!(policy.allowance.included.get(), 1_000, "the contract's volume, not the quota of community");
    let end = noon().period().end();
    desk.meter.app.clock.set(end.plus_ms(HOUR_MS));
    contract_turn::turn_due(&desk.meter.app).await.unwrap();
    // One report has days of both sides, and what is late for November is not billed either.
    let both = ["2026-11-23 bot 2003", "2026-11-30 bot 40", "2026-12-01 bot 5"];
    let receipt = source.report(&desk.meter, &both).await;
    assert_eq!((receipt.billed_from, receipt.watermark), (None, 2));
    assert_eq!(receipt.silent_at, end.plus_ms(73 * HOUR_MS + 1), "it had to report from the first day on");
    let usage = "/api/v1/usage?project=acme&from=2026-11-01&to=2026-12-31";
    assert_eq!(desk.get(usage).await["total"], 5);
    assert_eq!(desk.get(&format!("{usage}&mode=test")).await["total"], 2_043);
    assert_eq!(desk.meter.app.store.audit(&project_id("acme")).await.unwrap(), Some(vec![]));
}

#[tokio::test]
async fn units_of_development_are_apart_and_not_billed() {
    let desk = Desk::new().await;
    desk.make(CONTRACTS, &terms("acme")).await;
    let new = json!({ "id": "berlin", "rpm": 60, "environment": "development" });
    desk.make(&format!("{CONTRACTS}/acme/reporters"), &new).await;
    let mut source = Source::new(&desk.key("berlin").await, "aaaaaaaa");
    let body = source.next(&["2026-11-23 bot 4"]).replace("production", "development");
    source.opened(&source.send(&desk.meter, &body).await, &desk.meter);
    let usage = "/api/v1/usage?project=acme&from=2026-11-01&to=2026-11-30";
    assert_eq!(desk.get(usage).await["total"], 0);
    assert_eq!(desk.get(&format!("{usage}&mode=test")).await["total"], 4);
}
