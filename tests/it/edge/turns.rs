//! What changes while requests come: quotas, keys, minutes and months, with isolates that hold leases.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use shared::ids::Mode;
use shared::kind::Kind;
use shared::moved::Moved;
use tests::client::Call;
use tests::clock;
use tests::load::{Load, total};
use tests::poll::eventually;
use tests::project::{Limits, Project, create_key, governed};
use tests::stack::{Options, Stack};
use tokio::time::Instant;

const CLIENTS: usize = 8;
/// A raise is usable within 2 s and a cut binds within 10 s; the rest is for a machine that does much else.
const RAISE_MAX: Duration = Duration::from_secs(6);
const CUT_MAX: Duration = Duration::from_secs(15);
const WORK_MAX: Duration = Duration::from_secs(60);
/// Sooner than clients are asked to come again, so that nothing is served for want of asking.
const CONTENDED_PAUSE: Duration = Duration::from_millis(200);

async fn start(sub_homes: u32) -> Result<Stack> {
    Stack::start_with(Options { leases: true, sub_homes, moving_clock: true, ..Options::default() }).await
}

async fn until(what: &str, within: Duration, is_so: impl Fn() -> bool) -> Result<()> {
    eventually(what, within, async || Ok(is_so().then_some(()))).await
}

/// Moves the clock of the whole meter, and says how far it is ahead now.
async fn advance(stack: &Stack, seconds: u64) -> Result<u64> {
    let told: Value =
        serde_json::from_str(&stack.meter(&["clock", "advance", &format!("{seconds}s"), "--json"])?)?;
    let offset_ms = told["offset_ms"].as_u64().unwrap_or_default();
    let signed = Moved { offset_ms }.sign(&stack.signing_keys()?).map_err(anyhow::Error::msg)?;
    let answer = Call::post("/internal/clock", serde_json::to_vec(&signed)?).send(stack.edge()).await?;
    ensure!(answer.status == 200, "{}", answer.text());
    Ok(offset_ms)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_quota_is_usable_within_seconds_while_requests_come() -> Result<()> {
    for sub_homes in [0, 8] {
        let stack = start(sub_homes).await?;
        let limits = Limits { included: Some(400), ..Limits::COMMUNITY_FAST };
        let project = Project::ready(&stack, "raised", limits).await?;
        let load = Load::start(stack.edge(), &project.key, CLIENTS);
        until("the hard stop", WORK_MAX, || load.stopped_hard() > 20).await?;
        let before = load.acked();
        project.set(&stack, "--included", "900")?;
        let set = clock::now();
        until("the raised quota", RAISE_MAX, || load.acked() > before).await?;
        eprintln!("{sub_homes} sub-homes: the raise was usable after {} ms", clock::now().ms_since(set));
        until("the new hard stop", WORK_MAX, || load.acked() >= 900).await?;
        let journal = load.stop().await?;
        assert_eq!(total(&journal.acked), 900, "{:?}", journal.others);
        project.reports_within(&stack, 900, WORK_MAX).await?;
        stack.finish()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_and_a_revoked_key_bind_within_seconds_while_requests_come() -> Result<()> {
    for sub_homes in [0, 8] {
        let stack = start(sub_homes).await?;
        let project = Project::ready(&stack, "cut", Limits::WIDE).await?;
        let (_, sister) = create_key(&stack, "cut", Mode::Live)?;
        let load = Load::start(stack.edge(), &project.key, CLIENTS);
        until("work", WORK_MAX, || load.acked() > 300).await?;
        stack.meter(&["key", "revoke", "--project", "cut", "--key", project.key_id.as_str()])?;
        let revoked = clock::now();
        let refused = async || Ok((project.verify().await?.status == 401).then_some(()));
        eventually("the revoked key is refused", CUT_MAX, refused).await?;
        eprintln!("{sub_homes} sub-homes: the key was refused after {} ms", clock::now().ms_since(revoked));
        let journal = load.stop().await?;
        let others: Vec<_> = journal.others.keys().collect();
        ensure!(others == [&401] || others.is_empty(), "{:?}", journal.others);

        let load = Load::start(stack.edge(), &sister, CLIENTS);
        until("work", WORK_MAX, || load.acked() > 100).await?;
        project.set(&stack, "--included", "1")?;
        let cut = clock::now();
        until("the cut", CUT_MAX, || load.stopped_hard() > 0).await?;
        eprintln!("{sub_homes} sub-homes: the cut bound after {} ms", clock::now().ms_since(cut));
        eventually("nothing is served any more", CUT_MAX, async || {
            Ok((governed(&sister, Kind::Verify, "bot").send(stack.edge()).await?.status == 402).then_some(()))
        })
        .await?;
        load.stop().await?;
        stack.finish()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_month_has_its_own_quota_though_it_turns_while_requests_come() -> Result<()> {
    for sub_homes in [0, 8] {
        let stack = start(sub_homes).await?;
        let limits = Limits { included: Some(300), ..Limits::COMMUNITY_FAST };
        let project = Project::ready(&stack, "months", limits).await?;
        let load = Load::start(stack.edge(), &project.key, CLIENTS);
        until("the first hard stop", WORK_MAX, || load.stopped_hard() > 20).await?;
        // Denials are answered at once, while the last that was allowed may still be with the upstream.
        until("the first month", WORK_MAX, || load.acked() >= 300).await?;
        assert_eq!(load.acked(), 300);
        let now = clock::now();
        // A few seconds before the turn, so that it comes by itself.
        let to_turn_ms = now.period().end().ms_since(now);
        advance(&stack, to_turn_ms.div_euclid(1_000).saturating_sub(4)).await?;
        until("the second month", WORK_MAX, || load.acked() >= 600).await?;
        let stopped = load.stopped_hard();
        until("the second hard stop", WORK_MAX, || load.stopped_hard() > stopped + 20).await?;
        let journal = load.stop().await?;
        assert_eq!(total(&journal.acked), 600, "{:?}", journal.others);
        stack.finish()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_minute_has_more_than_its_permits_though_it_turns_while_requests_come() -> Result<()> {
    const RPM: u32 = 150;
    let stack = start(0).await?;
    let project = Project::ready(&stack, "minutes", Limits { rpm: Some(RPM), ..Limits::WIDE }).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    let first = clock::now().minute();
    let mut moved_ms = 0;
    for round in 1..=3 {
        until("the minute's permits", WORK_MAX, || load.acked() >= u64::from(RPM) * round).await?;
        moved_ms = advance(&stack, 60).await?;
    }
    let journal = load.stop().await?;
    // The last minute that anything can have been served in, by the moved clock.
    let last = clock::now().plus_ms(moved_ms).minute();
    let minutes = last.start().ms_since(first.start()).div_euclid(60_000) + 1;
    assert!(total(&journal.acked) <= u64::from(RPM) * minutes, "{:?} in {minutes}", total(&journal.acked));
    assert!(journal.others.contains_key(&429), "{:?}", journal.others);
    stack.finish()
}

/// A project of five units, asked by eight at once, again and again: the last ones are served too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_quotas_are_served_to_the_last_unit_by_any_number_of_clients() -> Result<()> {
    let stack = start(0).await?;
    for number in 0..25 {
        let id = format!("small-{number}");
        let limits = Limits { included: Some(5), ..Limits::COMMUNITY_FAST };
        let project = Project::ready(&stack, &id, limits).await?;
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..8 {
            let (project, edge) = (project.clone(), stack.edge());
            clients.spawn(async move {
                let call = project.call(Kind::Verify, &format!("agent-{}", client % 5));
                let begun = Instant::now();
                loop {
                    let answer = call.send(edge).await?;
                    // Whoever is told that others hold what is left comes again, as clients do.
                    if answer.status != 429 || begun.elapsed() > WORK_MAX {
                        return anyhow::Ok(answer);
                    }
                    tokio::time::sleep(CONTENDED_PAUSE).await;
                }
            });
        }
        let (mut served, mut told) = (0, Vec::new());
        while let Some(answer) = clients.join_next().await {
            let answer = answer??;
            served += u32::from(answer.status == 200);
            told.push(format!("{} {}", answer.status, answer.text()));
        }
        assert_eq!(served, 5, "{id}: {told:#?}");
    }
    stack.finish()
}
