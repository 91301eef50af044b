//! Limits of size, number and time, and what is no request at all.

use std::time::Duration;

use aggregator::clock::Clock;
use aggregator::http::{HEADERS_BYTES_MAX, Route, Timeouts, URI_BYTES_MAX, routes};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{Folder, Meter, noon, read_answer, request, sign};

/// Short enough for tests, long enough for a busy machine.
async fn quick() -> Meter {
    let short = Duration::from_millis(400);
    let timeouts = Timeouts { head: short, body: short, stop: Duration::from_secs(5), ..Timeouts::default() };
    Meter::start_with(Folder::new(), Clock::manual(noon()), timeouts).await
}

/// A request to /healthz whose header lines have that many bytes in all, as the limit counts them.
fn with_headers(bytes: usize) -> String {
    let fixed = request("GET", "/healthz", &[("x", "")], "");
    // The limit counts each line without its request line, and each line's end as two bytes.
    let counted = fixed.len() - "GET /healthz HTTP/1.1\r\n".len() - "\r\n".len();
    request("GET", "/healthz", &[("x", &"a".repeat(bytes - counted))], "")
}

#[tokio::test]
async fn heads_that_are_too_large_are_told_which_limit_they_broke() {
    let meter = Meter::start().await;
    let path = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
    let get = |path: &str| request("GET", path, &[], "");
    let lines = |count: usize| {
        let many: Vec<(String, String)> = (0..count).map(|n| (format!("x{n}"), String::new())).collect();
        let many: Vec<(&str, &str)> =
            many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        request("GET", "/healthz", &many, "")
    };
    let host = |lines: &str| format!("GET /healthz HTTP/1.1\r\n{lines}connection: close\r\n\r\n");
    let cases = [
        ("the longest path", get(&path(URI_BYTES_MAX)), 404, "not_found"),
        ("a longer path", get(&path(URI_BYTES_MAX + 1)), 414, "uri_too_long"),
        ("a very long path", get(&path(60_000)), 414, "uri_too_long"),
        ("the largest headers", with_headers(HEADERS_BYTES_MAX), 200, ""),
        ("larger headers", with_headers(HEADERS_BYTES_MAX + 1), 431, "headers_too_large"),
        ("500 KB of headers", with_headers(500_000), 431, ""),
        ("100 header lines", lines(98), 200, ""),
        ("101 header lines", lines(99), 431, ""),
        ("no host", host(""), 400, "bad_request"),
        ("two hosts", host("host: a\r\nhost: b\r\n"), 400, "bad_request"),
        ("an empty host", host("host: \r\n"), 400, "bad_request"),
        ("a host with a path", host("host: a/b\r\n"), 400, "bad_request"),
        ("a host with a user", host("host: a@b\r\n"), 400, "bad_request"),
        ("a host of two words", host("host: a b\r\n"), 400, "bad_request"),
        ("a host with a port", host("host: meter.example:8080\r\n"), 200, ""),
        ("an address", host("host: [::1]:8080\r\n"), 200, ""),
        ("no path", request("OPTIONS", "*", &[], ""), 400, "bad_request"),
        ("no path to get", request("GET", "*", &[], ""), 400, "bad_request"),
        ("a tunnel", request("CONNECT", "a:443", &[], ""), 400, "bad_request"),
        ("a whole address", request("GET", "http://a/healthz", &[], ""), 200, ""),
        ("a header without colon", host("host: a\r\nnonsense\r\n"), 400, ""),
        ("a control in a header", host("host: a\r\nx: a\u{0}b\r\n"), 400, ""),
        ("no HTTP", "hello\r\n\r\n".to_owned(), 400, ""),
        (
            "two lengths",
            "POST /ingest HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_owned(),
            400,
            "",
        ),
        ("HTTP/2 by guess, which is closed", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 0, ""),
    ];
    for (what, bytes, status, code) in cases {
        let answer = meter.raw(bytes.as_bytes()).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        if !code.is_empty() {
            answer.is_problem(code, what);
        }
        assert_eq!(meter.send("GET", "/healthz", &[], "").await.status, 200, "after {what}");
    }
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_whether_they_say_so_or_not() {
    let meter = Meter::start().await;
    let operator = meter.operator().await;
    let filled = |bytes: usize| format!(r#"{{"id":"{}"}}"#, "a".repeat(bytes - r#"{"id":""}"#.len()));
    let chunked = |path: &str, headers: &str, body: &str| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}transfer-encoding: chunked\r\n\r\n"
        );
        format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
    };
    let projects = "/api/v1/admin/projects";
    meter.json("POST", projects, &operator, &filled(65_536)).await.refuses("id", "the largest body");
    meter.json("POST", projects, &operator, &filled(65_537)).await.is_problem("body_too_large", "declared");
    let json = format!("authorization: Bearer {operator}\r\ncontent-type: application/json\r\n");
    let answer = meter.raw(chunked(projects, &json, &filled(65_537)).as_bytes()).await;
    answer.is_problem("body_too_large", "chunked");
    let (largest, larger) = (" ".repeat(1_048_576), " ".repeat(1_048_577));
    meter.flush(&largest).await.is_problem("malformed_json", "the largest flush");
    meter.flush(&larger).await.is_problem("body_too_large", "a larger flush");
    let signed = format!("palveron-signature: {}\r\n", sign("/ingest", &larger, noon()));
    let answer = meter.raw(chunked("/ingest", &signed, &larger).as_bytes()).await;
    answer.is_problem("body_too_large", "a larger flush, chunked");
    let broken = chunked("/ingest", &signed, "{}").replace("2\r\n{}", "g\r\n{}");
    meter.raw(broken.as_bytes()).await.is_problem("bad_request", "a chunk of no length");
}

