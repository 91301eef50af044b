//! What edges refuse: counted once by its reason, shown wherever usage is, and never billed.

use std::time::Duration;

use aggregator::access::Role;
use shared::denials::DenialReason;
use shared::plan::Plan;

use crate::support::{Meter, project_id};

const SPAN: &str = "/api/v1/usage?from=2026-11-01&to=2026-11-30";

/// A flush of cells that were refused and of nothing else.
fn flush(project: &str, seq: u64, cells: &[(&str, &str, &str)]) -> String {
    let cell = |(day, agent, denials): &(&str, &str, &str)| {
        format!(r#"{{"day":"{day}","kind":"verify","agent":"{agent}","units":0,"denials":{denials}}}"#)
    };
    let cells = cells.iter().map(cell).collect::<Vec<_>>().join(",");
    format!(
        r#"{{"project":"{project}","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":{seq},"cells":[{cells}]}}"#
    )
}

/// Duplicates, an order that was turned round, and what comes late count nothing twice.
#[tokio::test]
async fn denials_are_counted_once_and_shown_wherever_usage_is() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Community).await;
    let token = meter.member("demo", Role::Viewer).await;
    let first = flush("demo", 1, &[("2026-11-22", "bot", r#"{"rate_limited":3}"#)]);
    let later = flush(
        "demo",
        2,
        &[
            ("2026-11-22", "bot", r#"{"rate_limited":5,"quota_exhausted":1,"of_a_later_release":9}"#),
            ("2026-11-23", "~none", r#"{"unauthorized":2}"#),
        ],
    );
    let other_life =
        later.replace("aaaaaaaa", "bbbbbbbb").replace("\"rate_limited\":5", "\"rate_limited\":1");
    for body in [&first, &later, &first, &later, &other_life, &first, &other_life] {
        assert_eq!(meter.flush(body).await.status, 200);
    }
    let usage = meter.get(SPAN, &token).await.value();
    let denied = serde_json::json!({"total": 12, "reasons": {
        "unauthorized": 4, "quota_exhausted": 2, "project_suspended": 0, "agent_limit": 0, "rate_limited": 6,
        "quota_contended": 0, "home_unavailable": 0
    }});
    assert_eq!((&usage["denied"], &usage["total"]), (&denied, &0.into()));
    assert_eq!((&usage["days"][21]["denied"], &usage["days"][22]["denied"]), (&8.into(), &4.into()));
    let by_day = meter.get(&format!("{SPAN}&group_by=day&format=csv"), &token).await.body;
    assert!(by_day.contains("2026-11-22,0,8\r\n2026-11-23,0,4\r\n"), "{by_day}");
    let by_kind = meter.get(&format!("{SPAN}&group_by=kind&format=csv"), &token).await.body;
    assert!(by_kind.contains("verify,0,12\r\n"), "{by_kind}");
    let lines = meter.get(&format!("{SPAN}&group_by=day,agent,kind&format=csv"), &token).await.body;
    let lines: Vec<&str> = lines.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "2026-11-22,bot,verify,0,0,0,0,0,2,0,0,6,0,0,0,0,0,0,0",
            "2026-11-23,~none,verify,0,0,0,0,4,0,0,0,0,0,0,0,0,0,0,0"
        ]
    );
    let page = meter.get(&format!("{SPAN}&group_by=day,agent,kind&limit=1"), &token).await.value();
    assert_eq!(page["groups"][0]["denied"], serde_json::json!({"quota_exhausted": 2, "rate_limited": 6}));
    let explained = meter.get("/api/v1/explain?period=2026-11", &token).await.value();
    assert_eq!(explained["denied"], denied);
    let before = meter.get("/api/v1/explain?period=2026-10", &token).await.value();
    assert_eq!(before["denied"]["total"], 0);
    let metrics = meter.get("/metrics", "").await.body;
    for reason in DenialReason::ALL {
        let count = &denied["reasons"][reason.as_str()];
        let line = format!("meter_denied_requests_total{{reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    assert_eq!(meter.app.store.audit(&project_id("demo")).await.unwrap(), Some(vec![]));
    // What was told to watchers adds up to the same.
    let shown = meter.app.store.shown(&project_id("demo"), 0, 100).await.unwrap();
    let told = shown.iter().filter(|event| event.kind == "denials.counted");
    let added = told.map(|event| {
        let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
        data["added"].as_u64().unwrap()
    });
    assert_eq!(added.sum::<u64>(), 12);
}

/// What shadow mode let through comes twice, late and in another life like what was refused, and stands beside it.
#[tokio::test]
async fn what_shadow_mode_let_through_adds_up_beside_what_was_refused_and_is_never_billed() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Pro).await;
    let token = meter.member("demo", Role::Viewer).await;
    let of = |seq, denials| flush("demo", seq, &[("2026-11-23", "bot", denials)]);
    let first = of(1, r#"{"rate_limited":1,"shadow_quota_exhausted":3}"#);
    let later =
        of(2, r#"{"rate_limited":1,"shadow_quota_exhausted":5,"shadow_agent_limit":2,"shadow_later":9}"#);
    let other_life = later.replace("aaaaaaaa", "bbbbbbbb");
    for body in [&first, &later, &first, &later, &other_life, &first, &other_life] {
        assert_eq!(meter.flush(body).await.status, 200);
    }
    let would = serde_json::json!({"total": 14, "reasons": {
        "unauthorized": 0, "quota_exhausted": 10, "project_suspended": 0, "agent_limit": 4, "rate_limited": 0,
        "quota_contended": 0, "home_unavailable": 0
    }});
    let usage = meter.get(SPAN, &token).await.value();
    assert_eq!((&usage["would_have_denied"], &usage["denied"]["total"]), (&would, &2.into()));
    assert_eq!((&usage["total"], &usage["days"][22]["denied"]), (&0.into(), &2.into()));
    let overview = meter.get("/api/v1/overview", &token).await.value();
    assert_eq!(overview["would_have_denied"], serde_json::json!({"today": would, "month": would}));
    assert_eq!(overview["denied"]["month"]["total"], 2);
    let explained = meter.get("/api/v1/explain?period=2026-11", &token).await.value();
    assert_eq!((&explained["would_have_denied"], &explained["denied"]["total"]), (&would, &2.into()));
    let lines = meter.get(&format!("{SPAN}&group_by=day,agent,kind&format=csv"), &token).await.body;
    assert_eq!(lines.lines().nth(1), Some("2026-11-23,bot,verify,0,0,0,0,0,0,0,0,2,0,0,10,4,0,0,0"));
    let page = meter.get(&format!("{SPAN}&group_by=day,agent,kind&limit=1"), &token).await.value();
    let line = &page["groups"][0];
    assert_eq!(line["would_have_denied"], serde_json::json!({"quota_exhausted": 10, "agent_limit": 4}));
    assert_eq!(line["denied"], serde_json::json!({"rate_limited": 2}));
    let metrics = meter.get("/metrics", "").await.body;
    assert!(metrics.contains("meter_denied_requests_total{reason=\"quota_exhausted\"} 0\n"), "{metrics}");
    assert_eq!(meter.app.store.audit(&project_id("demo")).await.unwrap(), Some(vec![]));
    // What was told to watchers adds up to the same.
    let shown = meter.app.store.shown(&project_id("demo"), 0, 100).await.unwrap();
    assert!(shown.iter().all(|event| event.kind == "denials.counted"), "{shown:?}");
    let told = shown.iter().map(|event| {
        let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
        let count = |reason: &str| data["would_have_denied"][reason].as_u64().unwrap_or(0);
        (data["added"].as_u64().unwrap(), count("quota_exhausted"), count("agent_limit"))
    });
    let sum = told.fold((0, 0, 0), |sum, told| (sum.0 + told.0, sum.1 + told.1, sum.2 + told.2));
    assert_eq!(sum, (2, 10, 4));
}

/// Two projects, one of which had a month of nothing but denials, are told and billed the same.
#[tokio::test]
async fn a_month_of_nothing_but_denials_bills_nothing_and_passes_no_level() {
    let meter = Meter::start().await;
    let reasons = DenialReason::ALL.map(|reason| format!("\"{reason}\":1000000")).join(",");
    let denials = format!("{{{reasons}}}");
    let mut told = Vec::new();
    for project in ["demo", "calm"] {
        meter.project(project, Plan::Pro).await;
        let denials = if project == "demo" { denials.as_str() } else { "{}" };
        let days: Vec<String> = (1..=23).map(|day| format!("2026-11-{day:02}")).collect();
        let cells: Vec<_> = days.iter().map(|day| (day.as_str(), "bot", denials)).collect();
        assert_eq!(meter.flush(&flush(project, 1, &cells)).await.status, 200);
        let token = meter.member(project, Role::Owner).await;
        let owned = |mut value: serde_json::Value, left_out: &str| {
            value.as_object_mut().unwrap().remove(left_out);
            value.to_string().replace("\"demo\"", "\"calm\"")
        };
        told.push([
            owned(meter.get("/api/v1/explain", &token).await.value(), "denied"),
            owned(meter.get("/api/v1/billing/plan", &token).await.value(), ""),
            owned(meter.get("/api/v1/billing/top-ups", &token).await.value(), ""),
            meter.app.store.ledger_as_text(&project_id(project)).await.unwrap().len().to_string(),
        ]);
        let usage = meter.get(SPAN, &token).await.value();
        let denied = if project == "demo" { 23 * 7 * 1_000_000 } else { 0 };
        assert_eq!((&usage["total"], &usage["denied"]["total"]), (&0.into(), &denied.into()));
        tokio::time::timeout(Duration::from_secs(5), async {
            let shown = meter.app.store.shown(&project_id(project), 0, 100).await.unwrap();
            assert!(shown.iter().all(|event| event.kind == "denials.counted"), "{shown:?}");
        })
        .await
        .unwrap();
    }
    assert_eq!(told[0], told[1]);
}
