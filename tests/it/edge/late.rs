//! What is known only after a request was allowed: tokens, anchors, and whether the upstream answered.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use shared::kind::Kind;
use shared::problem::ErrorCode;
use tests::client::{Answer, Call};
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Options, Part, Stack};
use tests::stand_in::StandIn;

const NOTED_MAX: Duration = Duration::from_secs(30);

async fn start(leases: bool, settings: &[(&'static str, &str)]) -> Result<(StandIn, Stack)> {
    let upstream = StandIn::start().await?;
    let edge_settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let options = Options { leases, edge_settings, upstream: Some(upstream.address()), ..Options::default() };
    Ok((upstream, Stack::start_with(options).await?))
}

async fn observe(stack: &Stack, project: &Project, body: &Value) -> Result<Answer> {
    Call::post("/v1/observe", body.to_string()).json().bearer(&project.key).send(stack.edge()).await
}

/// The report's tokens once they are those, with no more units than that.
async fn reports(stack: &Stack, project: &Project, tokens: [u64; 2], units: u64) -> Result<()> {
    eventually("the observed tokens", NOTED_MAX, async || {
        let usage = project.usage(stack).await?;
        let seen = [usage.observed.tokens_in, usage.observed.tokens_out];
        anyhow::ensure!(seen == tokens && usage.total == units, "{seen:?} and {} units", usage.total);
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn what_clients_and_upstreams_observe_is_reported_and_never_billed() -> Result<()> {
    for leases in [false, true] {
        let (_upstream, stack) = start(leases, &[]).await?;
        let project = Project::ready(&stack, "seen", Limits::WIDE).await?;
        let noted: Value =
            observe(&stack, &project, &json!({"agent": "bot", "tokens_in": 100, "anchors": 2}))
                .await?
                .ok()?;
        assert_eq!(
            noted,
            json!({"kind": "verify", "agent": "bot", "tokens_in": 100, "tokens_out": 0, "anchors": 2})
        );
        for _ in 0..3 {
            let answer = project.verify().await?;
            assert_eq!(answer.status, 200);
            let ours = answer.headers.keys().map(|name| name.as_str());
            let ours: Vec<&str> = ours.filter(|name| name.starts_with("palveron-")).collect();
            assert_eq!(ours, ["palveron-source"], "the upstream's own headers stay inside");
        }
        observe(&stack, &project, &json!({"tokens_out": 50})).await?.ok::<Value>()?;
        reports(&stack, &project, [121, 83], 3).await?;
        let refused = observe(&stack, &project, &json!({"tokens_in": -1})).await?;
        refused.problem(ErrorCode::FieldRejected)?;
        let forged = Call::post("/v1/observe", "{}").bearer("pk_live_seen_k001_1_00");
        forged.send(stack.edge()).await?.problem(ErrorCode::Unauthorized)?;
        stack.finish()?;
    }
    Ok(())
}

#[tokio::test]
async fn where_answers_are_billed_a_request_without_one_costs_nothing() -> Result<()> {
    for leases in [false, true] {
        let (_upstream, stack) = start(leases, &[("METER_BILL", "answered")]).await?;
        let limits = Limits { included: Some(6), ..Limits::COMMUNITY_FAST };
        let project = Project::ready(&stack, "answered", limits).await?;
        let call = async |status: u16| {
            let call = project.call(Kind::Verify, "bot").header("x-answer-status", status.to_string());
            call.send(stack.edge()).await
        };
        // A refusal by the governance service is an answer; that it failed is none.
        let mut served = 0;
        for status in [200, 503, 403, 500, 502, 200, 404] {
            let answer = call(status).await?;
            assert_eq!(answer.status, status, "{}", answer.text());
            served += u64::from(status < 500);
        }
        assert_eq!(project.reports(&stack, served).await?.total, served);
        // What failed has come back: exactly the rest of the allowance can still be served.
        for _ in served..6 {
            eventually("a unit that came back", NOTED_MAX, async || {
                Ok((call(200).await?.status == 200).then_some(()))
            })
            .await?;
        }
        eventually("the hard stop", NOTED_MAX, async || Ok((call(200).await?.status == 402).then_some(())))
            .await?;
        assert_eq!(project.reports(&stack, 6).await?.total, 6);
        stack.finish()?;
    }
    Ok(())
}

#[tokio::test]
async fn an_upstream_that_is_away_is_not_billed_where_answers_are() -> Result<()> {
    let settings = vec![("METER_BILL", "answered".to_owned())];
    let options =
        Options { leases: true, edge_settings: settings, later: vec![Part::Upstream], ..Options::default() };
    let mut stack = Stack::start_with(options).await?;
    let project = Project::ready(&stack, "away", Limits::WIDE).await?;
    for _ in 0..3 {
        project.verify().await?.problem(ErrorCode::UpstreamUnavailable)?;
    }
    stack.begin(&[Part::Upstream]).await?;
    assert_eq!(project.verify().await?.status, 200);
    assert_eq!(project.reports(&stack, 1).await?.total, 1);
    stack.finish()
}

#[tokio::test]
async fn in_shadow_mode_nobody_is_denied_and_the_header_says_who_would_be() -> Result<()> {
    for leases in [false, true] {
        let (upstream, stack) = start(leases, &[("METER_SHADOW", "1")]).await?;
        let limits = Limits { included: Some(3), ..Limits::COMMUNITY_FAST };
        let project = Project::ready(&stack, "shadow", limits).await?;
        let mut would = Vec::new();
        for _ in 0..5 {
            let answer = project.verify().await?;
            assert_eq!(answer.status, 200, "{}", answer.text());
            would.push(answer.header("palveron-would-deny").map(str::to_owned));
        }
        let exhausted = Some("quota_exhausted".to_owned());
        assert_eq!(would, [None, None, None, exhausted.clone(), exhausted]);
        assert_eq!(upstream.seen().len(), 5);
        let check = Call::post("/v1/check", "{\"kind\":\"verify\"}").json().bearer(&project.key);
        let told: Value = check.send(stack.edge()).await?.ok()?;
        assert_eq!((&told["allowed"], &told["would_deny"]), (&json!(true), &json!("quota_exhausted")));
        assert_eq!(project.reports(&stack, 3).await?.total, 3, "what would be denied is not billed");
        Call::post("/v1/verify", "{}")
            .bearer("nobody")
            .send(stack.edge())
            .await?
            .problem(ErrorCode::Unauthorized)?;
        stack.finish()?;
    }
    Ok(())
}
