//! Checks on premise: the limits of the last receipt hold without any connection, with the edge's answers.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use shared::problem::ErrorCode;
use shared::sign::{Purpose, SIGNATURE_HEADER, Signed, SigningKeys};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Executor as _};
use tests::books::{Books, Mood, policy};
use tests::client::Call;
use tests::clock;
use tests::on_premise::{OnPremise, key};
use tests::poll::eventually;
use tests::stand_in::StandIn;

/// A reporter that was told to enforce that, and has lost its aggregator since.
async fn alone(included: u64, rpm: u32) -> Result<(Books, OnPremise)> {
    let books = Books::start(&key("k1", "ab")).await?;
    books.policy(policy(3, included, rpm)?);
    let mut reporter = OnPremise::new(&format!("http://{}", books.address()))?;
    reporter.start().await?;
    reporter.is_heard().await?;
    books.mood(Mood::Broken);
    Ok((books, reporter))
}

fn check(body: &str) -> Call {
    Call::post("/v1/check", body.to_owned()).json()
}

#[tokio::test]
async fn the_months_units_end_exactly_and_the_answers_are_those_of_the_edge() -> Result<()> {
    let (books, reporter) = alone(5, 1_000).await?;
    let at = reporter.address();
    let allowed = check(r#"{"kind":"verify","agent":"bot","cost":4}"#).send(at).await?;
    assert_eq!(
        allowed.header("ratelimit-policy").map(|text| text.starts_with("\"rpm\";q=1000;w=60, \"month\";q=5")),
        Some(true)
    );
    assert_eq!(allowed.header("server-timing"), Some("meter;desc=home"));
    let body: Value = allowed.ok()?;
    assert_eq!((&body["allowed"], &body["remaining"], &body["limit"]), (&true.into(), &1.into(), &5.into()));
    let looked: Value = check(r#"{"kind":"verify","cost":1,"dry_run":true}"#).send(at).await?.ok()?;
    assert_eq!(looked["remaining"], 1);
    // What was served without asking spends the same units.
    assert_eq!(reporter.count(r#"{"kind":"verify"}"#).await?.status, 200);
    let denied: Value = check(r#"{"kind":"verify","agent":"bot"}"#).send(at).await?.ok()?;
    assert_eq!((&denied["allowed"], &denied["code"]), (&false.into(), &"quota_exhausted".into()));
    let quota: Value = Call::get("/v1/quota").send(at).await?.ok()?;
    assert_eq!(
        (&quota["plan"], &quota["used"], &quota["remaining"]),
        (&"enterprise".into(), &5.into(), &0.into())
    );
    assert_eq!(reporter.count(r#"{"kind":"verify"}"#).await?.status, 200, "what was served is counted");
    check(r#"{"kind":"strange"}"#).send(at).await?.problem(ErrorCode::FieldRejected)?;
    Call::get("/v1/check").send(at).await?.problem(ErrorCode::MethodNotAllowed)?;
    Call::get("/v2").send(at).await?.problem(ErrorCode::NotFound)?;
    books.mood(Mood::Good);
    reporter.send().await?;
    assert_eq!(books.taken(|taken| taken.units()), 6);
    let told = books.taken(|taken| taken.bodies.concat());
    assert!(told.contains(r#""denials":{"quota_exhausted":1}"#), "{told}");
    Ok(())
}

#[tokio::test]
async fn the_minutes_requests_end_exactly_also_for_many_at_once() -> Result<()> {
    let (_, reporter) = alone(1_000_000, 20).await?;
    // A minute that ends while this runs would begin anew.
    let into_minute_ms = clock::now().as_ms() % 60_000;
    if into_minute_ms > 50_000 {
        reporter.move_clock(60_000 - into_minute_ms).await?;
    }
    let at = reporter.address();
    let asks: Vec<_> = (0..60)
        .map(|_| tokio::spawn(async move { check(r#"{"kind":"verify"}"#).send(at).await?.ok::<Value>() }))
        .collect();
    let mut allowed = 0;
    for ask in asks {
        let answer = ask.await??;
        match answer["code"].as_str() {
            Some("ok") => allowed += 1,
            code => assert_eq!(code, Some("rate_limited"), "{answer}"),
        }
    }
    assert_eq!(allowed, 20);
    Ok(())
}

#[tokio::test]
async fn before_the_first_receipt_everything_is_counted_and_allowed() -> Result<()> {
    let books = Books::start(&key("k1", "ab")).await?;
    books.mood(Mood::Broken);
    let mut reporter = OnPremise::new(&format!("http://{}", books.address()))?;
    reporter.start().await?;
    for _ in 0..100 {
        let answer: Value = check(r#"{"kind":"verify","cost":1000}"#).send(reporter.address()).await?.ok()?;
        assert_eq!((&answer["allowed"], &answer["remaining"]), (&true.into(), &Value::Null));
    }
    books.mood(Mood::Good);
    reporter.send().await?;
    assert_eq!(books.taken(|taken| taken.units()), 100_000);
    Ok(())
}

#[tokio::test]
async fn a_policy_that_a_receipt_brings_holds_at_once() -> Result<()> {
    let (books, reporter) = alone(1, 1_000).await?;
    let at = reporter.address();
    let code = async || -> Result<Value> {
        Ok(check(r#"{"kind":"verify"}"#).send(at).await?.ok::<Value>()?["code"].clone())
    };
    assert_eq!(code().await?, "ok");
    assert_eq!(code().await?, "quota_exhausted");
    books.policy(policy(4, 3, 1_000)?);
    books.mood(Mood::Good);
    reporter.send().await?;
    assert_eq!(
        (code().await?, code().await?, code().await?),
        ("ok".into(), "ok".into(), "quota_exhausted".into())
    );
    books.policy(policy(2, 1_000, 1_000)?);
    reporter.send().await?;
    assert_eq!(code().await?, "quota_exhausted", "an older one never replaces it");
    Ok(())
}

#[tokio::test]
async fn observations_travel_with_the_counts() -> Result<()> {
    let (books, reporter) = alone(10, 10).await?;
    let body = r#"{"kind":"verify","agent":"bot","tokens_in":1200,"tokens_out":80,"anchors":1}"#;
    let noted: Value = Call::post("/v1/observe", body).json().send(reporter.address()).await?.ok()?;
    assert_eq!((&noted["agent"], &noted["tokens_in"]), (&"bot".into(), &1_200.into()));
    books.mood(Mood::Good);
    reporter.send().await?;
    let told = books.taken(|taken| taken.bodies.concat());
    assert!(told.contains(r#""units":0,"tokens_in":1200,"tokens_out":80,"anchors":1"#), "{told}");
    Ok(())
}

#[tokio::test]
async fn gateway_calls_are_forwarded_with_who_asks_and_without_what_only_we_may_say() -> Result<()> {
    let books = Books::start(&key("k1", "ab")).await?;
    books.policy(policy(3, 2, 1_000)?);
    let upstream = StandIn::start().await?;
    let secret = "cd".repeat(32);
    let mut reporter = OnPremise::new(&format!("http://{}", books.address()))?
        .with("METER_REPORTER_UPSTREAM", &format!("http://{}", upstream.address()))
        .with("METER_SIGNING_KEYS", &format!("upstream:u1:{secret}"));
    reporter.start().await?;
    reporter.is_heard().await?;
    let call = Call::post("/v1/mcp/tools/call?x=1", "{}")
        .agent("bot")
        .bearer("a secret of theirs")
        .header("palveron_project", "another")
        .header("palveron-key-id", "another")
        .header("x-theirs", "kept");
    let answer = call.send(reporter.address()).await?;
    assert_eq!(
        (answer.status, answer.text().as_str(), answer.header("x-governance")),
        (200, "seen", Some("kept"))
    );
    assert!(answer.header("ratelimit").is_some() && answer.header("palveron-tokens-in").is_none());
    let seen = upstream.seen();
    let headers = &seen.first().unwrap().headers;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(
        (header("palveron-project"), header("palveron-agent"), header("palveron-key-id")),
        ("plant-7", "bot", "onpremise")
    );
    assert_eq!((header("x-theirs"), header("authorization"), header("palveron_project")), ("kept", "", ""));
    let keys = SigningKeys::parse(&format!("upstream:u1:{secret}")).unwrap();
    let signed = Signed { method: "POST", path: "/v1/mcp/tools/call?x=1", body: b"plant-7\nbot\nonpremise" };
    assert!(signed.verify(header(SIGNATURE_HEADER), &keys, Purpose::Upstream, clock::now()).is_ok());
    Call::post("/v1/verify", "{}").send(reporter.address()).await?;
    Call::post("/v1/verify", "{}").send(reporter.address()).await?.problem(ErrorCode::QuotaExhausted)?;
    assert_eq!(upstream.seen().len(), 2, "what is denied is not forwarded");
    reporter.send().await?;
    let told = books.taken(|taken| taken.bodies.concat());
    assert!(
        told.contains(
            r#""kind":"mcp_tool_call","agent":"bot","units":1,"tokens_in":7,"tokens_out":11,"anchors":1"#
        ),
        "{told}"
    );
    Ok(())
}

#[tokio::test]
async fn in_shadow_mode_limits_are_told_of_and_nobody_is_denied_for_them() -> Result<()> {
    let books = Books::start(&key("k1", "ab")).await?;
    books.policy(policy(3, 2, 1_000)?);
    let upstream = StandIn::start().await?;
    let mut reporter = OnPremise::new(&format!("http://{}", books.address()))?
        .with("METER_REPORTER_UPSTREAM", &format!("http://{}", upstream.address()))
        .with("METER_SHADOW", "1");
    reporter.start().await?;
    reporter.is_heard().await?;
    let at = reporter.address();
    let mut told = Vec::new();
    for _ in 0..4 {
        let answer = Call::post("/v1/verify", "{}").agent("bot").send(at).await?;
        assert_eq!((answer.status, answer.text().as_str()), (200, "seen"));
        told.push(answer.header("palveron-would-deny").map(str::to_owned));
    }
    let denied = Some("quota_exhausted".to_owned());
    assert_eq!(told, [None, None, denied.clone(), denied]);
    assert_eq!(upstream.seen().len(), 4, "each is forwarded");
    let checked: Value = check(r#"{"kind":"verify"}"#).send(at).await?.ok()?;
    assert_eq!(
        (&checked["allowed"], &checked["code"], &checked["would_deny"]),
        (&true.into(), &"ok".into(), &"quota_exhausted".into())
    );
    // A folder that cannot be written stops nobody either, and counts nothing.
    let folder = SqliteConnectOptions::new().filename(reporter.data().join("reporter.db"));
    let mut folder = folder.connect().await?;
    folder
        .execute("CREATE TRIGGER full BEFORE INSERT ON home_row BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        .await?;
    let answer = Call::post("/v1/verify", "{}").send(at).await?;
    assert_eq!((answer.status, answer.header("palveron-would-deny")), (200, Some("home_unavailable")));
    assert_eq!((answer.header("ratelimit"), upstream.seen().len()), (None, 5));
    folder.execute("DROP TRIGGER full").await?;
    // What it had in mind is read back from the folder first.
    eventually("it reports again", Duration::from_secs(10), async || Ok(reporter.send().await.ok())).await?;
    assert_eq!(books.taken(|taken| taken.units()), 2, "what would have been denied is not counted");
    let bodies = books.taken(|taken| taken.bodies.concat());
    assert!(!bodies.contains(r#""quota_exhausted""#), "nobody was denied: {bodies}");
    assert!(bodies.contains(r#""shadow_quota_exhausted":2"#), "both of the bot are told: {bodies}");
    Ok(())
}

#[tokio::test]
async fn numbers_are_for_whoever_shows_the_token_and_what_only_an_edge_reads_stops_the_start() -> Result<()> {
    let books = Books::start(&key("k1", "ab")).await?;
    let mut reporter = OnPremise::new(&format!("http://{}", books.address()))?
        .with("METER_METRICS_TOKEN", "sixteen-letters!");
    reporter.start().await?;
    let numbers = async |call: Call| call.send(reporter.address()).await;
    numbers(Call::get("/metrics")).await?.problem(ErrorCode::Unauthorized)?;
    numbers(Call::get("/metrics").bearer("another-token-of-them")).await?.problem(ErrorCode::Unauthorized)?;
    let text = numbers(Call::get("/metrics").bearer("sixteen-letters!")).await?.text();
    assert!(text.contains("meter_reporter_state"), "{text}");
    let sharded = reporter.with("METER_SUB_HOMES", "8").with("COUNTERS", "redis");
    let (started, _, said) = sharded.run(&[]).await?;
    assert!(!started && said.contains("METER_SUB_HOMES: ") && said.contains("COUNTERS: "), "{said}");
    let (shown, ..) = sharded.run(&["show"]).await?;
    assert!(shown, "whoever only looks may have them");
    Ok(())
}
