//! What the gate lets through and what it refuses.

use shared::ids::KeyId;
use shared::key::ProjectKey;

use super::*;

pub(crate) fn config() -> Config {
    let key = |purpose: &str, byte: &str| format!("{purpose}:k1:{}", byte.repeat(32));
    let keys = [key("edge", "11"), key("policy", "22"), key("upstream", "33")].join(",");
    Config::read(&format!("1:{}", "44".repeat(32)), &keys, "").unwrap()
}

pub(crate) fn bearer_of(config: &Config, mode: Mode) -> String {
    let key =
        ProjectKey { project: ProjectId::parse("demo").unwrap(), mode, id: KeyId::parse("k001").unwrap() };
    format!("Bearer {}", config.key_secrets.mint(&key))
}

pub(crate) fn head<'a>(method: &'a str, url: &'a str, authorization: &'a str) -> Head<'a> {
    Head { header_bytes: 300, method, url, ..Head::continued(authorization, "") }
}

/// `status code` of an answer, or the home and kind of a question.
fn outcome(step: Step) -> String {
    match step {
        Step::Answer(answer) => match serde_json::from_str::<Problem>(&answer.body) {
            Ok(problem) => format!("{} {}", answer.status, problem.code),
            Err(_) => format!("{} {}", answer.status, answer.body),
        },
        Step::Decide(Deciding { home, ask, .. }) => format!("{home} {} {} {}", ask.kind, ask.agent, ask.cost),
        Step::ReadBody(_) => "body".to_owned(),
        Step::ReadObservation(_) => "observation".to_owned(),
        Step::ReadPolicy { .. } => "policy".to_owned(),
        Step::ReadLeases { .. } => "leases".to_owned(),
        Step::Metrics => "metrics".to_owned(),
        Step::Forward { .. } | Step::Install { .. } | Step::Leases { .. } | Step::Observe(_) => {
            unreachable!("the gate never answers so")
        }
    }
}

