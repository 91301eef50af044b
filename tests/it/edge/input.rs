//! Bad input at the edge: the right problem, and nothing changed.

use std::time::Duration;

use anyhow::{Context, Result};
use shared::problem::ErrorCode::{self, *};
use tests::client::Call;
use tests::project::{Limits, Project};
use tests::raw::{Wire, exchange};
use tests::stack::{Part, Stack};

/// A stack, a project with one unit used, and the numbers before the bad input came.
async fn prepared(id: &str) -> Result<(Stack, Project, String)> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, id, Limits::WIDE).await?;
    assert_eq!(project.verify().await?.status, 200);
    project.reports(&stack, 1).await?;
    let before = project.quota().await?.text();
    Ok((stack, project, used(&before).to_owned()))
}

/// The quota without the minute's numbers, which time changes.
fn used(quota: &str) -> &str {
    quota.split_once("\"rpm\"").map_or(quota, |(numbers, _)| numbers)
}

/// The same numbers as before, at the home and in the report, and the edge still serves.
async fn unchanged(stack: Stack, project: &Project, before: &str) -> Result<()> {
    assert_eq!(used(&project.quota().await?.text()), before);
    assert_eq!(project.usage(&stack).await?.total, 1);
    assert_eq!(project.verify().await?.status, 200);
    project.reports(&stack, 2).await?;
    stack.finish()
}

async fn refused(stack: &Stack, what: &str, call: &Call, code: ErrorCode) -> Result<()> {
    call.send(stack.edge()).await?.problem(code).map(|_| ()).with_context(|| what.to_owned())
}

#[tokio::test]
async fn requests_that_are_not_ours_are_refused_by_name() -> Result<()> {
    let (stack, project, before) = prepared("lines").await?;
    let key = &project.key;
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        for path in ["/v1/verify", "/v1/mcp/x", "/v1/check", "/internal/policy"] {
            let call = Call::new(method.parse()?, path).bearer(key);
            refused(&stack, &format!("{method} {path}"), &call, MethodNotAllowed).await?;
            assert_eq!(call.send(stack.edge()).await?.header("allow"), Some("POST"));
        }
    }
    refused(&stack, "POST /v1/quota", &Call::post("/v1/quota", "").bearer(key), MethodNotAllowed).await?;
    for path in [
        "/",
        "/v1",
        "/v2/verify",
        "/v1/verifyx",
        "/V1/VERIFY",
        "//v1/verify",
        "/v1/verify;a=b",
        "/v1/verify%00",
        "/v1%2fverify",
        "/v1/verify%2e",
        "/api/v1/usage",
        "/ingest",
        "/internal/flush",
    ] {
        refused(&stack, path, &Call::post(path, "{}").bearer(key), NotFound).await?;
    }
    for path in ["/v1/verify", "/v1/check", "/v1/quota"] {
        let method = if path == "/v1/quota" { "GET" } else { "POST" };
        let long = Call::new(method.parse()?, &format!("{path}?{}", "q".repeat(9_000))).bearer(key);
        refused(&stack, "a long query", &long, UriTooLong).await?;
        // Nothing of a check's headers goes anywhere, so that they are as long as the platform accepts.
        if path == "/v1/check" {
            continue;
        }
        let wide = Call::new(method.parse()?, path).bearer(key).header("x-wide", "w".repeat(20 * 1024));
        refused(&stack, "20 KiB of headers", &wide, HeadersTooLarge).await?;
    }
    unchanged(stack, &project, &before).await
}

