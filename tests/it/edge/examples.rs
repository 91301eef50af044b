//! The examples, as they are in the repository, on a real workerd.

use anyhow::Result;
use serde_json::{Value, json};
use shared::kind::Kind;
use tests::client::{Answer, Call};
use tests::operator::Operator;
use tests::poll::eventually;
use tests::project::{Limits, Project, governed};
use tests::stack::{Options, Stack};
use tests::usage::REPORT_MAX;

async fn ask(stack: &Stack, key: &str) -> Result<Answer> {
    let call = Call::post("/", "hello").bearer(key).header("palveron-agent", "helper");
    call.send(stack.gateway()).await
}

#[tokio::test]
async fn a_worker_in_rust_guards_its_route_by_leases_of_its_own() -> Result<()> {
    let options = Options { leases: true, example: Some("rust-worker"), ..Options::default() };
    let stack = Stack::start_with(options).await?;
    let limits = Limits { included: Some(300), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "linked", limits).await?;
    let (_, key) = Operator::of(&stack)?.key("linked", Some(project.key_id.as_str())).await?;
    // The first request with a key that the worker cannot have heard of.
    for left in (0..300).rev() {
        let answer = ask(&stack, &key).await?;
        assert_eq!((answer.status, answer.text().as_str()), (200, "HELLO"));
        assert!(
            answer.header("ratelimit").is_some_and(|told| told.contains(&format!("\"month\";r={left};")))
        );
        assert_eq!(answer.header("palveron-source"), Some("included"));
    }
    // What is refused is answered as the edge answers it, word for word.
    let refused = ask(&stack, &key).await?;
    let at_the_edge = governed(&key, Kind::Verify, "helper").send(stack.edge()).await?;
    assert_eq!((refused.status, refused.text()), (402, at_the_edge.text()));
    for name in ["content-type", "ratelimit-policy"] {
        assert!(refused.header(name).is_some() && refused.header(name) == at_the_edge.header(name), "{name}");
    }
    assert!(refused.header("retry-after").is_some() && refused.header("ratelimit").is_some());
    let unknown = ask(&stack, "pk_live_linked_k001_1_00").await?;
    assert_eq!((unknown.status, unknown.header("www-authenticate")), (401, Some("Bearer")));
    let named =
        Call::post("/", "hello").bearer(&key).header("palveron-agent", "~x").send(stack.gateway()).await?;
    assert_eq!(named.status, 422);
    let usage = project.reports(&stack, 300).await?;
    assert_eq!(usage.by_agent(), [("helper".to_owned(), 300)].into());
    assert_eq!(usage.by_kind(), [("verify".to_owned(), 300)].into());
    stack.finish()
}

#[tokio::test]
async fn a_worker_asks_the_meter_by_a_method_over_a_service_binding() -> Result<()> {
    let options = Options { leases: true, example: Some("service-binding"), ..Options::default() };
    let stack = Stack::start_with(options).await?;
    let limits = Limits { included: Some(3), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "bound", limits).await?;
    for remaining in [2, 1, 0] {
        let said: Value = ask(&stack, &project.key).await?.ok()?;
        assert_eq!(said, json!({"said": "HELLO", "remaining": remaining}));
    }
    let refused = ask(&stack, &project.key).await?;
    assert_eq!((refused.status, refused.text().as_str()), (429, r#"{"refused":"quota_exhausted"}"#));
    let unknown = ask(&stack, "pk_live_bound_k001_1_00").await?;
    assert_eq!((unknown.status, unknown.text().as_str()), (401, r#"{"refused":"unauthorized"}"#));
    let usage = project.reports(&stack, 3).await?;
    assert_eq!(usage.by_kind(), [("mcp_tool_call".to_owned(), 3)].into());
    assert_eq!(usage.by_agent(), [("helper".to_owned(), 3)].into());
    eventually("the observed tokens", 6 * REPORT_MAX, async || {
        let observed = project.usage(&stack).await?.observed;
        Ok((observed.tokens_in == 15).then_some(()))
    })
    .await?;
    stack.finish()
}
