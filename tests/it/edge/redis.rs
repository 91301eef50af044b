//! A Redis that has the homes, and what may become of it under load at a hard stop: no more is served than there is,
//! nothing is billed that was not served, and each loss of the server's memory costs no more than the escrow.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::client::Call;
use tests::load::{Load, total};
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Counters, Options, Part, Stack};

pub(super) const CLIENTS: usize = 8;
pub(super) const INCLUDED: u64 = 3_000;
/// A fiftieth of what is included: what a home may issue before it is acknowledged.
const ESCROW: u64 = INCLUDED.div_euclid(50);
/// Time enough for a hard stop on a busy machine: a new life of a strict home gives no permit of the minute it begins in.
const WAIT_MAX: Duration = Duration::from_secs(420);
/// How long the server stands still: longer than anybody waits for it.
const STILL: Duration = Duration::from_secs(4);

async fn start() -> Result<(Stack, Project)> {
    start_on(None).await
}

/// On that program, where it is not Valkey's server.
async fn start_on(redis_program: Option<PathBuf>) -> Result<(Stack, Project)> {
    let options = Options { leases: true, counters: Counters::Redis, redis_program, ..Options::default() };
    let stack = Stack::start_with(options).await?;
    let limits = Limits { included: Some(INCLUDED), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "faulty", limits).await?;
    Ok((stack, project))
}

/// An isolate has given up by then what the home never answered.
const BACK_MAX: Duration = Duration::from_secs(30);

/// Serves a little more, or all that there is: it begins to be served again after what has happened.
pub(super) async fn goes_on(load: &Load) -> Result<()> {
    let goal = load.acked() + 100;
    let went_on = async || Ok((load.acked() >= goal || load.stopped_hard() > 0).then_some(()));
    eventually("work goes on", WAIT_MAX, went_on).await
}

/// A number of the aggregator's.
async fn number(stack: &Stack, name: &str) -> Result<f64> {
    let text = Call::get("/metrics").send(stack.aggregator()).await?.text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.with_context(|| format!("there is no {name}"))?.parse()?)
}

fn say(stack: &Stack, words: &[&str]) -> Result<()> {
    let mut stream = TcpStream::connect(stack.redis())?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "{}\r\n", words.join(" "))?;
    let mut said = [0; 5];
    stream.read_exact(&mut said)?;
    ensure!(&said == b"+OK\r\n", "{words:?}: {}", String::from_utf8_lossy(&said));
    Ok(())
}

