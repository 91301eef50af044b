//! The answers that others build on, field by field (design §6).

use anyhow::{Context, Result};
use hyper::Method;
use serde_json::{Value, json};
use shared::problem::ErrorCode;
use shared::time::Period;
use tests::client::{Answer, Call};
use tests::clock;
use tests::project::{Limits, Project};
use tests::stack::Stack;

async fn check(stack: &Stack, key: &str, body: &Value) -> Result<Answer> {
    Call::post("/v1/check", body.to_string()).json().bearer(key).send(stack.edge()).await
}

#[tokio::test]
async fn a_check_answers_with_the_decision_and_the_numbers() -> Result<()> {
    let stack = Stack::start().await?;
    let limits = Limits { included: Some(10), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "check", limits).await?;
    let resets_at = clock::now().period().end().to_string();
    let steps = [
        (json!({"kind": "verify", "dry_run": true}), true, "ok", 1, 10),
        (json!({"kind": "verify"}), true, "ok", 1, 9),
        (json!({"kind": "mcp_tool_call", "cost": 5, "agent": "bot"}), true, "ok", 5, 4),
        (json!({"kind": "extension_event", "cost": 5}), false, "quota_exhausted", 5, 4),
        (json!({"kind": "extension_event", "cost": 4, "agent": "größe 1"}), true, "ok", 4, 0),
        (json!({"kind": "verify", "dry_run": true}), false, "quota_exhausted", 1, 0),
    ];
    for (body, allowed, code, cost, remaining) in steps {
        let answer = check(&stack, &project.key, &body).await?;
        let mut got: Value = answer.ok()?;
        let retry_after_ms = got.as_object_mut().and_then(|got| got.remove("retry_after_ms"));
        let kind = body["kind"].clone();
        let mut expected = json!({"allowed": allowed, "code": code, "kind": kind, "cost": cost,
            "remaining": remaining, "limit": 10, "resets_at": resets_at});
        if allowed && body["dry_run"].is_null() {
            expected["source"] = json!("included");
        }
        assert_eq!(got, expected, "{body}");
        let retry_after_ms = retry_after_ms.context("no retry_after_ms")?;
        assert_eq!(retry_after_ms.is_null(), allowed, "{retry_after_ms}");
        assert!(answer.header("ratelimit-policy").is_some());
    }
    let usage = project.reports(&stack, 10).await?;
    let agents = [("bot".to_owned(), 5), ("gr%C3%B6%C3%9Fe%201".to_owned(), 4), ("~none".to_owned(), 1)];
    assert_eq!(usage.by_agent(), agents.into());
    stack.finish()
}

#[tokio::test]
async fn what_is_shown_can_be_asked_for_without_its_body() -> Result<()> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, "head", Limits::WIDE).await?;
    for path in ["/healthz", "/v1/quota"] {
        let answer = Call::new(Method::HEAD, path).bearer(&project.key).send(stack.edge()).await?;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    }
    let refused = Call::new(Method::HEAD, "/v1/check").bearer(&project.key).send(stack.edge()).await?;
    assert_eq!((refused.status, refused.header("allow")), (405, Some("POST")));
    stack.finish()
}

#[tokio::test]
async fn a_check_may_be_asked_in_the_query() -> Result<()> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, "query", Limits::WIDE).await?;
    let ask = async |query: &str| {
        Call::post(&format!("/v1/check?{query}"), "").bearer(&project.key).send(stack.edge()).await
    };
    let got: Value = ask("kind=mcp_tool_call&cost=3&agent=bot").await?.ok()?;
    assert_eq!(
        [&got["allowed"], &got["kind"], &got["cost"]],
        [&json!(true), &json!("mcp_tool_call"), &json!(3)]
    );
    let got: Value = ask("kind=verify&dry_run=true").await?.ok()?;
    assert_eq!(got["allowed"], json!(true));
    ask("kind=verify&cost=0").await?.problem(ErrorCode::FieldRejected)?;
    let usage = project.reports(&stack, 3).await?;
    assert_eq!(usage.by_agent(), [("bot".to_owned(), 3)].into());
    stack.finish()
}

#[tokio::test]
async fn the_quota_shows_the_numbers_and_counts_nothing() -> Result<()> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, "quota", Limits::COMMUNITY).await?;
    for _ in 0..3 {
        assert_eq!(project.verify().await?.status, 200);
    }
    let period = clock::now().period();
    let answer = project.quota().await?;
    let mut got: Value = answer.ok()?;
    let rpm = got.as_object_mut().and_then(|got| got.remove("rpm")).context("no rpm")?;
    let expected = json!({"period": period.to_string(), "plan": "community", "included": 1000, "used": 3, "forfeited": 0,
        "remaining": 997, "resets_at": period.end().to_string()});
    assert_eq!(got, expected);
    assert_eq!(rpm["limit"], 60);
    assert!(rpm["remaining"] == 57 || rpm["remaining"] == 60, "this minute's or a new one's: {rpm}");
    assert_eq!(rpm.as_object().map(serde_json::Map::len), Some(2));
    project.reports(&stack, 3).await?;
    Call::get("/v1/quota").send(stack.edge()).await?.problem(ErrorCode::Unauthorized)?;
    stack.finish()
}

#[tokio::test]
async fn every_decided_answer_carries_its_limits() -> Result<()> {
    let stack = Stack::start().await?;
    let limits = Limits { included: Some(2), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "limits", limits).await?;
    let period = clock::now().period();
    let month = period.end().ms_since(period.start()).div_euclid(1_000);
    for (status, left) in [(200, 1), (200, 0), (402, 0)] {
        let answer = project.verify().await?;
        assert_eq!(answer.status, status);
        let policy = format!("\"rpm\";q=100000;w=60, \"month\";q=2;w={month}");
        assert_eq!(answer.header("ratelimit-policy"), Some(policy.as_str()));
        let limit = answer.header("ratelimit").context("no RateLimit")?;
        let (minute, of_month) = limit.split_once(", ").context("one limit only")?;
        assert!(seconds(minute, "\"rpm\";r=")? <= 60, "{limit}");
        assert!(of_month.starts_with(&format!("\"month\";r={left};")), "{limit}");
        assert!(seconds(of_month, "\"month\";r=")? <= month, "{limit}");
        assert_eq!(answer.header("server-timing"), Some("meter;desc=home"));
    }
    assert_eq!(Period::parse(&period.to_string()), Some(period));
    stack.finish()
}

/// The `t` of one limit.
fn seconds(limit: &str, begins: &str) -> Result<u64> {
    assert!(limit.starts_with(begins), "{limit}");
    Ok(limit.split_once(";t=").context("no t")?.1.parse()?)
}
