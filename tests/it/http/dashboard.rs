//! The dashboard in a real Chromium: what people do with it, on all parts of the meter.
//!
//! What they do is in `tools/browser/dashboard.mjs`; here is the meter that they do it with.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use shared::plan::{Catalogue, Plan};
use tests::clock;
use tests::config;
use tests::ingest::signed;
use tests::project::{Limits, Project};
use tests::stack::{Options, Stack};

/// Agents of the project, those with most units first.
const AGENTS: [&str; 12] = [
    "support-bot",
    "release-bot",
    "browser",
    "triage",
    "invoice-reader",
    "code-review",
    "lead-scorer",
    "translator",
    "scheduler",
    "onboarding",
    "fraud-watch",
    "summarizer",
];

const OWNER: &str = "ada@example.com";

#[tokio::test(flavor = "multi_thread")]
async fn people_do_their_work_in_the_dashboard() -> Result<()> {
    let provider = identity::Provider::start(|| clock::now().as_ms().div_euclid(1_000)).await?;
    let aggregator_settings = vec![
        ("METER_OIDC_ISSUER", provider.issuer()),
        ("METER_OIDC_CLIENT_ID", identity::CLIENT_ID.to_owned()),
        ("METER_OIDC_CLIENT_SECRET", identity::CLIENT_SECRET.to_owned()),
        ("METER_OIDC_NAME", "Example".to_owned()),
    ];
    let options = Options { stripe: true, leases: true, aggregator_settings, ..Options::default() };
    let stack = Stack::start_with(options).await?;
    stack.meter(&["stripe", "sync"])?;
    let limits = Limits { plan: Plan::Pro, rpm: Some(100_000), included: None };
    let project = Project::ready(&stack, "demo", limits).await?;
    let answer = signed(&stack, &history(&project))?.send(stack.aggregator()).await?;
    ensure!(answer.status == 200, "{answer:?}");
    let operator = link(&stack, "root@example.com", &["--operator"])?;
    let owner = link(&stack, OWNER, &["--project", "demo", "--role", "owner"])?;
    let viewer = link(&stack, "vera@example.com", &["--project", "demo", "--role", "viewer"])?;
    let today = clock::now().day();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let told = json!({
        "meter": format!("http://{}", stack.aggregator()),
        "edge": format!("http://{}", stack.edge()),
        "stripe": format!("http://{}", stack.stripe()),
        "key": project.key,
        "project": "demo",
        "contract": "acme-2026",
        "catalogue": Catalogue::DEFAULT_JSON,
        "provider": provider.issuer(),
        "owner": OWNER,
        "links": {"owner": owner, "viewer": viewer, "operator": operator},
        "from": today.period().first_day().to_string(),
        "to": today.to_string(),
        "tools": config::browser_tools()?,
        "chromium": config::chromium()?,
        "screenshots": root.join("target/screenshots"),
    });
    let mut node = Command::new("node");
    node.arg(root.join("tools/browser/dashboard.mjs")).env("METER_DASHBOARD", told.to_string());
    let output = tokio::task::spawn_blocking(move || node.output()).await?.context("node")?;
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    ensure!(output.status.success(), "{said}");
    stack.finish()
}

/// An account, and the token of the link that signs it in once.
fn link(stack: &Stack, email: &str, what: &[&str]) -> Result<String> {
    let make = [&["account", "create", "--email", email, "--name", "Ada Lovelace", "--json"], what].concat();
    stack.meter(&make)?;
    let link: Value = serde_json::from_str(&stack.meter(&["account", "link", email, "--json"])?)?;
    Ok(link.get("token").and_then(Value::as_str).context("a token")?.to_owned())
}

/// A flush of the days of this month so far, as a home would have counted them.
fn history(project: &Project) -> String {
    let today = clock::now().day();
    let mut day = today.period().first_day();
    let mut cells = Vec::new();
    while day <= today && cells.len() < 900 {
        for (rank, agent) in (1_u32..).zip(AGENTS) {
            // A week has a shape, and agents differ: a picture of it looks like one.
            let weekday = day.number() % 7;
            let quieter = if weekday > 4 { 3 } else { 1 };
            let units = (90 - 11 * (weekday % 4)).div_euclid(rank * quieter);
            for (kind, share) in [("verify", 1), ("mcp_tool_call", 2), ("extension_event", 5)] {
                cells.push(
                    json!({"day": day.to_string(), "kind": kind, "agent": agent, "units": units.div_euclid(share),
                    "tokens_in": units * 300, "tokens_out": units * 80, "anchors": 0,
                    "denials": {"rate_limited": units.div_euclid(20)}}),
                );
            }
        }
        day = day.next();
    }
    cells.truncate(1_000);
    json!({"project": project.id, "mode": "live", "source": "history", "incarnation": "0123456789abcdef",
        "seq": 1, "cells": cells})
    .to_string()
}
