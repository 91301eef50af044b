//! `GET /api/v1/usage`: the report's shape, its dates, and who may see it.

use std::collections::BTreeMap;

use aggregator::access::Role;
use aggregator::jobs::{month_close, part_sums};
use aggregator::ledger::close::CLOSE_WITHIN_MS;
use aggregator::metering::usage::page::UsageLine;
use shared::plan::Plan;
use shared::time::Day;

use crate::backend;
use crate::support::{Meter, noon, project_id};

async fn meter() -> (Meter, String) {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Community).await;
    let token = meter.member("demo", Role::Viewer).await;
    (meter, token)
}

#[tokio::test]
async fn the_report_has_every_day_kind_and_agent() {
    let (meter, token) = meter().await;
    for (mode, units) in [("live", 4), ("test", 9)] {
        let cell = |day: &str, kind: &str, agent: &str, units: u64| {
            format!(
                r#"{{"day":"{day}","kind":"{kind}","agent":"{agent}","units":{units},"tokens_in":5,"tokens_out":7}}"#
            )
        };
        let cells = [
            cell("2026-11-21", "verify", "b", units),
            cell("2026-11-23", "extension_event", "a", units),
            cell("2026-11-23", "mcp_tool_call", "~none", units + 1),
            cell("2026-11-24", "verify", "a", 100),
        ];
        let body = format!(
            r#"{{"project":"demo","mode":"{mode}","source":"home","incarnation":"aaaaaaaa","seq":1,"cells":[{}]}}"#,
            cells.join(",")
        );
        assert_eq!(meter.flush(&body).await.status, 200);
    }
    let answer = meter.get("/api/v1/usage?from=2026-11-21&to=2026-11-23", &token).await;
    assert_eq!(
        answer.body,
        concat!(
            r#"{"project":"demo","mode":"live","from":"2026-11-21","to":"2026-11-23","total":13,"days":["#,
            r#"{"date":"2026-11-21","units":4,"kinds":{"verify":4,"mcp_tool_call":0,"extension_event":0},"denied":0},"#,
            r#"{"date":"2026-11-22","units":0,"kinds":{"verify":0,"mcp_tool_call":0,"extension_event":0},"denied":0},"#,
            r#"{"date":"2026-11-23","units":9,"kinds":{"verify":0,"mcp_tool_call":5,"extension_event":4},"denied":0}],"#,
            r#""agents":[{"agent":"~none","units":5},{"agent":"a","units":4},{"agent":"b","units":4}],"#,
            r#""observed":{"tokens_in":15,"tokens_out":21,"cost_estimate":{"minor":"0","currency":"eur"}},"#,
            r#""denied":{"total":0,"reasons":{"unauthorized":0,"quota_exhausted":0,"project_suspended":0,"agent_limit":0,"#,
            r#""rate_limited":0,"quota_contended":0,"home_unavailable":0}},"#,
            r#""would_have_denied":{"total":0,"reasons":{"unauthorized":0,"quota_exhausted":0,"project_suspended":0,"#,
            r#""agent_limit":0,"rate_limited":0,"quota_contended":0,"home_unavailable":0}},"next":null}"#
        )
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let test = meter.get("/api/v1/usage?from=2026-11-21&to=2026-11-23&mode=test", &token).await;
    assert_eq!((test.field("mode"), test.field("total")), ("test".to_owned(), "28".to_owned()));
}

#[tokio::test]
async fn queries_that_cannot_be_meant_are_refused_by_name() {
    let (meter, token) = meter().await;
    // query => the refused field, or - where it is accepted
    let table = "
        from=2026-05-01&to=2026-05-31            => -
        from=2028-02-29&to=2028-02-29            => -
        from=2028-01-01&to=2028-12-31            => -
        to=2026%2D05%2D31&from=2026-05-01&mode=live => -
        from=2026-05-01&to=2026-05-31&project=demo  => -
        from=2028-01-01&to=2029-01-01            => to
        from=2026-05-31&to=2026-05-01            => to
        from=2026-02-30&to=2026-05-31            => from
        from=2026-13-01&to=2026-05-31            => from
        from=0000-01-01&to=2026-05-31            => from
        from=10000-01-01&to=2026-05-31           => from
        from=2026-5-1&to=2026-05-31              => from
        from=2026-05-01T00:00:00Z&to=2026-05-31  => from
        from=2026-05-01Z&to=2026-05-31           => from
        from=2026-05-01%2B01:00&to=2026-05-31    => from
        from=&to=2026-05-31                      => from
        from=%ff&to=2026-05-31                   => from
        from=2026-05-01&to=2027-02-29            => to
        from=2026-05-01&to=tomorrow              => to
        to=2026-05-31                            => from
        from=2026-05-01                          => to
        from=2026-05-01&to=2026-05-31&mode=prod  => mode
        from=2026-05-01&to=2026-05-31&mode=      => mode
        from=2026-05-01&to=2026-05-31&limit=5    => -
        from=2026-05-01&to=2026-05-31&limit=0    => limit
        from=2026-05-01&to=2026-05-31&limit=10001 => limit
        from=2026-05-01&to=2026-05-31&cursor=3.a => -
        from=2026-05-01&to=2026-05-31&cursor=a   => cursor
        from=2026-05-01&to=2026-05-31&order=agent&cursor=a => -
        from=2026-05-01&to=2026-05-31&order=name => order
        from=2026-05-01&to=2026-05-31&group_by=day,agent,kind&cursor=a => cursor
        from=2026-05-01&to=2026-05-31&group_by=agent,day => group_by
        from=2026-05-01&to=2026-05-31&group_by=day,agent => agents
        from=2026-05-01&to=2026-05-31&group_by=day,agent&agents= => agents
        from=2026-05-01&to=2026-05-31&group_by=day,agent&agents=a++b => agents
        from=2026-05-01&to=2026-05-31&group_by=day,agent&agents=~mine => agents
        from=2026-05-01&to=2026-05-31&group_by=day,agent&agents=a+b => -
        from=2026-05-01&to=2026-05-31&agents=a   => agents
        from=2026-05-01&to=2026-05-31&group_by=agent&agents=a => agents
        from=2026-05-01&to=2026-05-31&page=2     => page
        from=2026-05-01&from=2026-05-02&to=2026-05-31 => from
        from=2026-05-01&to=2026-05-31&FROM=x     => FROM
    ";
    for case in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (query, field) = case.split_once("=> ").unwrap();
        let answer = meter.get(&format!("/api/v1/usage?{}", query.trim()), &token).await;
        if field == "-" {
            assert_eq!(answer.status, 200, "{case}: {answer:?}");
        } else {
            answer.refuses(field, case);
        }
    }
}

