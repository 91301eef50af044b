//! The same question again and again: what is remembered of the first answer must never show.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tests::client::Call;
use tests::project::{Limits, Project};
use tests::stack::{Options, Stack};
use tests::stand_in::StandIn;

#[tokio::test]
async fn each_of_many_questions_that_are_asked_in_turn_is_answered_and_counted_for_itself() -> Result<()> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, "again", Limits::WIDE).await?;
    let asked = |path: &str, body: &str| Call::post(path, body.to_owned()).json().bearer(&project.key);
    // Bodies of more than a kilobyte are read later than others.
    let long = |body: &Value| format!("{body}{}", " ".repeat(2_000));
    let questions = [
        (asked("/v1/check?kind=verify", ""), "verify", 1),
        (asked("/v1/check?kind=verify&cost=2", "").agent("a"), "verify", 2),
        (asked("/v1/check?kind=verify", "").agent("b"), "verify", 1),
        (asked("/v1/check?kind=verify&dry_run=true", ""), "verify", 1),
        (asked("/v1/check", r#"{"kind":"mcp_tool_call","agent":"c"}"#), "mcp_tool_call", 1),
        (asked("/v1/check", r#"{"kind":"extension_event","cost":5}"#).agent("c"), "extension_event", 5),
        (asked("/v1/check", &long(&json!({"kind": "verify", "cost": 3}))), "verify", 3),
        (asked("/v1/check", &long(&json!({"kind": "mcp_tool_call", "cost": 4}))), "mcp_tool_call", 4),
    ];
    let mut remaining = None;
    for round in 0..5 {
        for (index, (call, kind, cost)) in questions.iter().enumerate() {
            let answer = call.clone().send(stack.edge()).await?;
            let got: Value = answer.ok()?;
            let expected = (&json!(true), &json!("ok"), &json!(kind), &json!(cost));
            let told = (&got["allowed"], &got["code"], &got["kind"], &got["cost"]);
            assert_eq!(told, expected, "round {round}, question {index}: {got}");
            let left = got["remaining"].as_u64().context("no remaining")?;
            let spent = if index == 3 { 0 } else { *cost };
            assert!(remaining.is_none_or(|before: u64| before - spent == left), "{remaining:?}: {got}");
            remaining = Some(left);
            let limit = answer.header("ratelimit").context("no RateLimit")?;
            assert!(limit.contains(&format!("\"month\";r={left};t=")), "{limit}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert!(answer.header("ratelimit-policy").is_some_and(|policy| policy.contains("\"month\";q=")));
        }
    }
    let usage = project.reports(&stack, 5 * (1 + 2 + 1 + 1 + 5 + 3 + 4)).await?;
    let agents = [("~none", 5 * 8), ("a", 5 * 2), ("b", 5), ("c", 5 * 6)];
    assert_eq!(usage.by_agent(), agents.map(|(agent, units)| (agent.to_owned(), units)).into());
    stack.finish()
}

#[tokio::test]
async fn what_is_forwarded_again_is_signed_for_its_second_and_stripped_each_time() -> Result<()> {
    let upstream = StandIn::start().await?;
    let options = Options { upstream: Some(upstream.address()), ..Options::default() };
    let stack = Stack::start_with(options).await?;
    let project = Project::ready(&stack, "forth", Limits::WIDE).await?;
    for round in 0..6 {
        let call = Call::post("/v1/verify", "{}").bearer(&project.key).agent("bot");
        // What comes with a request is no part of the question.
        let call = if round % 2 == 0 { call } else { call.header("palveron-role", "owner") };
        let answer = call.header("x-request-id", round.to_string()).send(stack.edge()).await?;
        assert_eq!((answer.status, answer.text().as_str()), (200, "seen"));
        assert_eq!(answer.header("palveron-tokens-in"), None);
        assert!(answer.header("ratelimit").is_some_and(|limit| limit.contains("\"month\";r=")));
    }
    let seen = upstream.seen();
    assert_eq!(seen.len(), 6);
    for (round, head) in seen.iter().enumerate() {
        let named = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(named("x-request-id"), Some(round.to_string().as_str()));
        assert_eq!((named("authorization"), named("palveron-role")), (None, None));
        assert_eq!((named("palveron-project"), named("palveron-agent")), (Some("forth"), Some("bot")));
        assert!(named("palveron-signature").is_some_and(|signature| signature.starts_with("t=")));
    }
    project.reports(&stack, 6).await?;
    stack.finish()
}
