//! What Envoy enforces: the month to the unit, the minute, keys; and how it tells.

use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use shared::kind::Kind;
use tests::clock;
use tests::config;
use tests::envoy::example;
use tests::project::{Limits, Project};

use super::{CLIENTS, CONFIGURATION, Tally, call, denied, ended, mesh};

#[tokio::test]
async fn a_hard_stop_under_many_clients_is_reached_to_the_unit_and_billed_to_the_unit() -> Result<()> {
    let (stack, service, envoy) = mesh().await?;
    let project = Project::ready(&stack, "stop", Limits::COMMUNITY_FAST).await?;
    let tally = Arc::new(Tally::default());
    ended(tally.begin(envoy.address(), &project.key)).await?;
    assert_eq!(tally.allowed(), 1_000, "{tally:?}");
    let reached = service.seen().iter().filter(|head| head.uri.path() == "/v1/verify").count();
    assert_eq!(reached, 1_000, "the service has seen what was allowed");
    let usage = project.reports(&stack, 1_000).await?;
    assert_eq!(usage.agents.len(), 4, "{usage:?}");
    let text = envoy.metrics().await?;
    ensure!(text.contains("meter_envoy_units_total 1000\n"), "{text}");
    ensure!(tally.exhausted() == CLIENTS, "{tally:?}");
    envoy.finish()?;
    stack.finish()
}

#[tokio::test]
async fn the_minute_is_kept_and_told_as_the_edge_tells_it() -> Result<()> {
    let (stack, _, envoy) = mesh().await?;
    let limits = Limits { rpm: Some(20), included: Some(1_000), ..Limits::COMMUNITY };
    let project = Project::ready(&stack, "minute", limits).await?;
    clock::with_seconds_of_minute(20).await;
    let mut allowed = 0;
    for number in 0..25 {
        let answer = call(&project.key, "bot").send(envoy.address()).await?;
        let limit = answer.header("ratelimit").context("no RateLimit")?;
        ensure!(limit.starts_with("\"rpm\";r=") && limit.contains("\"month\";r="), "{limit}");
        ensure!(
            answer.header("ratelimit-policy").is_some_and(|policy| policy.starts_with("\"rpm\";q=20;w=60"))
        );
        if answer.status == 200 {
            allowed += 1;
        } else {
            assert_eq!(denied(&answer)?, "rate_limited", "request {number}");
            let wait: u64 = answer.header("retry-after").context("no Retry-After")?.parse()?;
            ensure!((1..=60).contains(&wait), "{wait}");
        }
    }
    assert_eq!(allowed, 20);
    project.reports(&stack, 20).await?;
    envoy.finish()?;
    stack.finish()
}

#[tokio::test]
async fn kinds_and_agents_are_those_of_the_routes_and_headers() -> Result<()> {
    let (stack, service, envoy) = mesh().await?;
    let project = Project::ready(&stack, "kinds", Limits::WIDE).await?;
    for kind in Kind::ALL {
        let answer = project.call(kind, "bot").send(envoy.address()).await?;
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
    }
    let usage = project.reports(&stack, 3).await?;
    assert!(usage.by_kind().values().all(|units| *units == 1) && usage.by_kind().len() == 3, "{usage:?}");
    assert_eq!(usage.by_agent().get("bot"), Some(&3));
    assert!(service.seen().iter().all(|head| !head.headers.contains_key("authorization")), "the key stays");
    envoy.finish()?;
    stack.finish()
}

#[tokio::test]
async fn whoever_has_no_key_of_ours_is_refused_and_costs_nobody_anything() -> Result<()> {
    let (stack, service, envoy) = mesh().await?;
    let project = Project::ready(&stack, "keys", Limits::WIDE).await?;
    let forged = format!("{}0", project.key.strip_suffix(|_: char| true).context("a key")?);
    let other = if forged == project.key { format!("{}1", &forged[..forged.len() - 1]) } else { forged };
    for key in [other.as_str(), "pk_live_keys", "x"] {
        let answer = call(key, "bot").send(envoy.address()).await?;
        assert_eq!(denied(&answer)?, "unauthorized", "{key}");
        assert!(answer.header("ratelimit").is_none() && !answer.text().contains("keys"), "{}", answer.text());
    }
    let nobody = tests::client::Call::get("/v1/verify").send(envoy.address()).await?;
    assert_eq!(denied(&nobody)?, "unauthorized");
    let named_badly = call(&project.key, "~other").send(envoy.address()).await?;
    assert_eq!(denied(&named_badly)?, "field_rejected");
    stack.meter(&["key", "revoke", "--project", project.id.as_str(), "--key", project.key_id.as_str()])?;
    tests::poll::eventually("the revoked key is refused", std::time::Duration::from_secs(15), async || {
        let answer = call(&project.key, "bot").send(envoy.address()).await?;
        Ok((answer.status == 429 && denied(&answer)? == "unauthorized").then_some(()))
    })
    .await?;
    assert!(service.seen().iter().all(|head| head.uri.path() == "/v1/verify"));
    envoy.finish()?;
    stack.finish()
}

#[test]
fn envoy_accepts_the_configurations_that_are_shown() -> Result<()> {
    for file in [CONFIGURATION, "envoy-quota.yaml"] {
        let mut command = Command::new(config::envoy()?);
        command.args(["--mode", "validate", "--config-path"]).arg(example(file));
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{file}: {said}");
        ensure!(!said.contains("Deprecated"), "{file}: {said}");
    }
    Ok(())
}