#[tokio::test]
async fn another_tenants_project_cannot_be_told_from_one_that_is_not_there() {
    let (meter, token) = meter().await;
    meter.project("other", Plan::Pro).await;
    let ask = async |project: &str, token: &str| {
        meter.get(&format!("/api/v1/usage?from=2026-05-01&to=2026-05-31&project={project}"), token).await
    };
    let mut foreign = ask("other", &token).await;
    let mut missing = ask("nobody", &token).await;
    foreign.is_problem("project_unknown", "foreign");
    for answer in [&mut foreign, &mut missing] {
        answer.headers.retain(|(name, _)| name != "date");
    }
    assert_eq!(foreign, missing);
    ask("De%20mo", &token).await.is_problem("project_unknown", "no project id");
    let operator = meter.operator().await;
    assert_eq!(ask("other", &operator).await.status, 200);
    ask("nobody", &operator).await.is_problem("project_unknown", "operator");
    let unnamed = meter.get("/api/v1/usage?from=2026-05-01&to=2026-05-31", &operator).await;
    unnamed.refuses("project", "operators name the project");
}

#[tokio::test]
async fn reports_are_grouped_and_come_as_csv() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Community).await;
    let body = r#"{"project":"demo","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":1,"cells":[{"day":"2026-11-22","kind":"verify","agent":"b","units":2},{"day":"2026-11-23","kind":"mcp_tool_call","agent":"a","units":5}]}"#;
    assert_eq!(meter.flush(body).await.status, 200);
    let viewer = meter.member("demo", Role::Viewer).await;
    let path = "/api/v1/usage?from=2026-11-22&to=2026-11-23";
    // what is added to the path => the body
    let table = [
        ("&group_by=agent&format=csv", "agent,units\r\na,5\r\nb,2\r\n"),
        ("&format=csv", "day_utc,units,denied\r\n2026-11-22,2,0\r\n2026-11-23,5,0\r\n"),
        (
            "&group_by=kind",
            r#"{"project":"demo","mode":"live","from":"2026-11-22","to":"2026-11-23","group_by":"kind","total":7,"groups":[{"key":"verify","units":2,"denied":0},{"key":"mcp_tool_call","units":5,"denied":0},{"key":"extension_event","units":0,"denied":0}],"next":null}"#,
        ),
    ];
    for (more, expected) in table {
        assert_eq!(meter.get(&format!("{path}{more}"), &viewer).await.body, expected, "{more}");
    }
    let authorization = format!("Bearer {viewer}");
    let headers = [("authorization", authorization.as_str()), ("accept", "text/csv")];
    let csv = meter.send("GET", path, &headers, "").await;
    assert!(
        csv.header("content-type").unwrap().starts_with("text/csv") && csv.body.starts_with("day_utc,units")
    );
    meter.get(&format!("{path}&group_by=hour"), &viewer).await.refuses("group_by", "hour");
    meter.get(&format!("{path}&format=xml"), &viewer).await.refuses("format", "xml");
}

