//! A draft of the plan catalogue over real months: what it says adds up, and nothing is changed by asking.

use aggregator::clock::Clock;
use aggregator::http::Timeouts;
use aggregator::jobs::month_close;
use serde_json::{Value, json};
use shared::plan::{Catalogue, Plan};
use shared::time::Day;

use crate::support::{Folder, Meter, noon};

const WHAT_IF: &str = "/api/v1/admin/plans/what-if";

/// Three projects that are used in September and October: pro with overage, pro within its quota, and community.
async fn used() -> (Meter, String) {
    let september = Day::parse("2026-09-01").unwrap().start();
    let meter = Meter::start_with(Folder::new(), Clock::manual(september), Timeouts::default()).await;
    let operator = meter.operator().await;
    for (project, plan) in [("large", Plan::Pro), ("middle", Plan::Pro), ("small", Plan::Community)] {
        meter.project(project, plan).await;
    }
    let overage = r#"{"auto_overage":true}"#;
    let set = meter.json("PUT", "/api/v1/billing/plan?project=large", &operator, overage).await;
    assert_eq!(set.status, 200, "{set:?}");
    for (day, at) in [("2026-09-10", "2026-09-11"), ("2026-10-10", "2026-10-11")] {
        meter.app.clock.set(Day::parse(at).unwrap().start());
        for (project, units) in [("large", 13_000), ("middle", 9_000), ("small", 900)] {
            let body = json!({"project": project, "mode": "live", "source": "home", "incarnation": format!("{day}a").replace('-', ""),
                "seq": 1, "cells": [{"day": day, "kind": "verify", "agent": "a", "units": units}]});
            let answer = meter.flush(&body.to_string()).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    meter.app.clock.set(noon());
    month_close::close_due(&meter.app).await.unwrap();
    (meter, operator)
}

fn draft(changes: &[(&str, &str)]) -> Value {
    let text = changes.iter().fold(Catalogue::DEFAULT_JSON.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    serde_json::from_str(&text).unwrap()
}

fn minor(value: &Value) -> i128 {
    value["minor"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_a_draft_comes_to_adds_up_and_changes_nothing() {
    let (meter, operator) = used().await;
    let before = meter.get("/api/v1/billing/plan?project=large", &operator).await.value();
    // Pro costs 10.00 more, and its overage 1.00 more a thousand.
    let dearer = draft(&[
        ("\"version\": 1", "\"version\": 2"),
        ("\"price_month\": 4900", "\"price_month\": 5900"),
        ("\"overage_per_1000\": 600", "\"overage_per_1000\": 700"),
    ]);
    let ask = async |body: Value| meter.json("POST", WHAT_IF, &operator, &body.to_string()).await;
    let answer = ask(json!({ "catalogue": dearer, "months": 3 })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let came = answer.value();
    assert_eq!(came["months"], json!(["2026-08", "2026-09", "2026-10"]));
    let fields: Vec<&str> =
        came["differences"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["plans.pro.overage_per_1000", "plans.pro.price_month"]);
    let projects = came["projects"].as_array().unwrap();
    let told: Vec<(&str, i128, i128, i128)> = projects
        .iter()
        .map(|one| {
            (
                one["project"].as_str().unwrap(),
                minor(&one["before"]),
                minor(&one["after"]),
                minor(&one["change"]),
            )
        })
        .collect();
    // Two months of 49.00 and 3,000 units at 6.00 a thousand; then of 59.00 and at 7.00.
    assert_eq!(
        told,
        [("large", 13_400, 16_000, 2_600), ("middle", 9_800, 11_800, 2_000), ("small", 0, 0, 0)]
    );
    let sum = |side: &str| projects.iter().map(|one| minor(&one[side])).sum::<i128>();
    for side in ["before", "after", "change"] {
        assert_eq!(minor(&came["total"][side]), sum(side), "{side}");
    }
    assert_eq!((&came["total"]["projects"], &came["others"]["projects"]), (&json!(3), &json!(0)));
    assert_eq!((&came["contracted"], &came["left_out"]), (&json!(0), &json!(0)));

    // Fewer are named, and the others are one line that adds up to the same.
    let few = ask(json!({ "catalogue": draft(&[("\"price_month\": 4900", "\"price_month\": 100")]), "months": 2, "top": 1 })).await.value();
    let named = minor(&few["projects"][0]["change"]);
    assert_eq!(minor(&few["total"]["change"]), named + minor(&few["others"]["change"]));
    assert_eq!((&few["projects"].as_array().unwrap().len(), &few["others"]["projects"]), (&1, &json!(2)));
    assert_eq!(minor(&few["total"]["change"]), -4 * 4_800, "cheaper is less than nothing");

    assert_eq!(meter.get("/api/v1/billing/plan?project=large", &operator).await.value(), before);
    assert_eq!(meter.app.store.newest_catalogue().await.unwrap().version, 1, "nothing was applied");
}

#[tokio::test]
async fn a_smaller_quota_says_who_would_have_been_refused_and_a_draft_like_the_present_changes_nothing() {
    let (meter, operator) = used().await;
    let ask = async |body: Value| meter.json("POST", WHAT_IF, &operator, &body.to_string()).await;
    let smaller = draft(&[("\"included\": 10000", "\"included\": 8000")]);
    let came = ask(json!({ "catalogue": smaller })).await.value();
    let of = |project: &str| {
        came["projects"].as_array().unwrap().iter().find(|one| one["project"] == project).unwrap().clone()
    };
    assert_eq!(
        (minor(&of("large")["change"]), &of("large")["refused"]),
        (2 * 1_200, &json!(0)),
        "it has overage"
    );
    assert_eq!((minor(&of("middle")["change"]), &of("middle")["refused"]), (0, &json!(2_000)), "a hard stop");
    let same = ask(json!({ "catalogue": draft(&[]) })).await.value();
    assert_eq!((minor(&same["total"]["change"]), &same["differences"]), (0, &json!([])));
}

#[tokio::test]
async fn what_is_no_draft_is_refused() {
    let (meter, operator) = used().await;
    let ask = async |body: Value| meter.json("POST", WHAT_IF, &operator, &body.to_string()).await;
    ask(json!({})).await.refuses("catalogue", "none");
    ask(json!({ "catalogue": {} })).await.refuses("catalogue", "an empty one");
    ask(json!({ "catalogue": "plans.json" })).await.refuses("catalogue", "a file's name");
    let dollars = draft(&[("\"currency\": \"eur\"", "\"currency\": \"usd\"")]);
    ask(json!({ "catalogue": dollars })).await.refuses("catalogue", "another currency");
    for months in [json!(0), json!(26), json!("3")] {
        ask(json!({ "catalogue": draft(&[]), "months": months })).await.refuses("months", "how many");
    }
    ask(json!({ "catalogue": draft(&[]), "top": 501 })).await.refuses("top", "too many");
}

const PLANS: &str = "/api/v1/admin/plans";

#[tokio::test]
async fn a_catalogue_is_applied_once_and_one_that_is_outrun_is_refused() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Pro).await;
    let operator = meter.operator().await;
    let apply = async |catalogue: Value| {
        meter.json("POST", PLANS, &operator, &json!({ "catalogue": catalogue }).to_string()).await
    };
    let second = draft(&[("\"version\": 1", "\"version\": 2"), ("\"grace_days\": 7", "\"grace_days\": 5")]);
    for applied in [true, false] {
        let answer = apply(second.clone()).await;
        assert_eq!((answer.status, answer.value()), (200, json!({ "version": 2, "applied": applied })));
    }
    let outrun = draft(&[("\"version\": 1", "\"version\": 2")]);
    apply(outrun).await.refuses("version", "another one of that version");
    apply(draft(&[])).await.refuses("version", "an older one");
    apply(json!({})).await.refuses("catalogue", "an empty one");
    let shown = meter.get(PLANS, &operator).await.value();
    let told: Vec<(&Value, &Value)> =
        shown["versions"].as_array().unwrap().iter().map(|one| (&one["version"], &one["projects"])).collect();
    assert_eq!(told, [(&json!(1), &json!(1)), (&json!(2), &json!(0))]);
    assert_eq!(shown["versions"][1]["catalogue"], second);
}

#[tokio::test]
async fn migrations_go_on_where_the_call_before_ended_and_skip_what_is_done() {
    let meter = Meter::start().await;
    let operator = meter.operator().await;
    for number in 0..203 {
        meter.project(&format!("p{number:03}"), if number == 0 { Plan::Pro } else { Plan::Community }).await;
    }
    let second = draft(&[("\"version\": 1", "\"version\": 2"), ("\"rpm\": 600", "\"rpm\": 700")]);
    meter
        .app
        .store
        .apply_catalogue(&Catalogue::from_json(&second.to_string()).unwrap(), noon())
        .await
        .unwrap();
    let path = format!("{PLANS}/migrate");
    let ask = async |body: Value| meter.json("POST", &path, &operator, &body.to_string()).await;
    let only = ask(json!({ "project": "p000", "do": false })).await.value();
    let rpm = json!([{ "field": "limits.rpm", "from": 600, "to": 700 }]);
    assert_eq!((&only["projects"][0]["differences"], &only["projects"][0]["done"]), (&rpm, &json!(false)));
    assert_eq!(ask(json!({ "plan": "pro", "do": true })).await.value()["projects"][0]["done"], true);
    let (mut after, mut done) = (None, Vec::new());
    loop {
        let mut body = json!({ "do": true });
        if let Some(after) = after {
            body["after"] = after;
        }
        let came = ask(body).await.value();
        done.extend(came["projects"].as_array().unwrap().iter().map(|one| one["project"].clone()));
        if came["next"].is_null() {
            break;
        }
        after = Some(came["next"].clone());
    }
    assert_eq!((done.len(), &done[0]), (202, &json!("p001")), "the first was brought there before");
    assert_eq!(meter.app.store.projects_by_catalogue().await.unwrap(), [(2, 203)].into());
    ask(json!({})).await.refuses("do", "neither");
    ask(json!({ "project": "nobody", "do": true })).await.is_problem("project_unknown", "nobody");
}