/// The server's log, whose newest part ends with what was written last.
fn newest_log(stack: &Stack) -> Result<PathBuf> {
    let folder = stack.scratch().join("redis/appendonlydir");
    let files = fs::read_dir(folder)?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let parts = files.filter(|path| path.to_string_lossy().ends_with(".incr.aof"));
    parts.max().context("the server has no log")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

async fn restart(stack: &mut Stack, meanwhile: impl FnOnce(&Stack) -> Result<()>) -> Result<()> {
    stack.kill(Part::Redis)?;
    meanwhile(stack)?;
    stack.begin(&[Part::Redis]).await
}

/// Serves until the hard stop, and compares what was served and billed with what is included after so many losses.
pub(super) async fn ends_exactly(stack: Stack, project: &Project, load: Load, losses: u64) -> Result<()> {
    eventually("the hard stop", WAIT_MAX, async || Ok((load.stopped_hard() > 0).then_some(()))).await?;
    // A call that was decided and never answered is spent until its isolate gives it up, and is served then.
    let back = async || Ok((load.acked() + losses * ESCROW >= INCLUDED).then_some(()));
    eventually("what was never answered is served", BACK_MAX, back).await.ok();
    let journal = load.stop().await?;
    let (served, unanswered) = (total(&journal.acked), total(&journal.unanswered));
    let told = format!("{served} served, {unanswered} unanswered, others {:?}", journal.others);
    assert!(served <= INCLUDED, "{told}");
    assert!(served + unanswered + losses * ESCROW >= INCLUDED, "no loss burns more than {ESCROW}: {told}");
    assert!(journal.others.keys().all(|status| [402, 429, 503].contains(status)), "{told}");
    // What is to be reported is, once nobody holds anything and everything is acknowledged.
    let usage = eventually("the last report", WAIT_MAX, async || {
        let quota: Value = project.quota().await?.ok()?;
        let usage = project.usage(&stack).await?;
        ensure!(
            quota["used"] == usage.total && quota["remaining"] == 0,
            "{} billed, {quota}: {told}",
            usage.total
        );
        Ok(Some(usage))
    })
    .await?;
    assert!(usage.total <= served + unanswered, "{} billed: {told}", usage.total);
    assert!(usage.total + losses * ESCROW >= served, "{} billed: {told}", usage.total);
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_costs_no_more_than_the_escrow() -> Result<()> {
    is_killed(None).await
}

/// Kills that program under load and starts it again; serves until the hard stop.
pub(super) async fn is_killed(program: Option<PathBuf>) -> Result<()> {
    let (mut stack, project) = start_on(program).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    goes_on(&load).await?;
    stack.kill(Part::Redis)?;
    eventually("the aggregator says for how long it does not know who is due", BACK_MAX, async || {
        Ok((number(&stack, "meter_redis_behind_seconds").await? >= 1.0).then_some(()))
    })
    .await?;
    stack.begin(&[Part::Redis]).await?;
    goes_on(&load).await?;
    ensure!(number(&stack, r#"meter_redis_lives_total{cause="made"}"#).await? >= 1.0, "it was made");
    let lost = number(&stack, r#"meter_redis_lives_total{cause="another_server"}"#).await?;
    ensure!(lost >= 1.0, "{lost} lives");
    ensure!(number(&stack, "meter_redis_write_seconds_count").await? > 3.0, "it has written");
    // Whether others have come first is their luck; that it is told is not.
    number(&stack, "meter_redis_write_conflicts_total").await?;
    ensure!(number(&stack, "meter_redis_behind_seconds").await? < 10.0, "it goes on");
    ends_exactly(stack, &project, load, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_or_forgets_its_scripts_costs_nothing() -> Result<()> {
    let (stack, project) = start().await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    goes_on(&load).await?;
    stack.stand_still(Part::Redis, STILL).await?;
    goes_on(&load).await?;
    say(&stack, &["SCRIPT", "FLUSH"])?;
    goes_on(&load).await?;
    ends_exactly(stack, &project, load, 0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_copy_does_not_know_is_never_issued_again() -> Result<()> {
    let (mut stack, project) = start().await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    let (data, older) = (stack.scratch().join("redis"), stack.scratch().join("older"));
    goes_on(&load).await?;
    copy(&data, &older)?;
    goes_on(&load).await?;
    restart(&mut stack, |_| {
        fs::remove_dir_all(&data)?;
        copy(&older, &data)
    })
    .await?;
    goes_on(&load).await?;
    ends_exactly(stack, &project, load, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_log_that_was_cut_off_has_lost_is_never_issued_again() -> Result<()> {
    let (mut stack, project) = start().await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    goes_on(&load).await?;
    restart(&mut stack, |stack| {
        let log = newest_log(stack)?;
        let length = fs::metadata(&log)?.len();
        Ok(fs::OpenOptions::new().write(true).open(log)?.set_len(length - length.div_euclid(3))?)
    })
    .await?;
    goes_on(&load).await?;
    ends_exactly(stack, &project, load, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_emptied_costs_no_more_than_the_escrow() -> Result<()> {
    let (stack, project) = start().await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    goes_on(&load).await?;
    say(&stack, &["FLUSHALL"])?;
    goes_on(&load).await?;
    ends_exactly(stack, &project, load, 1).await
}
