//! Four processes as isolates of one edge, whose homes a fifth has: the same promises as with one.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use shared::cell::Observed;
use shared::decision::Ask;
use shared::home::HomeName;
use shared::home::call::Observing;
use shared::ids::AgentId;
use shared::kind::Kind;
use shared::problem::ErrorCode;
use shared::sign::{Purpose, SIGNATURE_HEADER, Signed};
use shared::units::Units;
use tests::chance::between_ms;
use tests::client::Call;
use tests::clock;
use tests::fleet::Fleet;
use tests::load::{Load, by_agent, by_kind, total};
use tests::operator::Operator;
use tests::poll::eventually;
use tests::project::{Limits, Project, governed};
use tests::stack::{Options, Part, Stack};
use tests::stand_in::StandIn;

const ISOLATES: usize = 4;
const CLIENTS: usize = 64;
const ALLOWANCE: u64 = 4_000;
const DRAIN_MAX: Duration = Duration::from_secs(60);
const LOAD_MAX: Duration = Duration::from_secs(150);

async fn start(sub_homes: u32) -> Result<(Stack, Fleet)> {
    start_before(None, sub_homes).await
}

async fn start_before(upstream: Option<SocketAddr>, sub_homes: u32) -> Result<(Stack, Fleet)> {
    let edge_settings = vec![("METER_HOMES", "serve".to_owned())];
    let options = Options { leases: true, sub_homes, edge_settings, upstream, ..Options::default() };
    let stack = Stack::start_with(options).await?;
    let fleet = Fleet::start(&stack, ISOLATES).await?;
    Ok((stack, fleet))
}

fn limits() -> Limits {
    Limits { included: Some(ALLOWANCE), rpm: Some(1_000_000), ..Limits::COMMUNITY_FAST }
}

/// Twice the allowance is demanded; returns when that much was answered and nothing more is served.
async fn demanded(load: &Load) -> Result<()> {
    eventually("twice the allowance is demanded", LOAD_MAX, async || {
        Ok((load.stopped_hard() > 0 && load.answered() >= 2 * ALLOWANCE).then_some(()))
    })
    .await
}

