//! The overview: every figure of one state of the books, and the same wherever it is shown.

use aggregator::access::Role;
use serde_json::{Value, json};
use shared::plan::Plan;

use crate::support::{Meter, project_id};

async fn meter(plan: Plan) -> (Meter, String) {
    let meter = Meter::start().await;
    meter.project("demo", plan).await;
    let token = meter.member("demo", Role::Viewer).await;
    (meter, token)
}

/// So many units and refused requests of agents a and b in all, today.
async fn count(meter: &Meter, seq: u64, units: u64, refused: u64) {
    let cell = |agent: &str, kind: &str, units: u64, refused: u64| {
        let mut cell = json!({ "day": "2026-11-23", "kind": kind, "agent": agent, "units": units });
        if refused > 0 {
            cell["denials"] = json!({ "rate_limited": refused });
        }
        cell
    };
    let flush = json!({
        "project": "demo", "mode": "live", "source": "home", "incarnation": "aaaaaaaa", "seq": seq,
        "cells": [cell("a", "verify", units, refused), cell("b", "mcp_tool_call", units.div_euclid(2), 0)],
    });
    let answer = meter.flush(&flush.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn overview(meter: &Meter, token: &str) -> Value {
    let answer = meter.get("/api/v1/overview", token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.value()
}

#[tokio::test]
async fn api_report_csv_and_stream_agree_at_one_watermark() {
    let (meter, token) = meter(Plan::Pro).await;
    for seq in 1..=7 {
        count(&meter, seq, seq * 1_001, seq * 3).await;
        let shown = overview(&meter, &token).await;
        let watermark = shown["watermark"].as_u64().unwrap();
        let used = shown["month"]["used"].as_u64().unwrap();
        assert_eq!(used, seq * 1_001 + (seq * 1_001).div_euclid(2), "{shown}");

        // The stream's events up to the watermark add up to the same, and its last one says so.
        let told = meter.app.store.shown(&project_id("demo"), 0, 1_000).await.unwrap();
        assert_eq!(told.last().unwrap().number, watermark);
        let of = |kind: &str| -> Vec<Value> {
            let of = told.iter().filter(|event| event.kind == kind);
            of.map(|event| serde_json::from_str(&event.data).unwrap()).collect()
        };
        let counted = of("usage.counted");
        assert_eq!(counted.iter().map(|event| event["added"].as_u64().unwrap()).sum::<u64>(), used);
        assert_eq!(counted.last().unwrap()["used"], used);
        let refused: u64 = of("denials.counted").iter().map(|event| event["added"].as_u64().unwrap()).sum();
        assert_eq!((&shown["denied"]["today"]["total"], refused), (&json!(seq * 3), seq * 3));

        let report = meter.get("/api/v1/usage?from=2026-11-01&to=2026-11-23", &token).await;
        assert_eq!(report.header("palveron-watermark"), Some(&*watermark.to_string()));
        assert_eq!(report.header("palveron-as-of"), shown["as_of"].as_str());
        assert_eq!(report.value()["total"], used);
        assert_eq!(report.value()["denied"], shown["denied"]["month"]);
        let today = report.value()["days"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&today["units"], &today["kinds"]), (&shown["today"]["units"], &shown["today"]["kinds"]));
        let csv =
            meter.get("/api/v1/usage?from=2026-11-01&to=2026-11-23&group_by=kind&format=csv", &token).await;
        assert_eq!(csv.header("palveron-watermark"), Some(&*watermark.to_string()));
        let head: Vec<&str> = csv.body.lines().next().unwrap().split(',').collect();
        let column = head.iter().position(|name| *name == "units").unwrap();
        let sum: u64 = csv
            .body
            .lines()
            .skip(1)
            .map(|line| line.split(',').nth(column).unwrap().parse::<u64>().unwrap())
            .sum();
        assert_eq!(sum, used, "{}", csv.body);
        let plan = meter.get("/api/v1/billing/plan", &token).await.value();
        assert_eq!(plan["used"], used);
        assert_eq!(plan["forecast"], shown["month"]["forecast"]);
    }
}

#[tokio::test]
async fn the_month_is_paid_by_quota_then_lots_and_then_overage() {
    let (meter, token) = meter(Plan::Pro).await;
    let operator = meter.operator().await;
    for units in [5_000, 7_000] {
        let body = json!({ "units": units, "reason": "a gift" }).to_string();
        let given = meter.json("POST", "/api/v1/admin/projects/demo/credits", &operator, &body).await;
        assert_eq!(given.status, 201, "{given:?}");
    }
    // 18,000 units: 10,000 of the quota, 5,000 of the first lot, 3,000 of the second.
    count(&meter, 1, 12_000, 0).await;
    // They were the limit of one minute, which is over.
    meter.app.clock.set(meter.app.clock.now().plus_ms(60_000));
    let shown = overview(&meter, &token).await;
    let parts = shown["month"]["parts"].as_array().unwrap();
    let told: Vec<_> =
        parts.iter().map(|part| (part["source"].as_str().unwrap(), &part["used"], &part["left"])).collect();
    let n = |units: u64| json!(units);
    assert_eq!(
        told,
        [
            ("included", &n(10_000), &n(0)),
            ("lot", &n(5_000), &n(0)),
            ("lot", &n(3_000), &n(4_000)),
            ("overage", &n(0), &n(0)),
        ]
    );
    assert_eq!((&parts[3]["state"], &shown["month"]["uncovered"]), (&json!("off"), &n(0)));
    let limit = &shown["limit"];
    assert_eq!(
        (&limit["binding"], &limit["used"], &limit["of"]),
        (&json!("monthly_quota"), &n(18_000), &n(22_000))
    );
    assert_eq!((&limit["percent"], &limit["switch"]), (&n(81), &json!("auto_overage")));
    assert_eq!(
        limit["at_full"],
        "At 22000 units requests are denied until 2026-12-01T00:00:00Z; overage is off."
    );
    // With overage and no cap nothing ends, and what is nearest is the limit per minute.
    let owner = meter.member("demo", Role::Owner).await;
    let on = meter.json("PUT", "/api/v1/billing/plan", &owner, r#"{"auto_overage":true}"#).await;
    assert_eq!(on.status, 200, "{on:?}");
    count(&meter, 2, 16_000, 0).await;
    let shown = overview(&meter, &token).await;
    let overage = shown["month"]["parts"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&overage["used"], &overage["left"], &overage["state"]),
        (&n(2_000), &Value::Null, &json!("on"))
    );
    assert_eq!(shown["limit"]["binding"], "rpm");
    assert_eq!(shown["month"]["forecast"]["outcome"], "lasts");
}

#[tokio::test]
async fn what_goes_on_is_shown_and_what_is_silent_too() {
    let (meter, token) = meter(Plan::Community).await;
    let shown = overview(&meter, &token).await;
    assert_eq!(shown["flush"], json!({ "last_at": null, "age_ms": null }));
    assert_eq!(shown["watermark"], 0);
    assert_eq!(shown["webhooks"], json!({ "well": 0, "failing": 0, "disabled": 0, "waiting": 0 }));
    meter.delivery("demo").await;
    count(&meter, 1, 40, 2).await;
    meter.app.clock.set(meter.app.clock.now().plus_ms(59_999));
    let shown = overview(&meter, &token).await;
    assert_eq!(shown["flush"], json!({ "last_at": "2026-11-23T12:00:00Z", "age_ms": 59_999 }));
    assert_eq!(shown["rpm"], json!({ "limit": 60, "last_minute": 60, "percent": 100 }));
    assert_eq!((&shown["limit"]["binding"], &shown["limit"]["percent"]), (&json!("rpm"), &json!(100)));
    assert_eq!(shown["webhooks"], json!({ "well": 1, "failing": 0, "disabled": 0, "waiting": 1 }));
    meter.app.clock.set(meter.app.clock.now().plus_ms(1));
    let shown = overview(&meter, &token).await;
    assert_eq!(shown["rpm"]["last_minute"], 0, "a minute later");
    // Two of five agents are more of their limit than 60 of 1,000 units.
    assert_eq!((&shown["limit"]["binding"], &shown["limit"]["used"]), (&json!("agents"), &json!(2)));
    let operator = meter.operator().await;
    let body = r#"{"suspended":true}"#;
    assert_eq!(meter.json("PATCH", "/api/v1/admin/projects/demo", &operator, body).await.status, 200);
    assert_eq!(overview(&meter, &token).await["limit"]["binding"], "suspended");
}