#[test]
fn requests_become_questions_or_refusals() {
    let config = config();
    let live = bearer_of(&config, Mode::Live);
    let test = bearer_of(&config, Mode::Test);
    let cases = [
        ("POST", "http://h/v1/verify", live.as_str(), "demo/live verify ~none 1"),
        ("POST", "http://h/v1/verify?x=1", test.as_str(), "demo/test verify ~none 1"),
        ("POST", "http://h/v1/mcp/tools/call", live.as_str(), "demo/live mcp_tool_call ~none 1"),
        ("POST", "http://h/v1/extension/events", live.as_str(), "demo/live extension_event ~none 1"),
        ("GET", "http://h/v1/quota", live.as_str(), "demo/live verify ~none 1"),
        ("POST", "http://h/v1/check", live.as_str(), "body"),
        ("POST", "http://h/v1/observe", live.as_str(), "observation"),
        ("POST", "http://h/v1/observe", "", "401 unauthorized"),
        ("POST", "http://h/v1/check?trace=1", live.as_str(), "body"),
        ("POST", "/v1/check?kind=verify", live.as_str(), "demo/live verify ~none 1"),
        (
            "POST",
            "/v1/check?cost=1000&agent=gr%C3%B6&kind=mcp_tool_call&dry_run=true",
            test.as_str(),
            "demo/test mcp_tool_call gr%C3%B6 1000",
        ),
        ("POST", "/v1/check?kind=verify", "", "401 unauthorized"),
        ("POST", "/v1/check?kind=", live.as_str(), "422 field_rejected"),
        ("POST", "/v1/check?kind=other", live.as_str(), "422 field_rejected"),
        ("POST", "/v1/check?kind=verify&kind=verify", live.as_str(), "422 field_rejected"),
        ("POST", "/v1/check?kind=verify&cost=0", live.as_str(), "422 field_rejected"),
        ("POST", "/v1/check?kind=verify&cost=1001", live.as_str(), "422 field_rejected"),
        ("POST", "/v1/check?kind=verify&cost=%2B1", live.as_str(), "422 field_rejected"),
        ("POST", "/v1/check?kind=verify&cost=+1", live.as_str(), "422 field_rejected"),
        ("POST", "/v1/check?kind=verify&cost=", live.as_str(), "422 field_rejected"),
        ("POST", "/v1/check?kind=verify&agent=", live.as_str(), "422 field_rejected"),
        ("POST", "/v1/check?kind=verify&agent=~other", live.as_str(), "422 field_rejected"),
        ("POST", "/v1/check?kind=verify&dry_run=1", live.as_str(), "422 field_rejected"),
        ("POST", "/v1/check?kind=verify&more=1", live.as_str(), "422 field_rejected"),
        ("POST", "/v1/check?kind=verify&", live.as_str(), "422 field_rejected"),
        ("POST", "http://h/internal/policy", "", "policy"),
        ("POST", "http://h/internal/leases", "", "leases"),
        ("GET", "http://h/internal/leases", "", "405 method_not_allowed"),
        ("GET", "http://h/healthz", "", r#"200 {"status":"ok"}"#),
        ("GET", "http://h/v1/verify", live.as_str(), "405 method_not_allowed"),
        ("PUT", "http://h/v1/check", live.as_str(), "405 method_not_allowed"),
        ("POST", "http://h/v1/quota", live.as_str(), "405 method_not_allowed"),
        ("HEAD", "http://h/v1/check", live.as_str(), "405 method_not_allowed"),
        ("HEAD", "http://h/v1/verify", live.as_str(), "405 method_not_allowed"),
        ("POST", "http://h/", live.as_str(), "404 not_found"),
        ("POST", "http://h", "", "404 not_found"),
        ("POST", "http://h/v1/verifyx", live.as_str(), "404 not_found"),
        ("POST", "http://h/v1/verify", "", "401 unauthorized"),
        ("POST", "http://h/v1/verify", "Bearer", "401 unauthorized"),
        ("POST", "http://h/v1/verify", "Basic abc", "401 unauthorized"),
        (
            "POST",
            "http://h/v1/verify",
            "Bearer pk_live_demo_k001_1_00000000000000000000000000000000",
            "401 unauthorized",
        ),
        ("GET", "http://h/v1/quota", "", "401 unauthorized"),
        ("POST", "http://h/v1/check", "", "401 unauthorized"),
    ];
    for (method, url, authorization, expected) in cases {
        assert_eq!(outcome(gate(&config, &head(method, url, authorization))), expected, "{method} {url}");
    }
}

#[test]
fn paths_that_somebody_could_read_otherwise_are_refused() {
    let config = config();
    let live = bearer_of(&config, Mode::Live);
    let of = |path: &str| outcome(gate(&config, &head("POST", path, &live)));
    for rest in [
        "..%2f..%2fadmin",
        "..%2F..%2Fadmin",
        "..%5cadmin",
        "a%00",
        "a%0a",
        "a%0Db",
        "a%7f",
        "%2e%2e;/admin",
        "a%2e%2e",
        "..;/admin",
        ".;x/admin",
    ] {
        assert_eq!(of(&format!("/v1/verify/{rest}")), "400 bad_request", "{rest}");
    }
    for rest in
        ["a%20b", "..%252fadmin", "a%C3%A4", "a.b", "a..b", "x;y=1", "%", "%2", "%zz", "%é", "a?b=%2f%00"]
    {
        assert_eq!(of(&format!("/v1/verify/{rest}")), "demo/live verify ~none 1", "{rest}");
    }
}

#[test]
fn a_request_that_cannot_be_read_in_one_way_only_is_refused() {
    let config = config();
    let live = bearer_of(&config, Mode::Live);
    let of = |text: &str| {
        let mut words = text.splitn(4, '|');
        let mut next = || words.next().unwrap_or_default();
        let (method, url, host) = (next(), next(), next());
        let upgrades = !next().is_empty();
        outcome(gate(&config, &Head { host, upgrades, ..head(method, url, &live) }))
    };
    for host in ["edge", "edge:8787", "[::1]:80", "a-b.c_d", ""] {
        assert_eq!(of(&format!("POST|/v1/verify|{host}")), "demo/live verify ~none 1", "{host}");
    }
    for host in ["x/v1/verify?", "x?", "x#", "u@x", "a, b", "a b", "x\\y", "x%2f", "ä"] {
        assert_eq!(of(&format!("POST|/v1/verify|{host}")), "400 bad_request", "{host}");
        assert_eq!(of(&format!("GET|/healthz|{host}")), "400 bad_request", "{host}");
    }
    assert_eq!(of("POST|/v1/verify|edge|websocket"), "400 bad_request");
    // What is not forwarded goes nowhere that an upgrade could change.
    assert_eq!(of("POST|/v1/check|edge|h2c"), "body");
    assert_eq!(of("OPTIONS||edge"), "400 bad_request", "the platform hands over an address without a path");
}

#[test]
fn a_question_travels_through_javascript_with_its_home_as_text() {
    let config = config();
    let step = gate(&config, &head("POST", "http://h/v1/verify", &bearer_of(&config, Mode::Live)));
    let json = step.to_json();
    assert!(json.starts_with(r#"{"do":"decide","home":"demo/live","ask":{"#), "{json}");
    let Step::Decide(deciding) = step else { panic!("{json}") };
    assert_eq!(shared::json::read::<Deciding>(&json).unwrap(), deciding);
}

#[test]
fn all_refused_keys_get_the_same_answer() {
    let config = config();
    let answer = |authorization| gate(&config, &head("POST", "http://h/v1/verify", authorization));
    let live = bearer_of(&config, Mode::Live);
    assert_eq!(answer(""), answer("Bearer x"));
    assert_eq!(answer(""), answer(&live[..live.len() - 1]));
}

#[test]
fn sizes_are_limited_before_anything_is_read() {
    let config = config();
    let live = bearer_of(&config, Mode::Live);
    let plain = head("POST", "http://h/v1/verify", &live);
    let check = head("POST", "http://h/v1/check", &live);
    let long = format!("http://h/v1/verify?{}", "x".repeat(9_000));
    let cases = [
        (Head { header_bytes: HEADER_BYTES_MAX, ..plain }, "demo/live verify ~none 1"),
        (Head { header_bytes: HEADER_BYTES_MAX + 1, ..plain }, "431 headers_too_large"),
        (Head { body_bytes: FORWARD_BYTES_MAX + 1, ..plain }, "413 body_too_large"),
        (Head { body_bytes: CHECK_BYTES_MAX + 1, ..check }, "413 body_too_large"),
        (Head { url: &long, ..plain }, "414 uri_too_long"),
    ];
    for (head, expected) in cases {
        assert_eq!(outcome(gate(&config, &head)), expected);
    }
}

#[test]
fn agents_are_taken_from_the_header_and_odd_ones_refused() {
    let config = config();
    let live = bearer_of(&config, Mode::Live);
    let plain = head("POST", "http://h/v1/verify", &live);
    let long = "a".repeat(129);
    let cases = [
        ("support-bot", "demo/live verify support-bot 1"),
        ("größe", "demo/live verify gr%C3%B6%C3%9Fe 1"),
        ("", "demo/live verify ~none 1"),
        ("~other", "422 field_rejected"),
        (long.as_str(), "422 field_rejected"),
    ];
    for (agent, expected) in cases {
        assert_eq!(outcome(gate(&config, &Head { agent, ..plain })), expected, "{agent}");
    }
}

#[test]
fn a_check_is_read_from_its_body() {
    let config = config();
    let live = bearer_of(&config, Mode::Live);
    let cases = [
        (r#"{"kind":"verify"}"#, "demo/live verify from-header 1"),
        (
            r#"{"kind":"mcp_tool_call","agent":"b","cost":1000,"dry_run":true}"#,
            "demo/live mcp_tool_call b 1000",
        ),
        (r#"{"kind":"verify","cost":0}"#, "422 field_rejected"),
        (r#"{"kind":"verify","cost":1001}"#, "422 field_rejected"),
        (r#"{"kind":"verify","cost":-1}"#, "422 field_rejected"),
        (r#"{"kind":"verify","cost":1.5}"#, "422 field_rejected"),
        (r#"{"kind":"verify","agent":"~x"}"#, "422 field_rejected"),
        (r#"{"kind":"other"}"#, "422 field_rejected"),
        (r#"{"kind":1}"#, "422 field_rejected"),
        (r#"{"kind":"verify","x":1}"#, "422 field_rejected"),
        ("{}", "422 field_rejected"),
        ("", "400 malformed_json"),
        ("{", "400 malformed_json"),
        (r#"["verify",null,null,false]"#, "400 malformed_json"),
        (r#"{"kind":"verify"}x"#, "400 malformed_json"),
    ];
    for (body, expected) in cases {
        let plain = head("POST", "http://h/v1/check", &live);
        let Step::ReadBody(reading) = gate(&config, &Head { agent: "from-header", ..plain }) else {
            panic!("a check reads its body")
        };
        assert_eq!(outcome(read_body(reading, body)), expected, "{body}");
    }
}

#[test]
fn a_body_is_refused_by_its_first_field_that_is_not_accepted() {
    let config = config();
    let caller = || {
        let live = bearer_of(&config, Mode::Live);
        super::caller(&config, &head("POST", "", &live)).unwrap()
    };
    let detail = |refused: Refused| {
        let problem: Problem = serde_json::from_str(&refused.body).unwrap();
        let field = problem.field.unwrap();
        assert!(problem.detail.starts_with(&field), "{}", problem.detail);
        problem.detail.replace(", accepted is ", " | ")
    };
    const NAMES: &str = "kind, agent, cost, dry_run, each once";
    let checks = [
        (r#"{"kind":"verfy"}"#, "kind: got \"verfy\"", KIND),
        (r#"{"cost":1, "kind" : 1 }"#, "kind: got \"1\"", KIND),
        (r#"{"kind":["verify"]}"#, r#"kind: got "[\"verify\"]""#, KIND),
        (r#"{"kind":null}"#, "kind is missing", KIND),
        ("{}", "kind is missing", KIND),
        (r#"{"kind":"verify","agent":7}"#, "agent: got \"7\"", AGENT),
        (r#"{"kind":"verify","agent":"~x"}"#, "agent: got \"~x\"", AGENT),
        (r#"{"kind":"verify","cost":"2"}"#, "cost: got \"2\"", COST),
        (r#"{"kind":"verify","cost":1.5}"#, "cost: got \"1.5\"", COST),
        (r#"{"kind":"verify","cost":1001}"#, "cost: got \"1001\"", COST),
        (r#"{"dry_run":"yes","kind":"other"}"#, "dry_run: got \"yes\"", DRY_RUN),
        (r#"{"kind":"verify","more":1}"#, "body: got \"more\"", NAMES),
        (r#"{"kind":"verify","kind":"verify"}"#, "body: got \"kind\"", NAMES),
        (r#"{"a\"b":1}"#, r#"body: got "a\"b""#, NAMES),
    ];
    for (body, got, accepts) in checks {
        assert_eq!(detail(check_ask(&caller(), body).unwrap_err()), format!("{got} | {accepts}"), "{body}");
    }
    let observations = [
        (r#"{"kind":"other"}"#, "kind: got \"other\"", KIND),
        (r#"{"tokens_in":-1}"#, "tokens_in: got \"-1\"", TOKENS),
        (r#"{"tokens_out":"5"}"#, "tokens_out: got \"5\"", TOKENS),
        (r#"{"anchors":1001}"#, "anchors: got \"1001\"", ANCHORS),
        (r#"{"tokens":1}"#, "body: got \"tokens\"", "kind, agent, tokens_in, tokens_out, anchors, each once"),
    ];
    for (body, got, accepts) in observations {
        let refused = read_observation(caller(), body).unwrap_err();
        assert_eq!(detail(refused), format!("{got} | {accepts}"), "{body}");
    }
    for (accepts, max) in [(TOKENS, Observed::TOKENS_MAX), (ANCHORS, Observed::ANCHORS_MAX)] {
        assert_eq!(accepts, format!("a whole number from 0 to {max}"));
    }
    assert_eq!(COST, format!("a whole number from 1 to {}", Ask::COST_MAX));
}

#[test]
fn an_observation_is_read_from_its_body() {
    let config = config();
    let live = bearer_of(&config, Mode::Live);
    let plain = Head { agent: "from-header", ..head("POST", "http://h/v1/observe", &live) };
    let told = |body: &str| match observation(&config, &plain, body) {
        Ok(Observing { kind, agent, observed, .. }) => {
            format!("{kind} {agent} {} {} {}", observed.tokens_in, observed.tokens_out, observed.anchors)
        }
        Err(answer) => outcome(Step::Answer(*answer)),
    };
    let cases = [
        (r#"{"tokens_in":5,"tokens_out":7}"#, "verify from-header 5 7 0"),
        (r#"{"kind":"mcp_tool_call","agent":"b","anchors":1000}"#, "mcp_tool_call b 0 0 1000"),
        ("{}", "verify from-header 0 0 0"),
        (r#"{"anchors":1001}"#, "422 field_rejected"),
        (r#"{"tokens_in":1000000001}"#, "422 field_rejected"),
        (r#"{"tokens_in":-1}"#, "422 field_rejected"),
        (r#"{"tokens_in":1.5}"#, "422 field_rejected"),
        (r#"{"agent":"~x"}"#, "422 field_rejected"),
        (r#"{"tokens":1}"#, "422 field_rejected"),
        ("[]", "400 malformed_json"),
        (r#"["verify","bot",1,2,3]"#, "400 malformed_json"),
        (r#"{"tokens_in":1} {}"#, "400 malformed_json"),
        (r#"{"tokens_in":1.0}"#, "422 field_rejected"),
        (r#"{"tokens_in":1,"tokens_in":1}"#, "422 field_rejected"),
        ("", "400 malformed_json"),
    ];
    for (body, expected) in cases {
        assert_eq!(told(body), expected, "{body}");
    }
}

#[test]
fn a_route_or_the_deployment_says_when_a_request_is_counted() {
    let table = r#"[{"prefix":"/a","kind":"verify","bill":"answered"},{"prefix":"/b","kind":"verify"}]"#;
    let held = |bill: &str, path: &str| {
        let mut config = config().with_rules(bill, "").unwrap();
        config.routes = shared::kind::Routes::from_json(table).unwrap();
        let live = bearer_of(&config, Mode::Live);
        let step = gate(&config, &head("POST", &format!("http://h{path}"), &live));
        let Step::Decide(Deciding { ask, .. }) = step else { panic!("{step:?}") };
        ask.held
    };
    let cases = [("", "/a", true), ("", "/b", false), ("answered", "/b", true), ("allowed", "/a", true)];
    for (bill, path, expected) in cases {
        assert_eq!(held(bill, path), expected, "{bill} {path}");
    }
}

#[test]
fn metrics_are_read_with_their_token_and_nothing_is_there_for_others() {
    let token = "0123456789abcdef";
    let with_token = config().with_metrics(token).unwrap();
    let live = bearer_of(&with_token, Mode::Live);
    let shown = format!("Bearer {token}");
    let longer = format!("Bearer {token}0");
    for (config, method, authorization, expected) in [
        (&with_token, "GET", shown.as_str(), "metrics"),
        (&with_token, "POST", shown.as_str(), "405 method_not_allowed"),
        (&with_token, "GET", longer.as_str(), "404 not_found"),
        (&with_token, "GET", live.as_str(), "404 not_found"),
        (&with_token, "GET", "", "404 not_found"),
        (&config(), "GET", "", "404 not_found"),
        (&config(), "GET", "Bearer ", "404 not_found"),
        (&config(), "GET", shown.as_str(), "404 not_found"),
    ] {
        assert_eq!(
            outcome(gate(config, &head(method, "/metrics", authorization))),
            expected,
            "{authorization}"
        );
    }
    assert!(config().with_metrics("short").is_err());
}