#[tokio::test]
async fn every_route_refuses_other_methods_and_says_which_it_takes() {
    let meter = Meter::start().await;
    for route in routes() {
        let path = route.path.replace("{project}", "demo").replace(['{', '}'], "");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "FOO"] {
            let taken = |other: &Route| other.path == route.path && other.method.as_str() == method;
            if routes().iter().any(taken) {
                continue;
            }
            let answer = meter.send(method, &path, &[], "").await;
            answer.is_problem("method_not_allowed", &format!("{method} {path}"));
            let allow = answer.header("allow").unwrap_or_default();
            assert!(allow.contains(route.method.as_str()), "{method} {path}: {allow}");
        }
    }
    assert_eq!(meter.send("HEAD", "/ingest", &[], "").await.status, 405);
    assert_eq!(meter.send("HEAD", "/healthz", &[], "").await.status, 200);
    let overridden = meter.send("POST", "/healthz", &[("x-http-method-override", "GET")], "").await;
    assert_eq!(overridden.status, 405, "the method is what it is");
}

#[tokio::test]
async fn every_number_of_metrics_is_documented_and_every_documented_one_is_there() {
    let meter = Meter::start().await;
    meter.send("GET", "/nowhere/at/all", &[], "").await;
    meter.send("FOO", "/healthz", &[], "").await;
    let text = meter.send("GET", "/metrics", &[], "").await.body;
    let names = |text: &str| -> std::collections::BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        // The edge's own are told on the same page, and the cookie of a session is no number.
        let ours = words.filter(|word| word.starts_with("meter_") && !word.starts_with("meter_edge_"));
        let ours = ours.filter(|word| *word != "meter_session");
        ours.map(str::to_owned).collect()
    };
    let suffix = |kind: &str| match kind {
        "counter" => "_total",
        "info" => "_info",
        _ => "",
    };
    let shown: std::collections::BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| format!("{name}{}", suffix(kind)))
        .collect();
    let document = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let documented = names(&std::fs::read_to_string(document).unwrap());
    assert_eq!(shown, documented);
    for line in [
        r#"meter_http_requests_total{method="GET",route="none",status="404"} 1"#,
        r#"meter_http_requests_total{method="other",route="/healthz",status="405"} 1"#,
        r#"meter_http_request_seconds_count{method="other",route="/healthz"} 1"#,
        r#"meter_http_request_seconds_bucket{le="10.0",method="GET",route="none"} 1"#,
        &format!("meter_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[tokio::test]
async fn paths_are_exact() {
    let meter = Meter::start().await;
    for path in [
        "//",
        "//healthz",
        "/healthz/",
        "/HEALTHZ",
        "/healthz;a=b",
        "/x/%2e%2e/healthz",
        "/..%2fhealthz",
        "/healthz%00",
        "/%ff",
        "/%c0%af",
        "/ingest/",
    ] {
        meter.send("GET", path, &[], "").await.is_problem("not_found", path);
    }
}

#[tokio::test]
async fn slow_clients_are_not_waited_for() {
    let meter = quick().await;
    let operator = meter.operator().await;
    let half_head = "GET /healthz HTTP/1.1\r\nhost: a\r\n";
    let half_body = format!(
        "POST /api/v1/admin/projects HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {operator}\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{{\"id"
    );
    for (what, begun, status) in
        [("nothing", "", 0), ("half a head", half_head, 0), ("half a body", &half_body, 408)]
    {
        let answer = meter.raw(begun.as_bytes()).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        if status == 408 {
            answer.is_problem("request_timeout", what);
        }
    }
    let mut kept = TcpStream::connect(meter.address).await.unwrap();
    kept.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!(read_answer(&mut kept).await.status, 200, "answered, then closed for being idle");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let meter = Meter::start().await;
    let mut bytes = String::new();
    for number in 0..200 {
        bytes.push_str(&format!(
            "GET /missing-{number} HTTP/1.1\r\nhost: a\r\n\r\nGET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"
        ));
    }
    bytes.push_str(&request("GET", "/readyz", &[], ""));
    let answer = meter.raw(bytes.as_bytes()).await;
    let text = format!("HTTP/1.1 {} x\r\n{}", answer.status, answer.body);
    let statuses: Vec<&str> = text.match_indices("HTTP/1.1 ").map(|(at, _)| &text[at + 9..at + 12]).collect();
    assert_eq!(statuses.len(), 401);
    assert!(statuses.chunks(2).take(200).all(|pair| pair == ["404", "200"]), "{statuses:?}");
}

#[tokio::test]
async fn a_stop_lets_begun_requests_finish_and_takes_no_new_ones() {
    let mut meter = Meter::start().await;
    let operator = meter.operator().await;
    let body = r#"{"id":"late","plan":"pro"}"#;
    let headers =
        [("authorization", format!("Bearer {operator}")), ("content-type", "application/json".to_owned())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let whole = request("POST", "/api/v1/admin/projects", &headers, body);
    let (begun, rest) = whole.split_at(whole.len() - 5);
    let mut stream = TcpStream::connect(meter.address).await.unwrap();
    stream.write_all(begun.as_bytes()).await.unwrap();
    // An answer on a later connection shows that the earlier one was accepted.
    assert_eq!(meter.send("GET", "/healthz", &[], "").await.status, 200);
    meter.stop();
    let address = meter.address;
    crate::support::until("new connections are refused", async || TcpStream::connect(address).await.is_err())
        .await;
    stream.write_all(rest.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 201);
    tokio::time::timeout(crate::support::DEADLINE, &mut meter.server).await.unwrap().unwrap();
    assert_eq!(meter.version("late").await, 1);
}

#[tokio::test]
async fn a_flush_of_nobody_is_refused_before_its_body_is_there() {
    let meter = Meter::start().await;
    let signature = sign("/ingest", "{}", noon());
    for signature in ["", "nonsense", &signature.replace("k=e1", "k=e9"), &signature.replace("k=e1", "k=p1")]
    {
        let headers = [("palveron-signature", signature), ("content-length", "1000000")];
        let head = request("POST", "/ingest", &headers, "");
        // Nothing follows: an answer comes without waiting for it.
        meter.raw(head.as_bytes()).await.is_problem("signature_rejected", signature);
    }
}
