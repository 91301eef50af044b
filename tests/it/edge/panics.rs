//! A panic in the worker: it costs the request that it happens in, and little else.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shared::kind::Kind;
use shared::problem::ErrorCode;
use tests::client::{Answer, Call};
use tests::clock;
use tests::load::{Load, by_agent, by_kind, total};
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::raw::Wire;
use tests::stack::{Options, Part, Stack};
use tests::stand_in::StandIn;
use tokio::task::JoinSet;

/// Whoever waits on a lost instance is answered within a second; the rest is for a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(5);
const DRAIN_MAX: Duration = Duration::from_secs(40);
/// A home that is far away, so that requests wait for it when the instance is lost.
const FAR: (&str, &str) = ("METER_TEST_HOME_DELAY_MS", "700");
const CLIENTS: usize = 8;
const SUB_HOMES: u32 = 8;

/// A project's only sub-home of isolates whose region nobody knows.
const SUB_HOME: &str = "regional/live/others/0";

async fn start(leases: bool, settings: &[(&'static str, &str)]) -> Result<(StandIn, Stack)> {
    let upstream = StandIn::start().await?;
    let edge_settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let options = Options { leases, edge_settings, upstream: Some(upstream.address()), ..panicking() };
    Ok((upstream, Stack::start_with(options).await?))
}

/// With sub-homes, which isolates begin with.
async fn start_regional(home_delay_ms: u32) -> Result<Stack> {
    let edge_settings = vec![
        ("METER_TEST_HOME_DELAY_MS", home_delay_ms.to_string()),
        ("METER_SUB_HOMES", SUB_HOMES.to_string()),
    ];
    Stack::start_with(Options { leases: true, sub_homes: SUB_HOMES, edge_settings, ..panicking() }).await
}

fn panicking() -> Options {
    Options { moving_clock: true, panics: true, ..Options::default() }
}

async fn panics(stack: &Stack, what: &str) -> Result<Answer> {
    Call::get("/healthz").header("palveron-test-panic", what).send(stack.edge()).await
}

/// Whether that file is what a sub-home has stored; the platform has one of its own beside them.
fn is_rows_of_a_sub_home(path: &Path) -> bool {
    let is_metadata = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("metadata"));
    path.to_string_lossy().contains("sub-home") && path.is_file() && !is_metadata
}

/// That the log says what panicked, where, and by which functions of ours.
fn told(stack: &Stack) -> Result<()> {
    let log = stack.log(Part::Edge)?;
    let line = |what: &str| log.lines().find(|line| line.contains(what)).with_context(|| what.to_owned());
    let panic = line("Rust panicked")?;
    ensure!(panic.contains("edge/src/panics.rs:"), "{panic}");
    ensure!(panic.contains("a test asked for it"), "{panic}");
    let turn = line("a turn panicked")?;
    ensure!(turn.contains(".wasm.panicForTest"), "{turn}");
    Ok(())
}

#[tokio::test]
async fn a_panic_in_a_request_fails_that_request_alone() -> Result<()> {
    for leases in [false, true] {
        let (upstream, stack) = start(leases, &[]).await?;
        let project = Project::ready(&stack, "alone", Limits::WIDE).await?;
        for round in 0..3_u64 {
            // Others are under way, with the governance service.
            let mut others = JoinSet::new();
            for _ in 0..4 {
                let call = project.call(Kind::Verify, "bot").header("x-answer-after-ms", "300");
                let edge = stack.edge();
                others.spawn(async move { call.send(edge).await });
            }
            eventually("they are under way", ANSWER_MAX, async || {
                Ok((u64::try_from(upstream.seen().len())? >= 5 * round + 4).then_some(()))
            })
            .await?;
            panics(&stack, "request").await?.problem(ErrorCode::Internal)?;
            while let Some(answer) = others.join_next().await {
                assert_eq!(answer??.status, 200, "it was forwarded already");
            }
            assert_eq!(project.verify().await?.status, 200, "the next request finds a new instance");
        }
        if leases {
            // What the lost instances had served and not reported is gone with them.
            assert!(project.usage(&stack).await?.total <= 15);
        } else {
            // A lost instance told nothing of its last answers: its home bills them once it has been silent for long.
            project.reports_within(&stack, 15, DRAIN_MAX).await?;
        }
        told(&stack)?;
        stack.finish()?;
    }
    Ok(())
}

#[tokio::test]
async fn a_request_whose_body_is_still_coming_is_decided_by_the_next_instance() -> Result<()> {
    let (_upstream, stack) = start(true, &[]).await?;
    let project = Project::ready(&stack, "pieces", Limits::WIDE).await?;
    let mut wire = Wire::open(stack.edge()).await?;
    let head = "POST /v1/check HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\n";
    let piece = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let first = piece("{\"kind\":");
    wire.write(format!("{head}Authorization: Bearer {}\r\n\r\n{first}", project.key)).await;
    // Requests are taken up in the order in which they come: the body is being read when this is answered.
    assert_eq!(project.quota().await?.status, 200);
    panics(&stack, "request").await?.problem(ErrorCode::Internal)?;
    wire.write(piece("\"verify\"}") + "0\r\n\r\n").await;
    let answer = wire.answer(ANSWER_MAX).await?;
    assert_eq!(answer.status(), Some(200), "{}", answer.text());
    assert!(answer.text().contains("\"allowed\":true"), "{}", answer.text());
    project.reports(&stack, 1).await?;
    stack.finish()
}

/// What requests are answered that wait for a home far away when the instance is lost, and how long the slowest took.
async fn lost_while_waiting(stack: &Stack, project: &Project) -> Result<(Vec<Answer>, Duration)> {
    let mut waiting = JoinSet::new();
    for _ in 0..6 {
        let (call, edge) = (project.call(Kind::Verify, "bot"), stack.edge());
        waiting.spawn(async move {
            let begun = clock::now();
            let answer = call.send(edge).await?;
            Ok::<_, anyhow::Error>((answer, Duration::from_millis(clock::now().ms_since(begun))))
        });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    panics(stack, "request").await?.problem(ErrorCode::Internal)?;
    let (mut answers, mut slowest) = (Vec::new(), Duration::ZERO);
    while let Some(answer) = waiting.join_next().await {
        let (answer, took) = answer.context("a client has panicked")??;
        answers.push(answer);
        slowest = slowest.max(took);
    }
    Ok((answers, slowest))
}

#[tokio::test]
async fn whoever_waits_on_a_lost_instance_is_told_within_a_second() -> Result<()> {
    let (_upstream, stack) = start(true, &[FAR]).await?;
    let project = Project::create(&stack, "waiting", Limits::WIDE)?;
    let (answers, slowest) = lost_while_waiting(&stack, &project).await?;
    for answer in answers {
        answer.problem(ErrorCode::HomeUnavailable)?;
    }
    // With the time until the panic; about 0.25 s on a machine that does nothing else.
    eprintln!("the slowest was told after {slowest:?}");
    assert!(slowest < ANSWER_MAX, "{slowest:?}");
    eventually("the next request", ANSWER_MAX, async || {
        Ok((project.verify().await?.status == 200).then_some(()))
    })
    .await?;
    stack.finish()
}

#[tokio::test]
async fn in_shadow_mode_whoever_waits_on_a_lost_instance_is_forwarded() -> Result<()> {
    let (upstream, stack) = start(true, &[FAR, ("METER_SHADOW", "1")]).await?;
    let project = Project::create(&stack, "shadow", Limits::WIDE)?;
    let (answers, _) = lost_while_waiting(&stack, &project).await?;
    for answer in &answers {
        assert_eq!((answer.status, answer.text().as_str()), (200, "seen"));
        assert_eq!(answer.header("palveron-would-deny"), Some("home_unavailable"));
    }
    assert_eq!(upstream.seen().len(), answers.len());
    stack.finish()
}

#[tokio::test]
async fn a_home_that_panics_is_read_back_and_has_forgotten_nothing() -> Result<()> {
    let (_upstream, stack) = start(false, &[]).await?;
    let limits = Limits { included: Some(12), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "homes", limits).await?;
    for round in 1..=3 {
        for _ in 0..3 {
            assert_eq!(project.verify().await?.status, 200);
        }
        let failed = panics(&stack, "home homes/live").await?;
        assert!(failed.status >= 500, "{}", failed.status);
        let quota: serde_json::Value = project.quota().await?.ok()?;
        assert_eq!(quota["used"], 3 * round);
    }
    project.reports(&stack, 9).await?;
    told(&stack)?;
    stack.finish()
}

#[tokio::test]
async fn a_flush_that_panics_is_sent_after_all_and_everything_is_reported() -> Result<()> {
    let (_upstream, stack) = start(false, &[]).await?;
    let project = Project::ready(&stack, "flushes", Limits::WIDE).await?;
    panics(&stack, "flush flushes/live").await?;
    for _ in 0..5 {
        assert_eq!(project.verify().await?.status, 200);
    }
    // No further request comes: the home alone must bring it.
    project.reports_within(&stack, 5, DRAIN_MAX).await?;
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sub_homes_that_panic_under_load_neither_lose_a_unit_nor_issue_one_twice() -> Result<()> {
    const ALLOWANCE: u64 = 3_000;
    let stack = start_regional(0).await?;
    let other = Project::ready(&stack, "other", Limits::WIDE).await?;
    for _ in 0..3 {
        assert_eq!(other.verify().await?.status, 200);
    }
    let limits = Limits { included: Some(ALLOWANCE), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "regional", limits).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    for round in 1..=10 {
        eventually("work goes on", DRAIN_MAX, async || Ok((load.acked() >= 200 * round).then_some(())))
            .await?;
        let what = if round % 2 == 0 { "look" } else { "sub_home" };
        panics(&stack, &format!("{what} {SUB_HOME}")).await?;
    }
    eventually("the hard stop", DRAIN_MAX, async || Ok((load.stopped_hard() > 0).then_some(()))).await?;
    let journal = load.stop().await?;
    assert_eq!(journal.unanswered, Default::default());
    assert_eq!(total(&journal.acked), ALLOWANCE, "{:?}", journal.others);
    let usage = project.reports_within(&stack, ALLOWANCE, DRAIN_MAX).await?;
    assert_eq!(usage.by_kind(), by_kind(&journal.acked));
    assert_eq!(usage.by_agent(), by_agent(&journal.acked));
    // Another project's home was lost with the instance, and is read back.
    other.reports_within(&stack, 3, DRAIN_MAX).await?;
    told(&stack)?;
    stack.finish()
}

#[tokio::test]
async fn a_sub_home_that_panics_between_requests_reports_what_it_had_heard() -> Result<()> {
    let stack = start_regional(0).await?;
    let project = Project::ready(&stack, "regional", Limits::WIDE).await?;
    for round in 1..=3 {
        for _ in 0..5 {
            assert_eq!(project.verify().await?.status, 200);
        }
        // No further request comes: the sub-home alone must bring it.
        panics(&stack, &format!("look {SUB_HOME}")).await?;
        eventually("its look", DRAIN_MAX, async || {
            let panics = stack.log(Part::Edge)?.matches("a turn panicked").count();
            Ok((u64::try_from(panics)? == round).then_some(()))
        })
        .await?;
        project.reports_within(&stack, 5 * round, DRAIN_MAX).await?;
    }
    stack.finish()
}

#[tokio::test]
async fn contacts_that_wait_in_a_sub_home_when_it_panics_are_sent_again() -> Result<()> {
    // The home is far away, so that contacts wait in the sub-home.
    let stack = start_regional(120).await?;
    let project = Project::create(&stack, "regional", Limits::WIDE)?;
    let mut waiting = JoinSet::new();
    for _ in 0..6 {
        let (call, edge) = (project.call(Kind::Verify, "bot"), stack.edge());
        waiting.spawn(async move { call.send(edge).await });
    }
    eventually("a contact has come", ANSWER_MAX, async || {
        Ok(stack.stored_by_homes()?.iter().any(|(path, _)| is_rows_of_a_sub_home(path)).then_some(()))
    })
    .await?;
    panics(&stack, &format!("sub_home {SUB_HOME}")).await?.problem(ErrorCode::Internal)?;
    while let Some(answer) = waiting.join_next().await {
        assert_eq!(answer??.status, 200);
    }
    project.reports_within(&stack, 6, DRAIN_MAX).await?;
    stack.finish()
}

#[tokio::test]
async fn a_stack_that_overflows_ends_its_instance_in_both_workers() -> Result<()> {
    let (_upstream, stack) = start(false, &[]).await?;
    let project = Project::ready(&stack, "deep", Limits::WIDE).await?;
    for round in 1..=2 {
        for what in ["deep", "overflow deep/live"] {
            assert!(panics(&stack, what).await?.status >= 500, "{what}");
            assert_eq!(project.verify().await?.status, 200, "a new instance serves after {what}");
        }
        let ended = stack.log(Part::Edge)?.matches("a turn panicked").count();
        assert_eq!(ended, 2 * round, "each was taken for a lost instance");
    }
    project.reports_within(&stack, 4, DRAIN_MAX).await?;
    stack.finish()
}