#[tokio::test]
async fn agents_that_cannot_be_named_are_refused() -> Result<()> {
    let (stack, project, before) = prepared("names").await?;
    let long = "a".repeat(129);
    let encoded_long = "ä".repeat(30);
    for agent in ["~none", "~other", "~x", &long, &encoded_long, ""] {
        // An empty header is no header, as proxies see it; an empty field is a mistake.
        for path in ["/v1/verify", "/v1/check"].iter().filter(|_| !agent.is_empty()) {
            let call = Call::post(path, "{\"kind\":\"verify\"}").bearer(&project.key).agent(agent);
            refused(&stack, agent, &call, FieldRejected).await?;
        }
        let body = serde_json::json!({"kind": "verify", "agent": agent}).to_string();
        refused(&stack, agent, &Call::post("/v1/check", body).bearer(&project.key), FieldRejected).await?;
    }
    unchanged(stack, &project, &before).await
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused() -> Result<()> {
    let (stack, project, before) = prepared("bodies").await?;
    let deep = format!("{{\"kind\":{}", "[".repeat(2_000));
    let padded = format!("{{\"kind\":\"verify\"{}}}", " ".repeat(4_096));
    let cases: [(&str, ErrorCode); 22] = [
        ("", MalformedJson),
        (" ", MalformedJson),
        ("null", MalformedJson),
        ("[]", MalformedJson),
        ("[\"verify\",\"a\",1]", MalformedJson),
        ("\"verify\"", MalformedJson),
        ("{", MalformedJson),
        ("{\"kind\":\"verify\"", MalformedJson),
        ("{\"kind\":\"verify\"}}", MalformedJson),
        ("{\"kind\":\"verify\"} x", MalformedJson),
        ("{kind:'verify'}", MalformedJson),
        (&deep, MalformedJson),
        ("{}", FieldRejected),
        ("{\"kind\":\"other\"}", FieldRejected),
        ("{\"kind\":1}", FieldRejected),
        ("{\"kind\":\"verify\",\"kind\":\"verify\"}", FieldRejected),
        ("{\"kind\":\"verify\",\"more\":1}", FieldRejected),
        ("{\"kind\":\"verify\",\"cost\":0}", FieldRejected),
        ("{\"kind\":\"verify\",\"cost\":1001}", FieldRejected),
        ("{\"kind\":\"verify\",\"cost\":-1}", FieldRejected),
        ("{\"kind\":\"verify\",\"dry_run\":\"yes\"}", FieldRejected),
        (&padded, BodyTooLarge),
    ];
    let costs = ["1.0", "1e2", "1.5", "\"1\"", "true", "[]", "4294967297", "9223372036854775808"];
    let costs = costs.map(|cost| format!("{{\"kind\":\"verify\",\"cost\":{cost}}}"));
    let cases = cases.into_iter().chain(costs.iter().map(|body| (body.as_str(), FieldRejected)));
    let mut wrong = Vec::new();
    for (body, code) in cases {
        let call = Call::post("/v1/check", body.to_owned()).json().bearer(&project.key);
        let answer = refused(&stack, &format!("{body:.60}"), &call, code).await;
        wrong.extend(answer.err().map(|error| format!("{error:#}")));
    }
    assert_eq!(wrong, Vec::<String>::new());
    unchanged(stack, &project, &before).await
}

#[tokio::test]
async fn too_much_is_refused_whether_it_is_announced_or_just_comes() -> Result<()> {
    let (stack, project, before) = prepared("sizes").await?;
    let head = |path: &str, more: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {}\r\n{more}\r\n", project.key)
    };
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4_096));
    let cases = [
        (head("/v1/check", "Content-Length: 4097\r\n"), "an announced body"),
        (
            format!("{}{chunk}{chunk}0\r\n\r\n", head("/v1/check", "Transfer-Encoding: chunked\r\n")),
            "a chunked body",
        ),
        (head("/v1/verify", "Content-Length: 104857601\r\n"), "a forwarded body"),
        (head("/internal/policy", "Content-Length: 300000\r\n"), "a policy"),
    ];
    for (request, what) in cases {
        let answer = exchange(stack.edge(), request).await.context(what)?;
        assert_eq!(answer.status(), Some(413), "{what}: {}", answer.text());
        assert_eq!(answer.header("content-type").as_deref(), Some("application/problem+json"), "{what}");
        assert!(answer.text().contains("\"code\":\"body_too_large\""), "{what}");
    }
    unchanged(stack, &project, &before).await
}

