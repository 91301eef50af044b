//! Starting, stopping, and what remains.

use anyhow::Result;
use serde_json::Value;
use tests::client::Call;
use tests::ingest::{flush_of, signed};
use tests::project::{Limits, Project};
use tests::stack::{Options, Part, Stack};

#[tokio::test]
async fn a_polite_stop_is_clean_and_what_was_acknowledged_remains() -> Result<()> {
    let mut stack =
        Stack::start_with(Options { later: vec![Part::Edge, Part::Upstream], ..Options::default() }).await?;
    for (path, said) in [("/healthz", "ok"), ("/readyz", "ready")] {
        let answer: Value = Call::get(path).send(stack.aggregator()).await?.ok()?;
        assert_eq!(answer["status"], said);
    }
    let project = Project::create(&stack, "stays", Limits::COMMUNITY)?;
    assert_eq!(signed(&stack, &flush_of("stays", 1, 12))?.send(stack.aggregator()).await?.status, 200);
    let before = project.usage(&stack).await?;
    let status = stack.terminate(Part::Aggregator).await?;
    assert!(status.success(), "{status}");
    stack.begin(&[Part::Aggregator]).await?;
    assert_eq!(project.usage(&stack).await?, before);
    stack.kill(Part::Aggregator)?;
    stack.begin(&[Part::Aggregator]).await?;
    assert_eq!(project.usage(&stack).await?, before);
    assert_eq!(before.total, 12);
    stack.finish()
}

#[tokio::test]
async fn the_demo_upstream_stops_politely_too() -> Result<()> {
    let mut stack =
        Stack::start_with(Options { later: vec![Part::Edge, Part::Aggregator], ..Options::default() })
            .await?;
    assert_eq!(Call::get("/healthz").send(stack.upstream()).await?.status, 200);
    assert!(stack.terminate(Part::Upstream).await?.success());
    stack.finish()
}

#[tokio::test]
async fn no_secret_is_written_to_any_log() -> Result<()> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, "quiet", Limits::WIDE).await?;
    let test_key = project.test_key(&stack).await?;
    assert_eq!(project.verify().await?.status, 200);
    project.reports(&stack, 1).await?;
    for part in [Part::Aggregator, Part::Edge, Part::Upstream] {
        let log = stack.log(part)?;
        let secrets = stack.secret_texts();
        let told = secrets
            .iter()
            .chain([&project.key, &test_key, &project.token])
            .any(|secret| log.contains(secret));
        assert!(!told, "the log of {part:?} tells a secret");
    }
    stack.finish()
}
