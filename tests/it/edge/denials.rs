//! What the edge refuses is counted by its reason, and the same everywhere: in usage, its CSV, the metrics of both
//! sides, and the explanation. None of it is billed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use shared::denials::DenialReason;
use shared::kind::Kind;
use tests::client::Call;
use tests::clock;
use tests::poll::eventually;
use tests::project::{Limits, Project, create_key};
use tests::stack::{Options, Stack};

const TOLD_MAX: Duration = Duration::from_secs(30);
const TOKEN: &str = "a-token-that-is-long-enough";

type Counts = BTreeMap<String, u64>;

/// Sends a verify call, and counts what it is refused with.
async fn ask(stack: &Stack, key: &str, agent: &str, counts: &mut Counts) -> Result<u16> {
    let call = tests::project::governed(key, Kind::Verify, agent);
    let answer = call.send(stack.edge()).await?;
    if answer.status != 200 {
        let body: Value = serde_json::from_slice(&answer.body)?;
        let code = body["code"].as_str().context("no code")?.to_owned();
        *counts.entry(code).or_default() += 1;
    }
    Ok(answer.status)
}

/// Makes each kind of denial happen, and says how many of each there were.
async fn refuse(stack: &Stack, project: &Project) -> Result<Counts> {
    let mut counts = Counts::new();
    // Where the project stands is known to the isolate before anything of it changes.
    for agent in ["a", "b", "c", "d", "e", "f", "g"] {
        ask(stack, &project.key, agent, &mut counts).await?;
    }
    project.set(stack, "--rpm", "1")?;
    eventually("the minute's limit", TOLD_MAX, async || {
        ask(stack, &project.key, "a", &mut counts).await?;
        Ok(counts.contains_key("rate_limited").then_some(()))
    })
    .await?;
    project.set(stack, "--rpm", "100000")?;
    eventually("the hard stop", TOLD_MAX, async || {
        ask(stack, &project.key, "a", &mut counts).await?;
        Ok(counts.contains_key("quota_exhausted").then_some(()))
    })
    .await?;
    let (id, key) = create_key(stack, project.id.as_str(), shared::ids::Mode::Live)?;
    stack.meter(&["key", "revoke", "--project", project.id.as_str(), "--key", id.as_str()])?;
    eventually("the revoked key is refused", TOLD_MAX, async || {
        Ok((ask(stack, &key, "a", &mut counts).await? == 401).then_some(()))
    })
    .await?;
    project.set(stack, "--suspended", "true")?;
    eventually("the suspension", TOLD_MAX, async || {
        Ok((ask(stack, &project.key, "a", &mut counts).await? == 403).then_some(()))
    })
    .await?;
    Ok(counts)
}

fn told(reasons: &Value) -> Counts {
    let count =
        |reason: DenialReason| (reason.as_str().to_owned(), reasons[reason.as_str()].as_u64().unwrap_or(0));
    DenialReason::ALL.map(count).into_iter().filter(|(_, count)| *count > 0).collect()
}

/// What a metric counted of each reason.
fn metered(text: &str, name: &str) -> Counts {
    let lines = text.lines().filter(|line| line.starts_with(name));
    let counts = lines.filter_map(|line| {
        let (_, rest) = line.split_once("reason=\"")?;
        let (reason, count) = rest.split_once("\"}")?;
        Some((reason.to_owned(), count.trim().parse().ok()?))
    });
    counts.filter(|(_, count)| *count > 0).collect()
}

