//! What happens where a part is missing: nobody is served that nobody has counted, and nothing is lost but what a killed
//! process had in hand.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::Part;
use tests::usage::REPORT_MAX;

use super::{Tally, call, ended, mesh};

/// Homes wait ten seconds before they count a silent process's units as forfeited.
const SILENT_MAX: Duration = Duration::from_secs(30);

async fn numbers(project: &Project) -> Result<[u64; 3]> {
    let quota: Value = project.quota().await?.ok()?;
    let number = |name: &str| quota.get(name).and_then(Value::as_u64).unwrap_or_default();
    Ok([number("used"), number("remaining"), number("forfeited")])
}

#[tokio::test]
async fn a_killed_meter_at_a_hard_stop_burns_what_it_had_and_nothing_is_served_twice() -> Result<()> {
    let (stack, _service, mut envoy) = mesh().await?;
    let project = Project::ready(&stack, "killed", Limits::COMMUNITY_FAST).await?;
    let tally = Arc::new(Tally::default());
    let clients = tally.begin(envoy.address(), &project.key);
    for at_least in [100, 300, 500] {
        eventually("some are served", Duration::from_secs(20), async || {
            Ok((tally.allowed() >= at_least || tally.exhausted() > 0).then_some(()))
        })
        .await?;
        envoy.kill()?;
        envoy.begin().await?;
    }
    ended(clients).await?;
    let allowed = tally.allowed();
    ensure!(allowed <= 1_000, "{tally:?}");
    let settled = eventually("every unit is used, left or forfeited", SILENT_MAX, async || {
        let [used, remaining, forfeited] = numbers(&project).await?;
        Ok((remaining == 0 && used + forfeited == 1_000).then_some((used, forfeited)))
    });
    let (used, forfeited) = settled.await?;
    ensure!(used <= allowed, "billed {used} of {allowed} served");
    project.reports(&stack, used).await?;
    eprintln!("killed three times: {allowed} served, {used} billed, {forfeited} forfeited");
    envoy.finish()?;
    stack.finish()
}

#[tokio::test]
async fn a_meter_that_is_told_to_stop_gives_its_leases_back() -> Result<()> {
    let (stack, _service, mut envoy) = mesh().await?;
    let project = Project::ready(&stack, "stopped", Limits::COMMUNITY_FAST).await?;
    for _ in 0..20 {
        assert_eq!(call(&project.key, "bot").send(envoy.address()).await?.status, 200);
    }
    let status = envoy.terminate().await?;
    ensure!(status.success(), "{status}: {}", envoy.log());
    assert_eq!(numbers(&project).await?, [20, 980, 0], "{}", envoy.log());
    project.reports(&stack, 20).await?;
    envoy.begin().await?;
    eventually("Envoy asks it again", Duration::from_secs(20), async || {
        Ok((call(&project.key, "bot").send(envoy.address()).await?.status == 200).then_some(()))
    })
    .await?;
    envoy.finish()?;
    stack.finish()
}

#[tokio::test]
async fn nobody_is_served_uncounted_while_no_home_answers() -> Result<()> {
    let (mut stack, service, envoy) = mesh().await?;
    let project = Project::ready(&stack, "away", Limits::COMMUNITY_FAST).await?;
    assert_eq!(call(&project.key, "bot").send(envoy.address()).await?.status, 200);
    project.reports(&stack, 1).await?;
    stack.kill(Part::Edge)?;
    let mut served = 1;
    eventually("what was in hand is used up, or too old", Duration::from_secs(60), async || {
        let answer = call(&project.key, "bot").send(envoy.address()).await?;
        served += u64::from(answer.status == 200);
        Ok((answer.status == 500).then_some(()))
    })
    .await?;
    stack.begin(&[Part::Edge]).await?;
    eventually("it is served again", Duration::from_secs(20), async || {
        let answer = call(&project.key, "bot").send(envoy.address()).await?;
        served += u64::from(answer.status == 200);
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    project.reports_within(&stack, served, REPORT_MAX * 8).await?;
    let reached = service.seen().iter().filter(|head| head.uri.path() == "/v1/verify").count();
    assert_eq!(u64::try_from(reached)?, served);
    envoy.finish()?;
    stack.finish()
}
