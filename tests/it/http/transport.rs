//! The aggregator's connections: limits of size and time, whatever comes over them.

use std::time::Duration;

use anyhow::{Context, Result};
use shared::problem::ErrorCode;
use tests::client::Call;
use tests::raw::{Wire, exchange};
use tests::stack::{Options, Part, Stack};

/// Heads and bodies have ten seconds.
const SLOW_MAX: Duration = Duration::from_secs(12);

async fn prepared() -> Result<Stack> {
    Stack::start_with(Options { later: vec![Part::Edge, Part::Upstream], ..Options::default() }).await
}

/// Sends a beginning, then one byte of a header each half second, until nobody takes it any more.
async fn drip(stack: &Stack, begin: &str) -> Result<()> {
    let mut wire = Wire::open(stack.aggregator()).await?;
    wire.write(begin).await;
    tokio::time::timeout(SLOW_MAX, async {
        while wire.write_slowly(b"x", Duration::from_millis(500)).await {}
    })
    .await
    .context("a dripping client is still connected")
}

async fn stalls(stack: &Stack, begin: &str) -> Result<Option<u16>> {
    let mut wire = Wire::open(stack.aggregator()).await?;
    wire.write(begin).await;
    Ok(wire.closed(SLOW_MAX).await.with_context(|| format!("after {begin:?}"))?.status())
}

#[tokio::test]
async fn clients_that_do_not_finish_are_let_go() -> Result<()> {
    let stack = prepared().await?;
    let body = "POST /ingest HTTP/1.1\r\nHost: a\r\nPalveron-Signature: t=1,k=e1,v1=00\r\nContent-Length: 100\r\n\r\n{\"half\"";
    let healthy = Call::get("/healthz");
    let (idle, half_line, half_head, half_body, dripping, served) = tokio::join!(
        stalls(&stack, ""),
        stalls(&stack, "GET /heal"),
        stalls(&stack, "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Half: "),
        stalls(&stack, body),
        drip(&stack, "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: "),
        healthy.send(stack.aggregator()),
    );
    for (what, status) in [("idle", idle?), ("half a line", half_line?), ("half a head", half_head?)] {
        assert!(status.is_none_or(|status| status == 408), "{what}: {status:?}");
    }
    assert_eq!(half_body?, Some(408));
    dripping?;
    assert_eq!(served?.status, 200);
    stack.finish()
}

#[tokio::test]
async fn what_is_too_large_is_refused_by_name() -> Result<()> {
    let stack = prepared().await?;
    let cases = [
        (Call::get("/healthz").header("x-wide", "w".repeat(17 * 1024)), ErrorCode::HeadersTooLarge),
        (Call::get(&format!("/healthz?{}", "q".repeat(9 * 1024))), ErrorCode::UriTooLong),
        (Call::get("/nowhere"), ErrorCode::NotFound),
        (Call::get("/api/v1/usage/"), ErrorCode::NotFound),
        (Call::get("//healthz"), ErrorCode::NotFound),
        (Call::get("/healthz%00"), ErrorCode::NotFound),
        (Call::get("/ingest"), ErrorCode::MethodNotAllowed),
        (Call::post("/api/v1/usage", ""), ErrorCode::MethodNotAllowed),
        (Call::new("DELETE".parse()?, "/healthz"), ErrorCode::MethodNotAllowed),
    ];
    for (call, code) in cases {
        let answer = call.send(stack.aggregator()).await?;
        answer.problem(code)?;
        assert_eq!(answer.header("allow").is_some(), code == ErrorCode::MethodNotAllowed);
    }
    let announced = "POST /ingest HTTP/1.1\r\nHost: a\r\nPalveron-Signature: t=1,k=e1,v1=00\r\nContent-Length: 1048577\r\n\r\n";
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let chunked = "POST /ingest HTTP/1.1\r\nHost: a\r\nPalveron-Signature: t=1,k=e1,v1=00\r\nTransfer-Encoding: chunked\r\n\r\n";
    for request in [announced.to_owned(), format!("{chunked}{}0\r\n\r\n", chunk.repeat(17))] {
        let answer = exchange(stack.aggregator(), request).await?;
        assert_eq!(answer.status(), Some(413), "{}", answer.text());
        assert_eq!(answer.header("content-type").as_deref(), Some("application/problem+json"));
    }
    stack.finish()
}

#[tokio::test]
async fn what_is_not_http_is_refused() -> Result<()> {
    let stack = prepared().await?;
    // Zero: closed without an answer.
    let cases = [
        (
            "two lengths",
            400,
            "POST /ingest HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        ),
        ("a negative length", 400, "POST /ingest HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
        ("no host", 400, "GET /healthz HTTP/1.1\r\n\r\n"),
        ("two hosts", 400, "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("a null in a header", 400, "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Null: a\0b\r\n\r\n"),
        ("a folded header", 400, "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Fold: a\r\n b\r\n\r\n"),
        ("HTTP/2 unasked", 0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("no HTTP at all", 400, "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n"),
    ];
    for (what, status, request) in cases {
        let answer = exchange(stack.aggregator(), request).await.context(what)?;
        assert_eq!(answer.status().unwrap_or(0), status, "{what}: {}", answer.text());
    }
    let many = format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(120));
    assert_eq!(exchange(stack.aggregator(), many).await?.status(), Some(431));
    let huge = format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(500 * 1024));
    let status = exchange(stack.aggregator(), huge).await?.status();
    assert!(status.is_none_or(|status| status == 431), "{status:?}");
    stack.finish()
}

#[tokio::test]
async fn what_follows_a_request_of_two_lengths_is_not_taken_for_another() -> Result<()> {
    let stack = prepared().await?;
    let inner = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let outer = "POST /ingest HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let mut wire = Wire::open(stack.aggregator()).await?;
    wire.write(format!("{outer}{inner}")).await;
    let got = wire.closed(SLOW_MAX).await?.text();
    assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{got}");
    stack.finish()
}
