//! The ledger over HTTP: crossings, late cells, plans, overage, credits and what is shown of them.

use aggregator::access::Role;
use aggregator::jobs::{audit, month_close};
use aggregator::ledger::close::CLOSE_WITHIN_MS;
use shared::plan::Plan;
use shared::time::Timestamp;
use shared::wire::FlushAck;

use crate::backend;
use crate::support::{Answer, Meter, noon, project_id, signing_keys};

/// A cell: (incarnation, day, agent, units so far).
type Report<'a> = (&'a str, &'a str, &'a str, u64);

fn body(seq: u64, reports: &[Report<'_>]) -> String {
    let cells: Vec<String> = reports
        .iter()
        .map(|(_, day, agent, units)| {
            format!(r#"{{"day":"{day}","kind":"verify","agent":"{agent}","units":{units}}}"#)
        })
        .collect();
    format!(
        r#"{{"project":"demo","mode":"live","source":"home","incarnation":"{}","seq":{seq},"cells":[{}]}}"#,
        reports[0].0,
        cells.join(",")
    )
}

async fn send(meter: &Meter, reports: &[Report<'_>]) -> Answer {
    let answer = meter.flush(&body(1, reports)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

async fn meter(plan: Plan) -> Meter {
    let meter = Meter::start().await;
    meter.project("demo", plan).await;
    meter
}

async fn lines(meter: &Meter, kind: &str) -> Vec<String> {
    let all = meter.app.store.ledger_as_text(&project_id("demo")).await.unwrap();
    all.into_iter().filter(|line| line.starts_with(kind)).collect()
}

async fn is_clean(meter: &Meter) {
    let findings = meter.app.store.audit(&project_id("demo")).await.unwrap().unwrap();
    assert!(findings.is_empty(), "{findings:?}");
}

#[tokio::test]
async fn any_order_repetition_and_splitting_of_batches_gives_the_same_ledger() {
    let reports: [Report<'_>; 6] = [
        ("aaaaaaaa", "2026-11-03", "a", 400),
        ("aaaaaaaa", "2026-11-03", "a", 700),
        ("bbbbbbbb", "2026-11-03", "a", 90),
        ("aaaaaaaa", "2026-11-04", "b", 25),
        ("bbbbbbbb", "2026-11-09", "~none", 300),
        ("aaaaaaaa", "2026-11-05", "c", 60),
    ];
    // Each line is a run: batches separated by |, reports by their place.
    let runs = [
        "0 1 3 5|2 4",
        "1 0|2|3|4|5",
        "5|4|3|2|1|0",
        "2 4|0 1 3 5|2 4|0",
        "4|4|4|1 3|1|0 5|2",
        "3 5 1|4 2|0|1",
    ];
    let mut states = Vec::new();
    for run in runs {
        let meter = meter(Plan::Community).await;
        for batch in run.split('|') {
            let batch: Vec<Report<'_>> =
                batch.split(' ').map(|place| reports[place.parse::<usize>().unwrap()]).collect();
            send(&meter, &batch).await;
        }
        is_clean(&meter).await;
        let before = meter.app.store.ledger_as_text(&project_id("demo")).await.unwrap();
        meter.app.clock.set(noon().period().end().plus_ms(CLOSE_WITHIN_MS));
        assert_eq!(month_close::close_due(&meter.app).await.unwrap(), 1);
        let after = meter.app.store.ledger_as_text(&project_id("demo")).await.unwrap();
        states.push((run, before, after));
    }
    let (_, before, after) = &states[0];
    assert!(before.contains(&"usage live 2026-11 units=1175 anchors=0".to_owned()), "{before:?}");
    assert!(before.contains(&"crossing 2026-11 v1 80".to_owned()), "{before:?}");
    for (run, other_before, other_after) in &states[1..] {
        assert_eq!((other_before, other_after), (before, after), "{run}");
    }
}

#[tokio::test]
async fn a_jump_over_both_levels_crosses_each_once_in_order() {
    let meter = meter(Plan::Community).await;
    let jump = [("aaaaaaaa", "2026-11-23", "bot", 1_300)];
    for _ in 0..3 {
        send(&meter, &jump).await;
    }
    assert_eq!(lines(&meter, "crossing").await, ["crossing 2026-11 v1 80", "crossing 2026-11 v1 100"]);
    let owner = meter.member("demo", Role::Owner).await;
    let plan = meter.get("/api/v1/billing/plan", &owner).await.value();
    let percents: Vec<_> =
        plan["crossings"].as_array().unwrap().iter().map(|crossing| crossing["percent"].clone()).collect();
    assert_eq!(percents, [80, 100]);
    assert_eq!(plan["crossings"][0]["used"], 1_300);
    // A larger quota arms the levels anew: 9,000 of 10,000 is beyond 80 %.
    meter.json("PATCH", "/api/v1/admin/projects/demo", &meter.operator().await, r#"{"plan":"pro"}"#).await;
    send(&meter, &[("aaaaaaaa", "2026-11-23", "bot", 9_000)]).await;
    assert_eq!(lines(&meter, "crossing").await.last().unwrap(), "crossing 2026-11 v2 80");
    is_clean(&meter).await;
}

#[tokio::test]
async fn levels_are_crossed_at_the_unit_and_not_before() {
    for (units, crossed) in [(799, 0), (800, 1), (999, 1), (1_000, 2)] {
        let meter = meter(Plan::Community).await;
        send(&meter, &[("aaaaaaaa", "2026-11-23", "bot", units)]).await;
        assert_eq!(lines(&meter, "crossing").await.len(), crossed, "{units}");
    }
}

#[tokio::test]
async fn units_of_test_keys_and_from_before_the_project_cross_and_cost_nothing() {
    let meter = meter(Plan::Community).await;
    let test = body(1, &[("aaaaaaaa", "2026-11-23", "bot", 5_000)]).replace("live", "test");
    assert_eq!(meter.flush(&test).await.status, 200);
    send(&meter, &[("aaaaaaaa", "1999-01-01", "bot", 5_000)]).await;
    assert!(lines(&meter, "crossing").await.is_empty());
    assert_eq!(lines(&meter, "entry").await.len(), 1);
    is_clean(&meter).await;
}

#[tokio::test]
async fn a_month_closes_72_hours_after_its_end_and_late_cells_are_numbered() {
    let meter = meter(Plan::Pro).await;
    let owner = meter.member("demo", Role::Owner).await;
    meter.json("PUT", "/api/v1/billing/plan", &owner, r#"{"auto_overage":true}"#).await;
    send(&meter, &[("aaaaaaaa", "2026-11-23", "bot", 12_000)]).await;
    let closes = noon().period().end().plus_ms(CLOSE_WITHIN_MS);
    meter.app.clock.set(Timestamp::from_ms(closes.as_ms() - 1));
    assert_eq!(month_close::close_due(&meter.app).await.unwrap(), 0, "a millisecond too early");
    meter.app.clock.set(closes);
    let version = meter.version("demo").await;
    assert_eq!(month_close::close_due(&meter.app).await.unwrap(), 1);
    assert_eq!(month_close::close_due(&meter.app).await.unwrap(), 0, "again closes nothing");
    assert_eq!(meter.version("demo").await, version + 1);
    // 2,000 beyond 10,000 at 600 per 1,000; then 1,000 more, twice over the wire.
    for _ in 0..2 {
        let answer = send(&meter, &[("bbbbbbbb", "2026-11-30", "bot", 1_000)]).await;
        let ack: FlushAck = serde_json::from_str(&answer.body).unwrap();
        let policy = ack.policy.open(&signing_keys()).unwrap();
        assert_eq!(policy.allowance.period, noon().period().next(), "stated for the oldest open month");
    }
    let explained = meter.get("/api/v1/explain?period=2026-11", &owner).await.value();
    let reasons = explained["billed"]["reasons"].as_array().unwrap();
    let amounts: Vec<_> = reasons.iter().map(|reason| reason["bill"][0]["amount"]["minor"].clone()).collect();
    assert_eq!(amounts, ["1200", "600"], "{explained}");
    assert_eq!(explained["billed"]["statement"]["total"]["minor"], "1800");
    assert_eq!(explained["billed"]["statement"]["provisional"], false);
    is_clean(&meter).await;
    assert_eq!(audit::audit_all(&meter.app).await.unwrap(), 0);
    let metrics = meter.get("/metrics", &owner).await.body;
    for line in [
        "meter_ledger_imbalance 0",
        "meter_closed_periods_total 1",
        "meter_crossings_total 2",
        "meter_ingested_cells_total 3",
        "meter_quarantined_cells_total 0",
        "meter_policy_pushes_total 0",
    ] {
        assert!(metrics.lines().any(|got| got == line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn a_month_is_compared_over_plans_and_the_present_one_is_what_it_costs() {
    let meter = meter(Plan::Pro).await;
    let owner = meter.member("demo", Role::Viewer).await;
    let of = |answer: &serde_json::Value, plan: &str, overage: bool, field: &str| {
        let options = answer["options"].as_array().unwrap();
        let found = options.iter().find(|option| option["plan"] == plan && option["overage"] == overage);
        found.unwrap_or_else(|| panic!("{plan} {overage}: {answer}"))[field].clone()
    };
    send(&meter, &[("aaaaaaaa", "2026-11-23", "bot", 12_000)]).await;
    let answer = meter.get("/api/v1/billing/what-if", &owner).await.value();
    assert_eq!(answer["counted"], 12_000);
    // The project is of today: 12,000 on each of the eight days to the 30th.
    assert_eq!(answer["forecast"], 96_000);
    let present: Vec<_> =
        answer["options"].as_array().unwrap().iter().filter(|option| option["present"] == true).collect();
    assert_eq!(present.len(), 1);
    assert_eq!((&present[0]["plan"], &present[0]["refused"]), (&"pro".into(), &2_000.into()));
    // 49.00 a month, and 2,000 at 6.00 per 1,000.
    assert_eq!(of(&answer, "pro", true, "total")["minor"], "6100");
    assert_eq!(of(&answer, "business", false, "total")["minor"], "29900");
    assert_eq!(of(&answer, "community", false, "refused"), 11_000);
    let capped = meter.get("/api/v1/billing/what-if?units=100000&overage_cap=600", &owner).await.value();
    assert_eq!(of(&capped, "pro", true, "from_overage"), 1_000);
    assert_eq!(of(&capped, "pro", true, "refused"), 89_000);
    // What is told of the present terms is what the statement says.
    let explained = meter.get("/api/v1/explain", &owner).await.value();
    assert_eq!(of(&answer, "pro", false, "from_quota"), explained["billed"]["statement"]["included"]);
    for (wrong, field) in [
        ("units=-1", "units"),
        ("units=9007199254740992", "units"),
        ("overage_cap=1.5", "overage_cap"),
        ("period=2026-13", "period"),
        ("plan=pro", "plan"),
    ] {
        let answer = meter.get(&format!("/api/v1/billing/what-if?{wrong}"), &owner).await;
        assert_eq!((answer.status, answer.value()["field"].clone()), (422, field.into()), "{wrong}");
    }
    is_clean(&meter).await;
}

#[tokio::test]
async fn the_forecast_of_a_month_has_its_earlier_days_too() {
    let meter = meter(Plan::Pro).await;
    let owner = meter.member("demo", Role::Viewer).await;
    send(&meter, &[("aaaaaaaa", "2026-11-02", "bot", 7_000), ("aaaaaaaa", "2026-11-23", "bot", 100)]).await;
    let answer = meter.get("/api/v1/billing/what-if", &owner).await.value();
    // What was used on the 2nd, and 100 on each of the eight days to the 30th.
    assert_eq!((&answer["counted"], &answer["forecast"]), (&7_100.into(), &7_800.into()));
}

#[tokio::test]
async fn overage_and_its_cap_reach_the_policy() {
    let meter = meter(Plan::Pro).await;
    let owner = meter.member("demo", Role::Owner).await;
    let path = "/api/v1/billing/plan";
    // body => version after it, overage in the policy
    let table = [
        (r#"{"auto_overage":true,"overage_cap":1000}"#, 2, r#"{"rule":"capped","units":1666}"#),
        (r#"{"auto_overage":true}"#, 2, r#"{"rule":"capped","units":1666}"#),
        (r#"{"overage_cap":null}"#, 3, r#"{"rule":"open"}"#),
        (r#"{}"#, 3, r#"{"rule":"open"}"#),
        (r#"{"auto_overage":false}"#, 4, r#"{"rule":"stop"}"#),
    ];
    for (body, version, overage) in table {
        let answer = meter.json("PUT", path, &owner, body).await;
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
        assert_eq!(meter.version("demo").await, version, "{body}");
        let (book, keys) = meter.app.store.policy_parts(&project_id("demo")).await.unwrap().unwrap();
        let policy = meter.app.signed_policy(&book, keys).unwrap().open(&signing_keys()).unwrap();
        assert_eq!(serde_json::to_string(&policy.allowance.overage).unwrap(), overage, "{body}");
    }
    for (body, field) in [
        (r#"{"overage_cap":5}"#, "overage_cap"),
        (r#"{"auto_overage":true,"overage_cap":-1}"#, "overage_cap"),
        (r#"{"auto_overage":true,"overage_cap":9007199254740992}"#, "overage_cap"),
        (r#"{"auto_overage":"yes"}"#, "auto_overage"),
        (r#"{"plan":"business"}"#, "plan"),
    ] {
        meter.json("PUT", path, &owner, body).await.refuses(field, body);
    }
    assert_eq!(meter.version("demo").await, 4);
}

#[tokio::test]
async fn overage_is_refused_where_the_plan_has_none() {
    for (plan, offered) in
        [(Plan::Community, false), (Plan::Pro, true), (Plan::Business, true), (Plan::Enterprise, false)]
    {
        let meter = meter(plan).await;
        let owner = meter.member("demo", Role::Owner).await;
        let answer = meter.json("PUT", "/api/v1/billing/plan", &owner, r#"{"auto_overage":true}"#).await;
        if offered {
            assert_eq!(answer.field("auto_overage"), "true", "{plan}");
        } else {
            answer.is_problem("overage_not_offered", plan.as_str());
        }
    }
}

#[tokio::test]
async fn a_credit_is_given_once_and_pays_after_the_quota() {
    let meter = meter(Plan::Community).await;
    let operator = meter.operator().await;
    let path = "/api/v1/admin/projects/demo/credits";
    let authorization = format!("Bearer {operator}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("idempotency-key", "first"),
    ];
    let give = r#"{"units":500,"reason":"an outage"}"#;
    let first = meter.send("POST", path, &headers, give).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(meter.send("POST", path, &headers, give).await.body, first.body, "the same call again");
    let other = meter.send("POST", path, &headers, r#"{"units":501,"reason":"an outage"}"#).await;
    other.is_problem("idempotency_key_reused", "another body");
    assert_eq!(lines(&meter, "entry").await.len(), 2, "one lot");
    send(&meter, &[("aaaaaaaa", "2026-11-23", "bot", 1_200)]).await;
    let lots = meter.get("/api/v1/billing/top-ups?project=demo", &operator).await.value();
    let lot = &lots["lots"][0];
    assert_eq!((&lot["kind"], &lot["reason"]), (&"credit".into(), &"an outage".into()));
    assert_eq!((&lot["units"], &lot["left"]), (&500.into(), &300.into()));
    assert_eq!(lot["paid_for"][0], serde_json::json!({"period":"2026-11","units":200,"provisional":true}));
    let plan = meter.get("/api/v1/billing/plan?project=demo", &operator).await.value();
    assert_eq!(
        (&plan["quota"], &plan["used"], &plan["included"], &plan["remaining"], &plan["lots"]["left"]),
        (&1_000.into(), &1_200.into(), &1_000.into(), &300.into(), &300.into())
    );
    assert_eq!(plan["forecast"], serde_json::json!({"outcome":"ends_on","date":"2026-11-23"}));
    for (body, field) in [
        (r#"{"units":0,"reason":"x"}"#, "units"),
        (r#"{"units":5}"#, "reason"),
        (r#"{"units":5,"reason":"  "}"#, "reason"),
        (r#"{"units":-5,"reason":"x"}"#, "units"),
    ] {
        meter.json("POST", path, &operator, body).await.refuses(field, body);
    }
    is_clean(&meter).await;
}

#[tokio::test]
async fn plans_and_suspension_go_through_the_ledger() {
    let meter = meter(Plan::Community).await;
    let operator = meter.operator().await;
    let path = "/api/v1/admin/projects/demo";
    // body => entries after it, included in force
    let table = [
        (r#"{"plan":"pro"}"#, 2, "10000"),
        (r#"{"plan":"pro"}"#, 2, "10000"),
        (r#"{"suspended":true}"#, 3, "10000"),
        (r#"{"suspended":false,"plan":"community"}"#, 5, "10000"),
        (r#"{"included":7}"#, 6, "7"),
        (r#"{"rpm":5}"#, 6, "7"),
        (r#"{"included":null}"#, 7, "10000"),
    ];
    for (body, entries, included) in table {
        let answer = meter.json("PATCH", path, &operator, body).await;
        assert_eq!(answer.field("included"), included, "{body}");
        assert_eq!(lines(&meter, "entry").await.len(), entries, "{body}");
    }
    is_clean(&meter).await;
}

#[tokio::test]
async fn a_denial_for_want_of_units_crosses_every_level_of_the_quota_it_was_under() {
    let meter = meter(Plan::Community).await;
    let denied = |quota: u64, period: &str| {
        format!(
            r#"{{"project":"demo","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":2,"cells":[],"denied":[{{"period":"{period}","quota":{quota}}}]}}"#
        )
    };
    // 700 are settled; 300 more went out with isolates that died.
    send(&meter, &[("aaaaaaaa", "2026-11-23", "bot", 700)]).await;
    for (quota, period) in [(999, "2026-11"), (1_000, "2027-11"), (1_000, "2026-10")] {
        assert_eq!(meter.flush(&denied(quota, period)).await.status, 200);
        assert!(lines(&meter, "crossing").await.is_empty(), "{quota} {period}");
    }
    assert_eq!(meter.flush(&denied(1_000, "2026-11").replace("live", "test")).await.status, 200);
    assert!(lines(&meter, "crossing").await.is_empty(), "of test keys");
    for _ in 0..2 {
        assert_eq!(meter.flush(&denied(1_000, "2026-11")).await.status, 200);
        assert_eq!(lines(&meter, "crossing").await, ["crossing 2026-11 v1 80", "crossing 2026-11 v1 100"]);
    }
    // The home goes on telling of it; of the larger quota nothing was denied.
    meter.json("PATCH", "/api/v1/admin/projects/demo", &meter.operator().await, r#"{"plan":"pro"}"#).await;
    assert_eq!(meter.flush(&denied(1_000, "2026-11")).await.status, 200);
    assert_eq!(lines(&meter, "crossing").await.len(), 2);
    let many: Vec<String> = (1..=13).map(|_| r#"{"period":"2026-11","quota":1}"#.to_owned()).collect();
    let body =
        denied(1, "2026-11").replace(r#"[{"period":"2026-11","quota":1}]"#, &format!("[{}]", many.join(",")));
    meter.flush(&body).await.refuses("denied", "more than any home has open");
    is_clean(&meter).await;
}

#[tokio::test]
async fn customers_choose_at_which_percentages_they_are_told() {
    let meter = meter(Plan::Community).await;
    let finance = meter.member("demo", Role::Finance).await;
    let path = "/api/v1/billing/plan";
    send(&meter, &[("aaaaaaaa", "2026-11-23", "bot", 600)]).await;
    assert!(lines(&meter, "crossing").await.is_empty());
    let set = meter.json("PUT", path, &finance, r#"{"thresholds":[50,90]}"#).await.value();
    assert_eq!(set["thresholds"], serde_json::json!([50, 90]));
    assert_eq!(set["crossings"][0]["percent"], 50, "reached already: due at once, {set}");
    send(&meter, &[("aaaaaaaa", "2026-11-23", "bot", 1_000)]).await;
    assert_eq!(lines(&meter, "crossing").await, ["crossing 2026-11 v1 50", "crossing 2026-11 v1 90"]);
    let reset = meter.json("PUT", path, &finance, r#"{"thresholds":null}"#).await.value();
    assert_eq!(reset["thresholds"], serde_json::json!([80, 100]));
    for bad in ["[]", "[0]", "[101]", "[1.5]", "\"80\"", "80"] {
        meter
            .json("PUT", path, &finance, &format!(r#"{{"thresholds":{bad}}}"#))
            .await
            .refuses("thresholds", bad);
    }
    is_clean(&meter).await;
}

#[tokio::test]
async fn what_somebody_changed_in_the_books_is_on_the_metrics_until_it_is_put_right() {
    let meter = meter(Plan::Pro).await;
    send(&meter, &[("aaaaaaaa", "2026-11-23", "bot", 120)]).await;
    let imbalance = async || {
        let findings = audit::audit_all(&meter.app).await.unwrap();
        let metrics = meter.send("GET", "/metrics", &[], "").await.body;
        assert!(metrics.contains(&format!("\nmeter_ledger_imbalance {findings}\n")), "{findings}: {metrics}");
        findings
    };
    assert_eq!(imbalance().await, 0);
    for (wrong, right) in [
        ("UPDATE cell SET units = units - 1", "UPDATE cell SET units = units + 1"),
        ("UPDATE usage SET units = units + 5", "UPDATE usage SET units = units - 5"),
        ("UPDATE usage_day SET tokens_in = 7", "UPDATE usage_day SET tokens_in = 0"),
        ("UPDATE usage_quarter SET agent = 'other'", "UPDATE usage_quarter SET agent = 'bot'"),
        ("UPDATE usage_quarter SET units_2 = 121", "UPDATE usage_quarter SET units_2 = 120"),
        ("UPDATE usage_quarter SET units_3 = 1", "UPDATE usage_quarter SET units_3 = 0"),
        ("UPDATE usage_quarter SET quarter = '2020-01'", "UPDATE usage_quarter SET quarter = '2026-10'"),
        ("UPDATE usage_quarter SET part_2_5 = 119", "UPDATE usage_quarter SET part_2_5 = 120"),
        ("UPDATE usage_quarter SET part_2_1 = 1", "UPDATE usage_quarter SET part_2_1 = 0"),
        ("UPDATE entry SET number = 2", "UPDATE entry SET number = 1"),
    ] {
        backend::tamper(meter.folder.database_url(), wrong).await;
        assert!(imbalance().await > 0, "{wrong}");
        backend::tamper(meter.folder.database_url(), right).await;
        assert_eq!(imbalance().await, 0, "{right}");
    }
}

#[tokio::test]
async fn a_lowered_quota_is_shown_as_it_is_enforced_and_as_it_is_billed() {
    let meter = meter(Plan::Pro).await;
    let operator = meter.operator().await;
    let path = "/api/v1/admin/projects/demo";
    send(&meter, &[("aaaaaaaa", "2026-11-23", "bot", 30)]).await;
    let shown = async |enforced: (u64, u64), verdict: serde_json::Value| {
        let plan = meter.get("/api/v1/billing/plan?project=demo", &operator).await.value();
        let expected = serde_json::json!({ "quota": enforced.0, "remaining": enforced.1 });
        assert_eq!(plan["enforced"], expected, "{plan}");
        assert_eq!((&plan["quota"], &plan["remaining"]), (&expected["quota"], &expected["remaining"]));
        let billed = serde_json::json!({ "quota": 10_000, "from_quota": 30, "from_lots": 0, "from_overage": 0, "uncovered": 0 });
        assert_eq!((&plan["billed"], &plan["included"]), (&billed, &billed["from_quota"]));
        let now = meter.get("/api/v1/explain?project=demo", &operator).await.value()["now"].clone();
        assert_eq!((&now["quota"], &now["billed_quota"]), (&expected["quota"], &billed["quota"]), "{now}");
        assert_eq!(now["verdict"], verdict);
        let crossings = plan["crossings"].as_array().unwrap().iter();
        crossings.map(|one| (one["percent"].clone(), one["quota"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(shown((10_000, 9_970), serde_json::json!({ "served": 9_970 })).await, []);
    meter.json("PATCH", path, &operator, r#"{"included":25}"#).await;
    let crossed = shown((25, 0), serde_json::json!({ "quota_exhausted": "off" })).await;
    assert_eq!(crossed, [(80.into(), 25.into()), (100.into(), 25.into())]);
    meter.json("PATCH", path, &operator, r#"{"included":null}"#).await;
    assert_eq!(shown((10_000, 9_970), serde_json::json!({ "served": 9_970 })).await, crossed);
    // The larger quota has its own levels.
    meter.flush(&body(2, &[("aaaaaaaa", "2026-11-23", "bot", 8_000)])).await;
    let plan = meter.get("/api/v1/billing/plan?project=demo", &operator).await.value();
    assert_eq!(
        (&plan["crossings"][2]["percent"], &plan["crossings"][2]["quota"]),
        (&80.into(), &10_000.into())
    );
    is_clean(&meter).await;
}
