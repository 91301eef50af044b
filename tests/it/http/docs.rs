//! The documentation in a real Chromium: what its pages' policy lets them do is enough for them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::config;
use tests::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_is_read_and_searched_in_a_browser() -> Result<()> {
    let stack = Stack::start().await?;
    let told = json!({
        "meter": format!("http://{}", stack.aggregator()),
        "tools": config::browser_tools()?,
        "chromium": config::chromium()?,
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/browser/docs.mjs");
    let mut node = Command::new("node");
    node.arg(script).env("METER_DOCS", told.to_string());
    let output = tokio::task::spawn_blocking(move || node.output()).await?.context("node")?;
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    ensure!(output.status.success(), "{said}");
    stack.finish()
}