#[tokio::test]
async fn each_day_says_what_paid_for_it_and_the_days_come_to_the_months_statement() {
    let (meter, viewer) = meter().await;
    let operator = meter.operator().await;
    let body = r#"{"units":200,"reason":"a present"}"#;
    assert_eq!(meter.json("POST", "/api/v1/admin/projects/demo/credits", &operator, body).await.status, 201);
    // Community has 1,000 of them; then the lot pays, and for the last hundred nothing does.
    let cells: Vec<String> =
        [("2026-10-31", 7), ("2026-11-02", 400), ("2026-11-20", 650), ("2026-11-21", 250)]
            .map(|(day, units)| format!(r#"{{"day":"{day}","kind":"verify","agent":"a","units":{units}}}"#))
            .into();
    let body = format!(
        r#"{{"project":"demo","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":1,"cells":[{}]}}"#,
        cells.join(",")
    );
    assert_eq!(meter.flush(&body).await.status, 200);
    let path = "/api/v1/usage?group_by=day,source&from=2026-10-31&to=2026-11-23";
    let report = meter.get(path, &viewer).await;
    assert!(report.header("palveron-watermark").is_some() && report.header("palveron-as-of").is_some());
    let report = report.value();
    let days = report["days"].as_array().unwrap();
    assert_eq!((days.len(), &report["total"], &report["mode"]), (24, &1_307.into(), &"live".into()));
    let of =
        |date: &str, name: &str| days.iter().find(|day| day["date"] == date).unwrap()[name].as_u64().unwrap();
    let told: Vec<_> = ["2026-10-31", "2026-11-02", "2026-11-20", "2026-11-21", "2026-11-22"]
        .map(|date| ["included", "lot", "overage", "unbilled"].map(|name| of(date, name)))
        .into();
    assert_eq!(told, [[7, 0, 0, 0], [400, 0, 0, 0], [600, 50, 0, 0], [0, 150, 0, 100], [0, 0, 0, 0]]);
    let lot = &days.iter().find(|day| day["date"] == "2026-11-20").unwrap()["lots"][0];
    assert_eq!((&lot["lot"], &lot["units"]), (&2.into(), &50.into()));
    // Part of a month is paid by what the days before it have left.
    let later = meter.get("/api/v1/usage?group_by=day,source&from=2026-11-21&to=2026-11-21", &viewer).await;
    assert_eq!(later.value()["days"][0], *days.iter().find(|day| day["date"] == "2026-11-21").unwrap());
    let sum = |name: &str| -> u64 {
        let november = days.iter().filter(|day| day["date"].as_str().unwrap().starts_with("2026-11"));
        november.map(|day| day[name].as_u64().unwrap()).sum()
    };
    let explained = meter.get("/api/v1/explain?period=2026-11", &viewer).await.value();
    let statement = &explained["billed"]["statement"];
    assert_eq!(
        (&statement["included"], &statement["overage"]),
        (&sum("included").into(), &sum("overage").into())
    );
    assert_eq!(
        (&statement["lots"][0]["units"], &statement["uncovered"]),
        (&sum("lot").into(), &sum("unbilled").into())
    );
    let csv = meter.get(&format!("{path}&format=csv"), &viewer).await.body;
    assert!(
        csv.starts_with("day_utc,units,included,lot,overage,unbilled\r\n2026-10-31,7,7,0,0,0\r\n"),
        "{csv}"
    );
    assert!(csv.contains("\r\n2026-11-21,250,0,150,0,100\r\n"), "{csv}");
    meter.get(&format!("{path}&mode=test"), &viewer).await.refuses("mode", "never billed");
}

/// A flush of one cell for each agent.
fn flush(seq: u64, cells: &[(String, u64)]) -> String {
    let cell = |(agent, units): &(String, u64)| {
        format!(
            r#"{{"day":"2026-11-23","kind":"verify","agent":"{agent}","units":{units},"tokens_in":{units}}}"#
        )
    };
    let cells: Vec<String> = cells.iter().map(cell).collect();
    format!(
        r#"{{"project":"demo","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":{seq},"cells":[{}]}}"#,
        cells.join(",")
    )
}

#[tokio::test]
async fn pages_by_name_have_every_agent_once_though_all_of_them_are_counted_meanwhile() {
    let (meter, token) = meter().await;
    let counted = |seq: u64| {
        (0..50_u64).map(move |n| (format!("a{n:02}"), 1 + seq * (1 + n * 7 % 13))).collect::<Vec<_>>()
    };
    assert_eq!(meter.flush(&flush(1, &counted(1))).await.status, 200);
    let path = "/api/v1/usage?from=2026-11-01&to=2026-11-23&limit=7";
    let groupings = [
        ("order=agent", "agents"),
        ("group_by=agent&order=agent", "groups"),
        ("group_by=day,agent,kind", "groups"),
    ];
    for (base, (query, list)) in (1..).step_by(100).zip(groupings) {
        let (mut told, mut cursor, mut seq) = (Vec::new(), String::new(), base);
        loop {
            let page = meter.get(&format!("{path}&{query}{cursor}"), &token).await.value();
            let agents = page[list].as_array().unwrap();
            told.extend(
                agents.iter().map(|one| one.get("key").unwrap_or(&one["agent"]).as_str().unwrap().to_owned()),
            );
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
            seq += 1;
            assert_eq!(meter.flush(&flush(seq, &counted(seq))).await.status, 200);
        }
        let all: Vec<String> = (0..50).map(|n| format!("a{n:02}")).collect();
        assert_eq!(told, all, "{query}");
    }
    let most = meter.get(&format!("{path}&limit=3").replace("limit=7&", ""), &token).await.value();
    let units: Vec<u64> =
        most["agents"].as_array().unwrap().iter().map(|one| one["units"].as_u64().unwrap()).collect();
    assert!(units.len() == 3 && units.is_sorted_by(|a, b| a >= b), "the three with most: {units:?}");
}

#[tokio::test]
async fn long_reports_come_as_csv_in_pieces_and_whole() {
    let (meter, token) = meter().await;
    let agents: Vec<(String, u64)> = (0..2_500_u64).map(|n| (format!("agent,{n:04}"), 1 + n % 40)).collect();
    for (seq, cells) in (1..).zip(agents.chunks(1_000)) {
        assert_eq!(meter.flush(&flush(seq, cells)).await.status, 200);
    }
    let path = "/api/v1/usage?from=2026-11-20&to=2026-11-30&format=csv";
    let lines = meter.get(&format!("{path}&group_by=day,agent,kind"), &token).await;
    assert_eq!(lines.status, 200);
    assert_eq!(lines.header("transfer-encoding"), Some("chunked"));
    let mut rows = lines.body.lines();
    assert_eq!(rows.next(), Some(UsageLine::CSV_HEAD.trim_end()));
    let expected = agents.iter().map(|(agent, units)| {
        format!("2026-11-23,\"{agent}\",verify,{units},{units},0,0,0,0,0,0,0,0,0,0,0,0,0,0")
    });
    assert!(rows.eq(expected), "every line once, in order");
    let by_agent = meter.get(&format!("{path}&group_by=agent"), &token).await.body;
    let mut expected: Vec<&(String, u64)> = agents.iter().collect();
    expected.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let expected = expected.iter().map(|(agent, units)| format!("\"{agent}\",{units}"));
    assert!(by_agent.lines().skip(1).eq(expected), "the most first");
    let empty =
        meter.get("/api/v1/usage?from=2025-11-20&to=2025-11-20&format=csv&group_by=agent", &token).await;
    assert_eq!(empty.body, "agent,units\r\n");
    let page = meter.get(&format!("{path}&group_by=agent&limit=2"), &token).await;
    assert_eq!(page.body.lines().count(), 3, "{}", page.body);
}

#[tokio::test]
async fn reports_by_agent_and_by_agent_and_day_are_what_all_lines_come_to() {
    let (meter, token) = meter().await;
    // From the middle of a month to the middle of another, on some days twice and on some not at all; the last day is today.
    let days = [
        "2026-08-14",
        "2026-08-15",
        "2026-08-31",
        "2026-09-01",
        "2026-10-31",
        "2026-11-01",
        "2026-11-22",
        "2026-11-23",
    ];
    for (seq, (day, kind)) in
        (1_u64..).zip(days.iter().flat_map(|day| [(day, "verify"), (day, "mcp_tool_call")]))
    {
        let cell = |agent: u64| {
            format!(r#"{{"day":"{day}","kind":"{kind}","agent":"a{agent}","units":{}}}"#, 1 + agent * seq % 9)
        };
        let cells: Vec<String> = (0..12).filter(|agent| (agent + seq) % 5 != 0).map(cell).collect();
        let flush = format!(
            r#"{{"project":"demo","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":{seq},"cells":[{}]}}"#,
            cells.join(",")
        );
        assert_eq!(meter.flush(&flush).await.status, 200);
    }
    for (from, to) in [
        ("2026-08-01", "2026-11-23"),
        ("2026-08-15", "2026-11-22"),
        ("2026-08-15", "2026-11-10"),
        ("2026-11-01", "2026-11-23"),
        ("2026-11-02", "2026-11-22"),
        ("2026-11-20", "2026-11-30"),
        ("2026-08-14", "2026-08-14"),
        ("2026-01-01", "2026-12-31"),
    ] {
        let path = format!("/api/v1/usage?from={from}&to={to}");
        let lines = meter.get(&format!("{path}&group_by=day,agent,kind"), &token).await.value();
        let (of_day, of_agent) = sums(&lines);
        let report = meter.get(&path, &token).await.value();
        let agents = by_agent(&report);
        assert_eq!(agents, of_agent, "{from} to {to}");
        let csv = meter.get(&format!("{path}&group_by=agent&format=csv"), &token).await.body;
        let csv = of_csv(&csv);
        assert_eq!(csv, of_agent, "{from} to {to} as CSV");
        let asked = format!("{path}&group_by=day,agent&agents=a3+gone+a0+a11");
        let days = meter.get(&asked, &token).await;
        assert!(days.header("palveron-watermark").is_some() && days.header("palveron-as-of").is_some());
        let days = days.value();
        let named: Vec<&str> =
            days["agents"].as_array().unwrap().iter().map(|one| one["agent"].as_str().unwrap()).collect();
        assert_eq!(named, ["a3", "gone", "a0", "a11"]);
        for one in days["agents"].as_array().unwrap() {
            let agent = one["agent"].as_str().unwrap().to_owned();
            assert_eq!(one["units"].as_u64().unwrap(), of_agent.get(&agent).copied().unwrap_or(0), "{agent}");
            let dates = report["days"].as_array().unwrap().iter().map(|day| day["date"].as_str().unwrap());
            let expected: Vec<u64> = dates
                .map(|date| of_day.get(&(agent.clone(), date.to_owned())).copied().unwrap_or(0))
                .collect();
            let got: Vec<u64> = one["days"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
            assert_eq!(got, expected, "{agent} {from} to {to}");
        }
        let csv = meter.get(&format!("{asked}&format=csv"), &token).await.body;
        let sum: u64 =
            csv.lines().skip(1).map(|line| line.rsplit_once(',').unwrap().1.parse::<u64>().unwrap()).sum();
        assert_eq!(
            sum,
            ["a3", "a0", "a11"].iter().map(|agent| of_agent.get(*agent).copied().unwrap_or(0)).sum::<u64>()
        );
    }
}

/// Whether agents are told as their lines come to, in spans that begin and end everywhere; every report is that of its cells.
async fn tells_agents_as_their_cells_are((meter, token): (&Meter, &str)) {
    let path = |from: &str, to: &str| format!("/api/v1/usage?from={from}&to={to}");
    let whole = path("2026-07-20", "2026-11-30");
    let lines = meter.get(&format!("{whole}&group_by=day,agent,kind"), token).await.value();
    let (of_day, _) = sums(&lines);
    let number = |text| Day::parse(text).unwrap().number();
    let (first, last) = (number("2026-07-20"), number("2026-11-30"));
    // Steps that no part of a month shares, so that ends come to lie on every day of one.
    for start in (first..=last).step_by(9) {
        for end in (start..=last).step_by(16) {
            let (from, to) = (Day::from_number(start).unwrap(), Day::from_number(end).unwrap());
            let (from, to) = (from.to_string(), to.to_string());
            let mut expected: BTreeMap<String, u64> = BTreeMap::new();
            for ((agent, day), units) in &of_day {
                if (from.as_str()..=to.as_str()).contains(&day.as_str()) {
                    *expected.entry(agent.clone()).or_default() += units;
                }
            }
            expected.retain(|_, units| *units > 0);
            let got = meter.get(&path(&from, &to), token).await.value();
            assert_eq!(by_agent(&got), expected, "{from} to {to}");
        }
    }
    let findings = meter.app.store.audit(&project_id("demo")).await.unwrap().unwrap();
    assert_eq!(findings, Vec::<String>::new());
}

#[tokio::test]
async fn agents_are_told_as_their_cells_are_whenever_these_came() {
    let (meter, token) = meter().await;
    let demo = project_id("demo");
    let days: Vec<Day> = (Day::parse("2026-07-20").unwrap().number()
        ..=Day::parse("2026-11-23").unwrap().number())
        .filter_map(Day::from_number)
        .collect();
    let flush = |seq: u64, life: &str, days: &[Day]| {
        let cell = |day: &Day, agent: u32| {
            let units = 1 + (day.number() * 7 + agent * 3) % 50;
            format!(r#"{{"day":"{day}","kind":"verify","agent":"a{agent}","units":{units}}}"#)
        };
        let cells: Vec<String> = days
            .iter()
            .flat_map(|day| {
                (0..4).filter(|agent| (day.number() + agent) % 3 != 0).map(|agent| cell(day, agent))
            })
            .collect();
        format!(
            r#"{{"project":"demo","mode":"live","source":"home","incarnation":"{life}","seq":{seq},"cells":[{}]}}"#,
            cells.join(",")
        )
    };
    // The newest first, twice, and then again what a month that was closed long ago had lacked.
    for (seq, days) in (1_u64..).zip(days.rchunks(20)) {
        for _ in 0..2 {
            assert_eq!(meter.flush(&flush(seq, "aaaaaaaa", days)).await.status, 200);
        }
    }
    meter.app.clock.set(noon().period().end().plus_ms(CLOSE_WITHIN_MS));
    assert_eq!(month_close::close_due(&meter.app).await.unwrap(), 1);
    assert_eq!(meter.flush(&flush(1, "bbbbbbbb", &days[90..])).await.status, 200);
    // What nobody believed until somebody did.
    let doubted = r#"{"project":"demo","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":99,"cells":[{"day":"2026-10-06","kind":"verify","agent":"a9","units":900000000}]}"#;
    assert_eq!(meter.flush(doubted).await.status, 200);
    let aside = meter.app.store.quarantine(&demo).await.unwrap();
    let mut work = meter.app.store.begin().await.unwrap();
    work.accept_quarantined(&demo, &aside[0].id, meter.app.clock.now()).await.unwrap();
    work.commit().await.unwrap();
    tells_agents_as_their_cells_are((&meter, &token)).await;

    // As books are that were made before there were parts: two months are known in all alone.
    backend::without_parts(meter.folder.database_url()).await;
    tells_agents_as_their_cells_are((&meter, &token)).await;
    // Cells come meanwhile.
    assert_eq!(meter.flush(&flush(2, "bbbbbbbb", &days[20..70])).await.status, 200);
    assert!(meter.app.store.sum_parts().await.unwrap());
    tells_agents_as_their_cells_are((&meter, &token)).await;
    assert_eq!(part_sums::sum_all(&meter.app).await.unwrap(), 1);
    assert_eq!(part_sums::sum_all(&meter.app).await.unwrap(), 0);
    tells_agents_as_their_cells_are((&meter, &token)).await;
    // Had they been taken for known, it would have been seen.
    backend::tamper(
        meter.folder.database_url(),
        "UPDATE usage_quarter SET part_2_3 = part_2_3 + 1 WHERE agent = 'a1' AND quarter = '2026-07'",
    )
    .await;
    let findings = meter.app.store.audit(&demo).await.unwrap().unwrap();
    let parts = ["23 a1", "26 a1"];
    assert_eq!(
        findings,
        parts.map(|part| format!("the sums of an agent are not those of its cells: live 2026-07 {part}"))
    );
}

/// What lines come to: of each agent's days, and of each agent.
fn sums(lines: &serde_json::Value) -> (BTreeMap<(String, String), u64>, BTreeMap<String, u64>) {
    let mut of_day: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut of_agent: BTreeMap<String, u64> = BTreeMap::new();
    for line in lines["groups"].as_array().unwrap() {
        let (agent, units) = (line["agent"].as_str().unwrap(), line["units"].as_u64().unwrap());
        *of_day.entry((agent.to_owned(), line["day"].as_str().unwrap().to_owned())).or_default() += units;
        *of_agent.entry(agent.to_owned()).or_default() += units;
    }
    (of_day, of_agent)
}

/// The agents of a report.
fn by_agent(report: &serde_json::Value) -> BTreeMap<String, u64> {
    let agents = report["agents"].as_array().unwrap().iter();
    agents.map(|one| (one["agent"].as_str().unwrap().to_owned(), one["units"].as_u64().unwrap())).collect()
}

/// The same as CSV has them.
fn of_csv(csv: &str) -> BTreeMap<String, u64> {
    let lines = csv.lines().skip(1).map(|line| line.split_once(',').unwrap());
    lines.map(|(agent, units)| (agent.to_owned(), units.parse().unwrap())).collect()
}
