//! What is counted on premise: each 2xx survives `kill -9`, whatever is refused counts nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use shared::problem::ErrorCode;
use tests::books::{Books, Mood};
use tests::client::{Call, Connection};
use tests::on_premise::{OnPremise, key};
use tests::poll::eventually;

use super::both;

/// Enough that many are under way at each kill.
const CLIENTS: usize = 8;
const KILLS: usize = 6;

#[tokio::test]
async fn counts_come_singly_and_in_lists_and_are_reported() {
    let (books, reporter) = both().await.unwrap();
    let body = r#"{"kind":"verify","agent":"bot","units":3,"tokens_in":9}"#;
    assert_eq!(reporter.count(body).await.unwrap().text(), r#"{"counted":3}"#);
    let list = r#"[{"kind":"verify","agent":"bot"},{"kind":"mcp_tool_call","agent":"größe","units":5}]"#;
    assert_eq!(reporter.count(list).await.unwrap().text(), r#"{"counted":6}"#);
    reporter.send().await.unwrap();
    assert_eq!(books.taken(|taken| taken.units()), 9);
    let last = books.taken(|taken| taken.bodies.last().cloned()).unwrap();
    assert!(last.contains(r#""agent":"bot","units":4,"tokens_in":9"#), "{last}");
    assert!(last.contains(r#""agent":"gr%C3%B6%C3%9Fe","units":5"#), "{last}");
}

#[tokio::test]
async fn what_is_refused_counts_nothing_and_says_why() {
    let (books, reporter) = both().await.unwrap();
    let refused = |body: &'static str| reporter.count(body);
    for (body, code) in [
        ("", ErrorCode::MalformedJson),
        (r#"{"kind":"verify","note":"free text"}"#, ErrorCode::FieldRejected),
        (r#"[{"kind":"verify"},{"kind":"strange"}]"#, ErrorCode::FieldRejected),
    ] {
        refused(body).await.unwrap().problem(code).unwrap();
    }
    let page = Call::post("/count", r#"{"kind":"verify"}"#).header("origin", "https://elsewhere.example");
    page.send(reporter.address()).await.unwrap().problem(ErrorCode::Forbidden).unwrap();
    let large = Call::post("/count", "x".repeat(5_000_000));
    large.send(reporter.address()).await.unwrap().problem(ErrorCode::BodyTooLarge).unwrap();
    let method = Call::get("/count").send(reporter.address()).await.unwrap();
    method.problem(ErrorCode::MethodNotAllowed).unwrap();
    reporter.send().await.unwrap();
    assert_eq!(books.taken(|taken| taken.units()), 0);
}

#[tokio::test]
async fn a_count_with_a_name_counts_once_also_after_a_crash() -> Result<()> {
    let (books, mut reporter) = both().await?;
    let at = reporter.address();
    let named =
        |body: &str, name: &str| Call::post("/count", body.to_owned()).json().header("idempotency-key", name);
    let body = r#"[{"kind":"verify","units":5},{"kind":"verify","units":2}]"#;
    for _ in 0..3 {
        assert_eq!(named(body, "order-1").send(at).await?.text(), r#"{"counted":7}"#);
    }
    reporter.kill()?;
    reporter.start().await?;
    assert_eq!(named(body, "order-1").send(at).await?.text(), r#"{"counted":7}"#);
    named(r#"{"kind":"verify"}"#, "order-1").send(at).await?.problem(ErrorCode::IdempotencyKeyReused)?;
    named(body, &"x".repeat(129)).send(at).await?.problem(ErrorCode::FieldRejected)?;
    assert_eq!(named(body, "order-2").send(at).await?.status, 200);
    reporter.send().await?;
    assert_eq!(books.taken(|taken| taken.units()), 14);
    Ok(())
}

/// Counts until the connection breaks; says how much was asked for and how much acknowledged.
async fn count_on(address: std::net::SocketAddr, agent: usize, asked: Arc<AtomicU64>, acked: Arc<AtomicU64>) {
    let body = format!(r#"{{"kind":"verify","agent":"bot-{agent}"}}"#);
    let Ok(mut connection) = Connection::open(address).await else { return };
    loop {
        asked.fetch_add(1, Ordering::SeqCst);
        match connection.send(&Call::post("/count", body.clone()).json()).await {
            Ok(answer) if answer.status == 200 => acked.fetch_add(1, Ordering::SeqCst),
            Ok(_) | Err(_) => return,
        };
    }
}

#[tokio::test]
async fn no_acknowledged_count_is_lost_by_kill_minus_nine_and_none_is_made_up() -> Result<()> {
    let books = Books::start(&key("k1", "ab")).await?;
    let mut reporter = OnPremise::new(&format!("http://{}", books.address()))?;
    let (asked, acked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    for round in 0..KILLS {
        reporter.start().await?;
        // Receipts are lost in every other life, so that kills meet reports that are under way, too.
        books.mood(if round.is_multiple_of(2) { Mood::Deaf } else { Mood::Good });
        let before = acked.load(Ordering::SeqCst);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|agent| tokio::spawn(count_on(reporter.address(), agent, asked.clone(), acked.clone())))
            .collect();
        eventually("some hundred counts", Duration::from_secs(30), async || {
            Ok((acked.load(Ordering::SeqCst) > before + 300).then_some(()))
        })
        .await?;
        reporter.send().await?;
        reporter.kill()?;
        for client in clients {
            client.await?;
        }
    }
    books.mood(Mood::Good);
    reporter.start().await?;
    reporter.send().await?;
    let (asked, acked) = (asked.load(Ordering::SeqCst), acked.load(Ordering::SeqCst));
    let billed = books.taken(|taken| taken.units());
    assert!(acked > 300 * u64::try_from(KILLS)?, "work was done: {acked}");
    assert!((acked..=asked).contains(&billed), "acknowledged {acked}, billed {billed}, asked {asked}");
    assert_eq!(books.taken(|taken| taken.lives()), 1, "a process that died is the same reporter");
    let (well, _, told) = reporter.run(&["sent"]).await?;
    assert!(well, "{told}");
    Ok(())
}

/// What a process has in memory, in KiB.
fn resident_kib(process: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().next().context("no number")?.parse()?)
}

#[tokio::test]
async fn a_thousand_agents_take_less_than_thirty_megabytes() -> Result<()> {
    let (books, reporter) = both().await?;
    for kind in ["verify", "mcp_tool_call", "extension_event"] {
        let counts: Vec<String> =
            (0..1_000).map(|agent| format!(r#"{{"kind":"{kind}","agent":"agent-{agent}"}}"#)).collect();
        assert_eq!(reporter.count(&format!("[{}]", counts.join(","))).await?.status, 200);
    }
    assert_eq!(reporter.send().await?["failure"], Value::Null);
    assert_eq!(books.taken(|taken| taken.units()), 3_000);
    let resident = resident_kib(reporter.pid().context("it does not run")?)?;
    assert!(resident < 30 * 1_024, "{resident} KiB");
    Ok(())
}