#[tokio::test]
async fn what_is_not_http_gets_no_further_than_the_door() -> Result<()> {
    let (stack, project, before) = prepared("door").await?;
    let auth = format!("Host: edge\r\nAuthorization: Bearer {}\r\n", project.key);
    let post = |path: &str, more: &str| format!("POST {path} HTTP/1.1\r\n{auth}{more}\r\n");
    let wide = |kib: usize| format!("X-Wide: {}\r\nContent-Length: 0\r\n", "w".repeat(kib * 1024));
    // workerd itself refuses all but the 100 KiB, in plain text: no line of ours has seen them.
    let cases = [
        ("two lengths", 400, post("/v1/verify", "Content-Length: 1\r\nContent-Length: 2\r\n")),
        ("a negative length", 400, post("/v1/verify", "Content-Length: -1\r\n")),
        ("an endless length", 400, post("/v1/verify", "Content-Length: 18446744073709551616\r\n")),
        ("a space before the colon", 400, post("/v1/verify", "Content-Length : 0\r\n")),
        ("a null in a header", 400, post("/v1/verify", "X-Null: a\0b\r\nContent-Length: 0\r\n")),
        ("a null in the path", 400, post("/v1/verify/\0", "Content-Length: 0\r\n")),
        ("an unknown method", 501, format!("FOO /v1/verify HTTP/1.1\r\n{auth}\r\n")),
        ("no version", 400, format!("POST /v1/verify\r\n{auth}\r\n")),
        ("no HTTP at all", 400, "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned()),
        ("100 KiB of headers", 431, post("/v1/verify", &wide(100))),
        ("1 MiB of headers", 431, post("/v1/verify", &wide(1_024))),
    ];
    for (what, status, request) in cases {
        let answer = exchange(stack.edge(), request).await.context(what)?;
        assert_eq!(answer.status(), Some(status), "{what}: {}", answer.text());
    }
    unchanged(stack, &project, &before).await
}

#[tokio::test]
async fn what_follows_a_request_of_two_lengths_is_not_taken_for_another() -> Result<()> {
    let (stack, project, _) = prepared("smuggle").await?;
    let inner =
        format!("POST /v1/verify HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {}\r\n\r\n", project.key);
    let outer =
        inner.replace("\r\n\r\n", "\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    let mut wire = Wire::open(stack.edge()).await?;
    wire.write(format!("{outer}{inner}")).await;
    let got = wire.closed(Duration::from_secs(10)).await?.text();
    assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{got}");
    // The one that was in the report before, and the outer request.
    project.reports(&stack, 2).await?;
    assert_eq!(project.verify().await?.status, 200);
    project.reports(&stack, 3).await?;
    stack.finish()
}

#[tokio::test]
async fn half_a_body_is_ended_in_time_and_none_is_read_without_a_key() -> Result<()> {
    let (stack, project, before) = prepared("halves").await?;
    let half =
        |more: &str| format!("POST /v1/check HTTP/1.1\r\nHost: edge\r\n{more}Content-Length: 30\r\n\r\n{{");
    let answer = exchange(stack.edge(), half("")).await?;
    assert_eq!(answer.status(), Some(401), "{}", answer.text());
    let mut wire = Wire::open(stack.edge()).await?;
    wire.write(half(&format!("Authorization: Bearer {}\r\n", project.key))).await;
    let answer = wire.answer(Duration::from_secs(20)).await?;
    assert_eq!(answer.status(), Some(408), "{}", answer.text());
    unchanged(stack, &project, &before).await
}

#[tokio::test]
async fn requests_that_two_readers_would_read_differently_are_refused() -> Result<()> {
    let (stack, project, before) = prepared("readers").await?;
    let post = |path: &str, host: &str, more: &str| {
        let auth = format!("Authorization: Bearer {}\r\n", project.key);
        format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{auth}{more}Content-Length: 0\r\n\r\n")
    };
    let cases = [
        post("/v1/verify/..%2f..%2fadmin", "edge", ""),
        post("/v1/verify/a%00", "edge", ""),
        post("/zz", "x/v1/verify?", ""),
        post("/v1/verify", "a\r\nHost: b", ""),
        post("/v1/verify", "edge", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    ];
    for request in cases {
        let answer = exchange(stack.edge(), &request).await?;
        assert_eq!(answer.status(), Some(400), "{request}: {}", answer.text());
    }
    unchanged(stack, &project, &before).await
}

#[tokio::test]
async fn bodies_that_are_framed_wrongly_and_addresses_that_are_none_are_400_without_a_word_in_the_log()
-> Result<()> {
    let (stack, project, before) = prepared("framing").await?;
    let auth = format!("Host: edge\r\nAuthorization: Bearer {}\r\n", project.key);
    for path in ["/v1/check", "/v1/observe", "/internal/policy"] {
        for size in ["g", "-1", "0x2", "", "fffffffffffffffff"] {
            let head = format!("POST {path} HTTP/1.1\r\n{auth}Transfer-Encoding: chunked\r\n\r\n");
            let answer = exchange(stack.edge(), format!("{head}{size}\r\n{{}}\r\n0\r\n\r\n")).await?;
            assert_eq!(answer.status(), Some(400), "{path} {size:?}: {}", answer.text());
        }
    }
    for method in ["OPTIONS", "GET", "POST"] {
        let answer = exchange(stack.edge(), format!("{method} * HTTP/1.1\r\n{auth}\r\n")).await?;
        assert_eq!(answer.status(), Some(400), "{method}: {}", answer.text());
    }
    let log = stack.log(Part::Edge)?;
    assert!(!log.contains("failed") && !log.contains("did not answer"), "{log}");
    unchanged(stack, &project, &before).await
}