#[tokio::test]
async fn every_denial_is_found_by_its_reason_wherever_usage_is_and_in_no_bill() -> Result<()> {
    for leases in [true, false] {
        let edge_settings = vec![("METER_METRICS_TOKEN", TOKEN.to_owned())];
        let stack = Stack::start_with(Options { leases, edge_settings, ..Options::default() }).await?;
        let limits = Limits { included: Some(20), ..Limits::COMMUNITY_FAST };
        let project = Project::ready(&stack, "refused", limits).await?;
        let mut counts = refuse(&stack, &project).await?;
        for reason in ["agent_limit", "rate_limited", "quota_exhausted", "unauthorized", "project_suspended"]
        {
            ensure!(counts.contains_key(reason), "{reason} did not happen: {counts:?}");
        }
        let today = clock::now().day();
        let span = format!("from={}&to={today}", today.period().first_day());
        let usage = eventually("the denials are reported", TOLD_MAX, async || {
            let usage: Value = project.usage_answer(&stack, &span).await?.ok()?;
            ensure!(told(&usage["denied"]["reasons"]) == counts, "{} and {counts:?}", usage["denied"]);
            Ok(Some(usage))
        })
        .await?;
        // What is told is what is enforced: twenty units, however many were refused.
        ensure!(usage["total"] == 20, "{usage}");
        let csv =
            project.usage_answer(&stack, &format!("{span}&format=csv&group_by=day,agent,kind")).await?.text();
        let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let head = lines.next().context("no head")?;
        let mut exported = Counts::new();
        for line in lines {
            for (head, cell) in head.iter().zip(line) {
                if let Some(reason) = head.strip_prefix("denied_") {
                    *exported.entry(reason.to_owned()).or_default() += cell.parse::<u64>()?;
                }
            }
        }
        exported.retain(|_, count| *count > 0);
        ensure!(exported == counts, "{csv}");
        let explained: Value =
            Call::get("/api/v1/explain").bearer(&project.token).send(stack.aggregator()).await?.ok()?;
        ensure!(told(&explained["denied"]["reasons"]) == counts, "{explained}");
        ensure!(explained["now"]["used"] == 20, "{explained}");
        let metrics = Call::get("/metrics").send(stack.aggregator()).await?.text();
        ensure!(metered(&metrics, "meter_denied_requests_total") == counts, "{metrics}");
        // A key of no project counts at the edge alone.
        ask(&stack, "pk_live_nobody_k001_1_00", "a", &mut Counts::new()).await?;
        counts.insert("unknown_key".to_owned(), 1);
        let scraped = Call::get("/metrics").bearer(TOKEN).send(stack.edge()).await?;
        ensure!(metered(&scraped.text(), "meter_edge_denied_requests_total") == counts, "{}", scraped.text());
        ensure!(scraped.text().contains("path=\"/v1/verify\",status=\"402\"}"), "{}", scraped.text());
        ensure!(Call::get("/metrics").send(stack.edge()).await?.status == 404, "it is nobody else's");
        stack.finish()?;
    }
    Ok(())
}

/// In shadow mode nobody is refused, what would have been is told by its reason, and no more is billed than the plan has.
#[tokio::test]
async fn what_shadow_mode_lets_through_is_told_by_its_reason_and_billed_by_nobody() -> Result<()> {
    for leases in [true, false] {
        let edge_settings = vec![("METER_SHADOW", "1".to_owned())];
        let stack = Stack::start_with(Options { leases, edge_settings, ..Options::default() }).await?;
        let limits = Limits { included: Some(20), ..Limits::COMMUNITY_FAST };
        let project = Project::ready(&stack, "shadowed", limits).await?;
        let (mut counts, mut served) = (Counts::new(), 0_u64);
        let mut ask = async |agent: &str| -> Result<()> {
            let answer = project.call(Kind::Verify, agent).send(stack.edge()).await?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
            match answer.header("palveron-would-deny") {
                Some(code) => *counts.entry(code.to_owned()).or_default() += 1,
                None => served += 1,
            }
            Ok(())
        };
        // More agents than the plan admits, and more requests than the month has.
        for agent in ["a", "b", "c", "d", "e", "f", "g"] {
            ask(agent).await?;
        }
        for _ in 0..40 {
            ask("a").await?;
        }
        // A check is a request as well, and a dry run is none.
        for (dry_run, expected) in [(false, 1), (true, 0)] {
            let body = format!(r#"{{"kind":"verify","agent":"a","dry_run":{dry_run}}}"#);
            let call = Call::post("/v1/check", body).bearer(&project.key);
            let check: Value = call.send(stack.edge()).await?.ok()?;
            ensure!(check["allowed"] == true && check["would_deny"] == "quota_exhausted", "{check}");
            *counts.entry("quota_exhausted".to_owned()).or_default() += expected;
        }
        ensure!(served <= 20, "{served} were served within the limits");
        ensure!(counts.contains_key("quota_exhausted") && counts.contains_key("agent_limit"), "{counts:?}");
        let today = clock::now().day();
        let span = format!("from={}&to={today}", today.period().first_day());
        let usage = eventually("what was let through is reported", TOLD_MAX, async || {
            let usage: Value = project.usage_answer(&stack, &span).await?.ok()?;
            let would = told(&usage["would_have_denied"]["reasons"]);
            ensure!(would == counts && usage["total"] == served, "{usage} and {counts:?}, {served}");
            Ok(Some(usage))
        })
        .await?;
        ensure!(usage["denied"]["total"] == 0, "{usage}");
        let explained: Value =
            Call::get("/api/v1/explain").bearer(&project.token).send(stack.aggregator()).await?.ok()?;
        ensure!(told(&explained["would_have_denied"]["reasons"]) == counts, "{explained}");
        ensure!(explained["now"]["used"] == served, "{explained}");
        stack.finish()?;
    }
    Ok(())
}
