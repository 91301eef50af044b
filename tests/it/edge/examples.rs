//! The examples, as they are in the repository, on a real workerd.

use anyhow::Result;
use serde_json::{Value, json};
use tests::client::{Answer, Call};
use tests::operator::Operator;
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Options, Stack};
use tests::usage::REPORT_MAX;

async fn ask(stack: &Stack, key: &str) -> Result<Answer> {
    Call::post("/", "hello").bearer(key).header("x-agent", "helper").send(stack.gateway()).await
}

#[tokio::test]
async fn a_worker_in_rust_decides_with_the_library_and_leases_of_its_own() -> Result<()> {
    let options = Options { leases: true, example: Some("rust-worker"), ..Options::default() };
    let stack = Stack::start_with(options).await?;
    let limits = Limits { included: Some(300), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "linked", limits).await?;
    let (_, key) = Operator::of(&stack)?.key("linked", Some(project.key_id.as_str())).await?;
    // The first request with a key that the worker cannot have heard of.
    for left in (0..300).rev() {
        let answer = ask(&stack, &key).await?;
        assert_eq!((answer.status, answer.text()), (200, format!("HELLO, {left} left")));
    }
    let refused = ask(&stack, &key).await?;
    assert_eq!((refused.status, refused.text().as_str()), (429, "refused: quota_exhausted"));
    let unknown = ask(&stack, "pk_live_linked_k001_1_00").await?;
    assert_eq!((unknown.status, unknown.text().as_str()), (401, "refused: unauthorized"));
    let usage = project.reports(&stack, 300).await?;
    assert_eq!(usage.by_agent(), [("helper".to_owned(), 300)].into());
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
