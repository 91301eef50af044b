//! JSON bodies of the administrators' interface: what is not JSON, and what is not meant.

use shared::plan::Plan;

use crate::support::Meter;

const PROJECTS: &str = "/api/v1/admin/projects";

#[tokio::test]
async fn what_is_not_json_is_400() {
    let meter = Meter::start().await;
    let operator = meter.operator().await;
    let deep = format!("{{\"id\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let deeper = "[".repeat(60_000);
    let cases = [
        " ",
        "{",
        "}",
        "nonsense",
        "{\"id\":}",
        "{\"id\":\"a\"} x",
        "{'id':'a'}",
        "{\"id\":NaN}",
        "{\"rpm\":1e400}",
        "\u{feff}{}",
        "{\"id\":\"\\ud800\"}",
        "{\"id\":\"a\nb\"}",
        "{\"a\":1,}",
        &deep,
        &deeper,
    ];
    for body in cases {
        let answer = meter.json("POST", PROJECTS, &operator, body).await;
        answer.is_problem("malformed_json", &body.chars().take(60).collect::<String>());
    }
    let authorization = format!("Bearer {operator}");
    let head = format!(
        "POST {PROJECTS} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: {authorization}\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n"
    );
    let not_text = [head.as_bytes(), b"{\"id\":\"\xff"].concat();
    meter.raw(&not_text).await.is_problem("malformed_json", "not UTF-8");
}

#[tokio::test]
async fn what_is_not_meant_is_422_and_names_the_field() {
    let meter = Meter::start().await;
    let operator = meter.operator().await;
    // body => field, or - where the whole body is refused
    let table = r#"
        null                                          => -
        []                                            => -
        ["x","pro"]                                   => -
        "x"                                           => -
        7                                             => -
        {}                                            => id
        {"plan":"pro"}                                => id
        {"id":"x"}                                    => plan
        {"id":"x","plan":"gold"}                      => plan
        {"id":"x","plan":null}                        => plan
        {"id":"x","plan":["pro"]}                     => plan
        {"id":null,"plan":"pro"}                      => id
        {"id":1,"plan":"pro"}                         => id
        {"id":"","plan":"pro"}                        => id
        {"id":"De mo","plan":"pro"}                   => id
        {"id":"a/b","plan":"pro"}                     => id
        {"id":"../x","plan":"pro"}                    => id
        {"id":"' OR 1=1--","plan":"pro"}              => id
        {"id":"a\u0000b","plan":"pro"}                => id
        {"id":"x","id":"y","plan":"pro"}              => id
        {"id":"x","plan":"pro","plan":"pro"}          => plan
        {"id":"x","plan":"pro","color":"red"}         => color
        {"id":"x","plan":"pro","Rpm":5}               => Rpm
        {"id":"x","plan":"pro","rpm":0}               => rpm
        {"id":"x","plan":"pro","rpm":-1}              => rpm
        {"id":"x","plan":"pro","rpm":-0}              => rpm
        {"id":"x","plan":"pro","rpm":1.0}             => rpm
        {"id":"x","plan":"pro","rpm":1e3}             => rpm
        {"id":"x","plan":"pro","rpm":"1"}             => rpm
        {"id":"x","plan":"pro","rpm":true}            => rpm
        {"id":"x","plan":"pro","rpm":[]}              => rpm
        {"id":"x","plan":"pro","rpm":{}}              => rpm
        {"id":"x","plan":"pro","rpm":1000001}         => rpm
        {"id":"x","plan":"pro","rpm":18446744073709551616} => rpm
        {"id":"x","plan":"pro","included":9007199254740992} => included
        {"id":"x","plan":"pro","included":-1}         => included
        {"id":"x","plan":"pro","included":0.5}        => included
    "#;
    for case in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (body, field) = case.split_once("=> ").unwrap();
        let answer = meter.json("POST", PROJECTS, &operator, body.trim()).await;
        answer.is_problem("field_rejected", case);
        if field != "-" {
            answer.refuses(field, case);
        }
    }
    assert_eq!(
        meter.get(PROJECTS, &operator).await.body,
        r#"{"projects":[],"next":null}"#,
        "nothing was made"
    );
}

#[tokio::test]
async fn accepted_bodies_do_what_they_say() {
    let meter = Meter::start().await;
    let operator = meter.operator().await;
    let body = r#" {"id":"x","plan":"pro","rpm":null,"included":9007199254740991} "#;
    let made = meter.json("POST", PROJECTS, &operator, body).await;
    assert_eq!(
        made.body,
        concat!(
            r#"{"id":"x","plan":"pro","rpm":600,"included":9007199254740991,"suspended":false,"catalogue":1,"auto_overage":false,"#,
            r#""agents_max":25,"members_max":5,"thresholds":[80,100],"#,
            r#""own":{"rpm":null,"included":9007199254740991,"thresholds":null},"policy_version":1,"created_at":"2026-11-23T12:00:00Z"}"#
        )
    );
    meter.json("POST", PROJECTS, &operator, body).await.is_problem("project_exists", "again");
    let path = format!("{PROJECTS}/x");
    for (body, field) in
        [(r#"{"plan":"gold"}"#, "plan"), (r#"{"suspended":1}"#, "suspended"), (r#"{"id":"y"}"#, "id")]
    {
        meter.json("PATCH", &path, &operator, body).await.refuses(field, body);
    }
    for (path, body, field) in [
        ("keys", r#"{"mode":"prod"}"#, "mode"),
        ("keys", r#"{"test":true}"#, "test"),
        ("tokens", r#"{"role":"operator"}"#, "role"),
        ("tokens", "{}", "role"),
    ] {
        let path = format!("{PROJECTS}/x/{path}");
        meter.json("POST", &path, &operator, body).await.refuses(field, body);
    }
    let keys = format!("{PROJECTS}/x/keys");
    let key = meter.json("POST", &keys, &operator, r#"{"mode":"test"}"#).await;
    let verified = meter.app.key_secrets.verify(&key.field("key")).unwrap();
    assert_eq!((verified.project.as_str(), verified.id.as_str()), ("x", key.field("id").as_str()));
    let listed = meter.get(&keys, &operator).await;
    assert!(listed.body.contains(&key.field("id")) && !listed.body.contains("pk_"), "{listed:?}");
    let unknown = format!("{keys}/zzzzzz");
    meter.json("DELETE", &unknown, &operator, "").await.is_problem("key_unknown", "unknown key");
    meter
        .json("DELETE", &format!("{keys}/No-Key"), &operator, "")
        .await
        .is_problem("key_unknown", "no key id");
    assert_eq!(meter.json("DELETE", &format!("{keys}/%ff"), &operator, "").await.status, 404, "no text");
    let tokens = format!("{PROJECTS}/x/tokens");
    let token = meter.json("POST", &tokens, &operator, r#"{"role":"finance"}"#).await;
    assert_eq!(meter.get(&path, &token.field("token")).await.status, 200);
    let revoke = format!("{tokens}/{}", token.field("id"));
    assert_eq!(meter.json("DELETE", &revoke, &operator, "").await.status, 200);
    meter.get(&path, &token.field("token")).await.is_problem("unauthorized", "revoked at once");
    assert!(!meter.get(&tokens, &operator).await.body.contains("pat_"));
    meter
        .json("DELETE", &format!("{tokens}/nobody"), &operator, "")
        .await
        .is_problem("not_found", "unknown token");
}

#[tokio::test]
async fn operators_tokens_are_out_of_a_projects_reach() {
    let meter = Meter::start().await;
    meter.project("x", Plan::Pro).await;
    let (id, operator) = meter.token(aggregator::access::Scope::Operator).await;
    meter
        .json("DELETE", &format!("{PROJECTS}/x/tokens/{id}"), &operator, "")
        .await
        .is_problem("not_found", "operator's");
    assert_eq!(meter.get(PROJECTS, &operator).await.status, 200);
}

#[tokio::test]
async fn media_types_are_checked() {
    let meter = Meter::start().await;
    let authorization = format!("Bearer {}", meter.operator().await);
    let cases = [
        ("application/json", true),
        ("Application/JSON; charset=UTF-8", true),
        ("application/json; charset=\"utf-8\"", true),
        ("application/json; charset=utf-16", false),
        ("application/jsonx", false),
        ("text/plain", false),
        ("multipart/form-data; boundary=x", false),
        ("", false),
    ];
    for (number, (media_type, accepted)) in cases.into_iter().enumerate() {
        let headers = [("authorization", authorization.as_str()), ("content-type", media_type)];
        let answer =
            meter.send("POST", PROJECTS, &headers, &format!(r#"{{"id":"p{number}","plan":"pro"}}"#)).await;
        assert_eq!(answer.status, if accepted { 201 } else { 415 }, "{media_type}: {answer:?}");
    }
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    meter.send("POST", PROJECTS, &headers, "{}").await.is_problem("unsupported_media_type", "encoded");
}

#[tokio::test]
async fn a_long_list_of_projects_comes_in_pages() {
    let meter = Meter::start().await;
    for number in 0..150 {
        meter.project(&format!("p{number:03}"), Plan::Community).await;
    }
    let operator = meter.operator().await;
    let first = meter.get(PROJECTS, &operator).await;
    assert_eq!((first.body.matches("\"id\"").count(), first.field("next")), (100, "p099".to_owned()));
    let second = meter.get(&format!("{PROJECTS}?after=p099"), &operator).await;
    assert_eq!((second.body.matches("\"id\"").count(), second.field("next")), (50, "null".to_owned()));
    meter.get(&format!("{PROJECTS}?page=2"), &operator).await.refuses("page", "an unknown parameter");
}

#[tokio::test]
async fn a_project_has_at_most_a_hundred_active_keys() {
    let meter = Meter::start().await;
    meter.project("x", Plan::Community).await;
    let operator = meter.operator().await;
    let mut last = meter.key("x").await;
    for _ in 1..100 {
        last = meter.key("x").await;
    }
    let keys = format!("{PROJECTS}/x/keys");
    meter.json("POST", &keys, &operator, "{}").await.refuses("keys", "one too many");
    meter.json("DELETE", &format!("{keys}/{last}"), &operator, "").await;
    assert_eq!(meter.json("POST", &keys, &operator, "{}").await.status, 201);
}