async fn exact(sub_homes: u32) -> Result<()> {
    let (stack, fleet) = start(sub_homes).await?;
    let project = Project::ready(&stack, "four", limits()).await?;
    let load = Load::start(fleet.address(), &project.key, CLIENTS);
    demanded(&load).await?;
    let journal = load.stop().await?;
    assert_eq!(total(&journal.acked), ALLOWANCE, "{:?}", journal.others);
    assert_eq!(journal.unanswered, Default::default());
    let usage = project.reports_within(&stack, ALLOWANCE, DRAIN_MAX).await?;
    assert_eq!(usage.by_kind(), by_kind(&journal.acked));
    assert_eq!(usage.by_agent(), by_agent(&journal.acked));
    fleet.finish(&stack)?;
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_isolates_serve_the_allowance_exactly_and_all_of_it_is_billed() -> Result<()> {
    exact(0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_isolates_behind_sub_homes_serve_the_allowance_exactly() -> Result<()> {
    exact(8).await
}

async fn with_kills(sub_homes: u32) -> Result<()> {
    // It knows what was served, also where the answer was lost with the isolate.
    let upstream = StandIn::silent().await?;
    let (mut stack, mut fleet) = start_before(Some(upstream.address()), sub_homes).await?;
    let project = Project::ready(&stack, "killed", limits()).await?;
    let load = Load::start(fleet.address(), &project.key, CLIENTS);
    let mut kills = 0;
    while load.stopped_hard() == 0 && kills < 20 {
        tokio::time::sleep(between_ms(200, 900)?).await;
        // The home is one of five.
        let turn = usize::try_from(between_ms(0, 4)?.as_millis())?;
        if turn == ISOLATES {
            stack.kill(Part::Edge)?;
            stack.begin(&[Part::Edge]).await?;
        } else {
            fleet.kill(turn)?;
            fleet.begin(&stack, turn)?;
        }
        kills += 1;
    }
    demanded(&load).await?;
    let journal = load.stop().await?;
    let (served, unanswered) = (total(&journal.acked), total(&journal.unanswered));
    let forwarded = u64::try_from(upstream.seen().len())?;
    eprintln!(
        "{kills} kills, {served} served, {unanswered} unanswered, {forwarded} forwarded, others {:?}",
        journal.others
    );
    assert!(forwarded <= ALLOWANCE, "{forwarded} were forwarded");
    assert!(served <= forwarded && forwarded <= served + unanswered, "{served} of {forwarded} were answered");
    // Dead isolates keep 2 % of the allowance at the most, and what they had not reported.
    assert!(10 * (served + unanswered) >= 9 * ALLOWANCE, "{served} and {unanswered}");
    let mut billed = 0;
    // Whatever is still reported comes within a moment; it must not grow beyond what was served.
    for _ in 0..10 {
        billed = project.usage(&stack).await?.total;
        assert!(billed <= served + unanswered, "{billed} billed, {served} served, {unanswered} unanswered");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    eprintln!("{billed} billed");
    fleet.finish(&stack)?;
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_no_more_than_the_allowance_is_served_and_no_more_than_that_billed() -> Result<()> {
    with_kills(0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_behind_sub_homes() -> Result<()> {
    with_kills(8).await
}

#[tokio::test]
async fn only_processes_of_the_edge_may_call_its_homes_and_only_where_they_are_served() -> Result<()> {
    const CALL: &str = r#"["HOME","four/live","install","{}"]"#;
    let call = || Call::post("/internal/contact", CALL).header("palveron-signature", "t=1,k=e1,v1=00");
    let (stack, fleet) = start(0).await?;
    call().send(stack.edge()).await?.problem(ErrorCode::SignatureRejected)?;
    Call::post("/internal/contact", CALL).send(stack.edge()).await?.problem(ErrorCode::SignatureRejected)?;
    call().send(fleet.address()).await?.problem(ErrorCode::NotFound)?;
    fleet.finish(&stack)?;
    stack.finish()
}

/// A call of one process of the edge to another's homes, signed now.
fn internal(stack: &Stack, body: &Value) -> Result<Call> {
    const PATH: &str = "/internal/contact";
    let body = body.to_string();
    let keys = stack.signing_keys()?;
    let key = keys.current(Purpose::Edge).context("no key of the edge")?;
    let signature = Signed { method: "POST", path: PATH, body: body.as_bytes() }.sign(key, clock::now());
    Ok(Call::post(PATH, body).header(SIGNATURE_HEADER, signature))
}

#[tokio::test]
async fn a_recorded_call_counts_once_however_often_it_is_sent_again() -> Result<()> {
    const AGAIN: usize = 20;
    let (stack, fleet) = start(0).await?;
    let project = Project::ready(&stack, "again", limits()).await?;
    let home = HomeName::parse("again/live")?;
    let (key, agent) = (project.key_id.clone(), AgentId::parse("bot")?);
    let kind = Kind::Verify;
    let ask = Ask { key: key.clone(), kind, agent: agent.clone(), cost: 1_000, dry_run: false, held: false };
    let observed = Observed { tokens_in: Units::new(7), ..Observed::default() };
    let observing = Observing { home, key, kind, agent, observed };
    for call in [
        json!(["HOME", "again/live", "decide", "again/live", serde_json::to_string(&ask)?, ""]),
        json!(["HOME", "again/live", "observe", "again/live", serde_json::to_string(&observing)?]),
    ] {
        let call = internal(&stack, &call)?;
        assert_eq!(call.send(stack.edge()).await?.status, 200);
        for _ in 0..AGAIN {
            call.send(stack.edge()).await?.problem(ErrorCode::SignatureRejected)?;
        }
    }
    let usage = project.reports_within(&stack, 1_000, DRAIN_MAX).await?;
    assert_eq!(usage.observed.tokens_in, 7);
    let quota: Value = project.quota().await?.ok()?;
    assert_eq!(quota["used"], 1_000, "{quota}");
    // Nor does anybody move the clock of a home that is real.
    let clock = internal(&stack, &json!(["HOME", "~clock", "clock", 3_600_000]))?;
    clock.send(stack.edge()).await?.problem(ErrorCode::NotFound)?;
    fleet.finish(&stack)?;
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_key_is_served_from_its_first_request_by_processes_that_have_no_homes() -> Result<()> {
    const EACH: usize = 12;
    for sub_homes in [0, 2] {
        let (stack, fleet) = start(sub_homes).await?;
        let operator = Operator::of(&stack)?;
        let project = Project::ready(&stack, "turned", Limits::WIDE).await?;
        let (mut id, mut key) = (project.key_id.as_str().to_owned(), project.key.clone());
        for _ in 0..5 {
            // Each is a connection of its own, so that every process is asked.
            for _ in 0..EACH {
                let answer = governed(&key, Kind::Verify, "bot").send(fleet.address()).await?;
                assert_eq!(answer.status, 200, "{sub_homes} sub-homes: {}", answer.text());
            }
            (id, key) = operator.key("turned", Some(&id)).await?;
        }
        fleet.finish(&stack)?;
        stack.finish()?;
    }
    Ok(())
}
