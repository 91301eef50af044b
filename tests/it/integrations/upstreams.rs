//! The governance services of `examples/upstream-signature`: what the edge forwards is answered, and nothing else is.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use shared::kind::Kind;
use shared::sign::{Purpose, SIGNATURE_HEADER, Signed};
use shared::time::Timestamp;
use tests::client::Call;
use tests::clock;
use tests::config;
use tests::project::{Limits, Project};
use tests::stack::{Options, Stack};

use super::{Running, compile, repository};

const PATH: &str = "/v1/verify?q=%C3%A4";

/// A call as the edge makes it.
fn forwarded(stack: &Stack, signed_path: &str, agent: &str, age_seconds: u64) -> Result<Call> {
    let keys = stack.signing_keys()?;
    let key = keys.current(Purpose::Upstream).context("a key")?;
    let at = Timestamp::from_ms(clock::now().as_ms().saturating_sub(age_seconds.saturating_mul(1_000)));
    let signed = Signed { method: "POST", path: signed_path, body: b"demo\nbot\nk001" };
    Ok(Call::post(PATH, "{}")
        .json()
        .header("palveron-project", "demo")
        .header("palveron-agent", agent)
        .header("palveron-key-id", "k001")
        .header(SIGNATURE_HEADER, signed.sign(key, at)))
}

async fn verifies(language: &str) -> Result<()> {
    let address = kit::ports::free()?;
    let stack = Stack::start_with(Options { upstream: Some(address), ..Options::default() }).await?;
    let folder = stack.scratch().join(language);
    std::fs::create_dir_all(&folder)?;
    let source = repository("examples/upstream-signature").join(language);
    let mut command = match language {
        "typescript" => {
            compile(&source, &folder, "upstream.ts")?;
            let mut node = Command::new("node");
            node.arg(folder.join("upstream.js"));
            node
        }
        _ => {
            let mut python = Command::new(config::openapi_python()?);
            python.arg(source.join("upstream.py"));
            python
        }
    };
    // As while keys are rotated: another is there too.
    let keys = format!("upstream:u0:{},{}", "ab".repeat(32), stack.signing_text());
    command.env("METER_SIGNING_KEYS", keys).env("PORT", address.port().to_string());
    let upstream = Running::start(&mut command, &folder.join("log"))?;
    upstream.listens(address).await?;

    let project = Project::ready(&stack, "signed", Limits::WIDE).await?;
    for kind in [Kind::Verify, Kind::McpToolCall] {
        let said: Value = project.call(kind, "bot").send(stack.edge()).await?.ok()?;
        let key = project.key_id.to_string();
        assert_eq!(said, json!({"decision": "allow", "project": "signed", "agent": "bot", "keyId": key}));
    }
    let large = project.call(Kind::Verify, "bot").with_body("x".repeat(2_000_000)).send(stack.edge()).await?;
    assert_eq!(large.status, 200);

    let right = forwarded(&stack, PATH, "bot", 0)?.send(address).await?;
    ensure!(right.status == 200, "{}: {}", right.status, right.text());
    for (what, call) in [
        ("another agent", forwarded(&stack, PATH, "other", 0)?),
        ("another path", forwarded(&stack, "/v1/verify", "bot", 0)?),
        ("ten minutes ago", forwarded(&stack, PATH, "bot", 600)?),
        ("no signature", Call::post(PATH, "{}").json()),
        ("half a signature", Call::post(PATH, "{}").json().header(SIGNATURE_HEADER, "t=1,k=u1")),
    ] {
        let refused = call.send(address).await?;
        ensure!(refused.status == 401, "{what}: {} {}", refused.status, refused.text());
    }
    drop(upstream);
    stack.finish()
}

#[tokio::test]
async fn a_governance_service_in_typescript_answers_only_what_the_edge_has_signed() -> Result<()> {
    verifies("typescript").await
}

#[tokio::test]
async fn a_governance_service_in_python_answers_only_what_the_edge_has_signed() -> Result<()> {
    verifies("python").await
}
