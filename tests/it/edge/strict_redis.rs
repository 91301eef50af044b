//! A project whose home is in a Redis, with many clients at once: where it is strict, every request is decided by the
//! home, durably, and answered as its units are, by one process of the edge and by several.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shared::kind::Kind;
use tests::client::{Call, Connection};
use tests::clock;
use tests::fleet::Fleet;
use tests::load::{Journal, Load, by_agent, by_kind, total};
use tests::poll::eventually;
use tests::project::{Limits, Project, governed};
use tests::stack::{Counters, Options, Part, Stack};
use tokio::task::JoinSet;

use super::redis::{INCLUDED, ends_exactly, goes_on};

const CLIENTS: usize = 150;
/// Its fiftieth, which a home may issue before the books have it, is a unit for each client: nobody waits for the books
/// twice, however slow the machine is.
const ALLOWANCE: u64 = 7_500;
/// As many requests as twice the allowance, on a busy machine.
const LOAD_MAX: Duration = Duration::from_secs(240);
const DRAIN_MAX: Duration = Duration::from_secs(60);
const TOKEN: &str = "a-token-that-is-long-enough";
/// Far more scrapes than it takes to meet every process.
const SCRAPES: usize = 200;

/// A meter on a Redis, with so many processes of the edge.
struct Parts {
    stack: Stack,
    fleet: Option<Fleet>,
    project: Project,
}

impl Parts {
    fn edge(&self) -> SocketAddr {
        self.fleet.as_ref().map_or(self.stack.edge(), Fleet::address)
    }

    fn finish(self) -> Result<()> {
        if let Some(fleet) = self.fleet {
            fleet.finish(&self.stack)?;
        }
        self.stack.finish()
    }

    /// Trips, conflicts and questions of all processes together.
    async fn trips(&self) -> Result<[u64; 3]> {
        const NAMES: [&str; 3] = ["trips", "conflicts", "questions"];
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        for _ in 0..SCRAPES {
            let text = Call::get("/metrics").bearer(TOKEN).send(self.edge()).await?.text();
            for line in text.lines().filter(|line| line.starts_with("meter_edge_redis_")) {
                let (name, count) = line.rsplit_once(' ').context("a line without a number")?;
                seen.insert(name.to_owned(), count.parse()?);
            }
        }
        let of = |name| {
            let begins = format!("meter_edge_redis_{name}_total{{");
            seen.iter().filter(|(name, _)| name.starts_with(&begins)).map(|(_, count)| count).sum()
        };
        Ok(NAMES.map(of))
    }

    /// Says what came of it, and how it went.
    async fn tell(&self, what: &str, journal: &Journal, elapsed_ms: u64) -> Result<[u64; 3]> {
        let trips = self.trips().await?;
        let [count, conflicts, questions] = trips;
        eprintln!(
            "{what}: {} answered with 200, others {:?} in {} ms; {count} trips, {conflicts} conflicts, {questions} \
             questions",
            total(&journal.acked),
            journal.others,
            elapsed_ms,
        );
        Ok(trips)
    }
}

async fn start(processes: usize, leases: bool, limits: Limits) -> Result<Parts> {
    let edge_settings = vec![("METER_METRICS_TOKEN", TOKEN.to_owned())];
    let options = Options { leases, edge_settings, counters: Counters::Redis, ..Options::default() };
    let stack = Stack::start_with(options).await?;
    let fleet = if processes > 1 { Some(Fleet::start(&stack, processes).await?) } else { None };
    let project = Project::ready(&stack, "strict", limits).await?;
    Ok(Parts { stack, fleet, project })
}

fn limits(included: u64) -> Limits {
    Limits { included: Some(included), ..Limits::COMMUNITY_FAST }
}

async fn exact(processes: usize) -> Result<()> {
    let parts = start(processes, false, limits(ALLOWANCE)).await?;
    let began = clock::now();
    let load = Load::start(parts.edge(), &parts.project.key, CLIENTS);
    eventually("twice the allowance is demanded", LOAD_MAX, async || {
        Ok((load.stopped_hard() > 0 && load.answered() >= 2 * ALLOWANCE).then_some(()))
    })
    .await
    .ok();
    let elapsed_ms = clock::now().ms_since(began);
    let journal = load.stop().await?;
    let [trips, _, questions] = parts.tell(&format!("{processes} processes"), &journal, elapsed_ms).await?;
    assert_eq!(total(&journal.acked), ALLOWANCE);
    assert_eq!(journal.unanswered, BTreeMap::default());
    // A disk that stands still for seconds is an outage, and some are told so; before questions travelled together most were.
    let stalled: u64 =
        journal.others.iter().filter(|(status, _)| **status != 402).map(|(_, count)| count).sum();
    assert!(stalled * 20 <= total(&journal.acked), "nobody else is refused: {:?}", journal.others);
    assert!(questions >= 2 * trips, "they travel together");
    let usage = parts.project.reports_within(&parts.stack, ALLOWANCE, DRAIN_MAX).await?;
    assert_eq!(usage.by_kind(), by_kind(&journal.acked));
    assert_eq!(usage.by_agent(), by_agent(&journal.acked));
    parts.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_of_one_process_are_answered_to_the_unit() -> Result<()> {
    exact(1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_of_three_processes_are_answered_to_the_unit() -> Result<()> {
    exact(3).await
}

async fn killed(processes: usize) -> Result<()> {
    let Parts { mut stack, fleet, project } = start(processes, false, limits(INCLUDED)).await?;
    let edge = fleet.as_ref().map_or(stack.edge(), Fleet::address);
    let load = Load::start(edge, &project.key, CLIENTS);
    goes_on(&load).await?;
    stack.kill(Part::Redis)?;
    stack.begin(&[Part::Redis]).await?;
    goes_on(&load).await?;
    ends_exactly(stack, &project, load, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_them_costs_no_more_than_the_escrow() -> Result<()> {
    killed(1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_it_where_three_processes_ask_it() -> Result<()> {
    killed(3).await
}

/// Asks and hangs up before there can be an answer, again and again.
async fn hangs_up(edge: SocketAddr, key: String, stop: Arc<AtomicBool>) -> Result<u64> {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let call = governed(&key, Kind::Verify, "gone");
        let mut connection = Connection::open(edge).await?;
        let answer = tokio::time::timeout(Duration::from_millis(3), connection.send(&call)).await;
        count += u64::from(answer.is_err());
        // Connections as they come and go, and no flood of them.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_takes_nobody_elses_question_along() -> Result<()> {
    const LEAVING: usize = 20;
    let parts = start(1, false, Limits::WIDE).await?;
    let began = clock::now();
    let stop = Arc::new(AtomicBool::new(false));
    let leaving: Vec<_> = (0..LEAVING)
        .map(|_| tokio::spawn(hangs_up(parts.edge(), parts.project.key.clone(), Arc::clone(&stop))))
        .collect();
    let load = Load::start(parts.edge(), &parts.project.key, 30);
    let answered = eventually("work goes on", LOAD_MAX, async || Ok((load.acked() >= 1_000).then_some(())));
    answered.await?;
    stop.store(true, Ordering::Relaxed);
    let mut left = 0;
    for one in leaving {
        left += one.await??;
    }
    let journal = load.stop().await?;
    parts.tell(&format!("{left} hung up"), &journal, clock::now().ms_since(began)).await?;
    ensure!(left > 100, "only {left} have hung up");
    assert_eq!((journal.others, journal.unanswered), Default::default());
    parts.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_edge_allowed_before_it_died_is_billed_though_nobody_comes_afterwards() -> Result<()> {
    const SERVED: u64 = 30;
    let options = Options { counters: Counters::Redis, moving_clock: true, ..Options::default() };
    let mut stack = Stack::start_with(options).await?;
    let project = Project::ready(&stack, "alone", Limits::WIDE).await?;
    let mut calls = JoinSet::new();
    for _ in 0..SERVED {
        let (call, edge) = (project.call(Kind::Verify, "agent"), stack.edge());
        calls.spawn(async move { call.send(edge).await });
    }
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer??.status, 200);
    }
    stack.kill(Part::Edge)?;
    // Nothing is asked of the home any more: only who looks after it can find that they are nobody's.
    let mut waited = 0;
    eventually("all are billed", DRAIN_MAX, async || {
        stack.meter(&["clock", "advance", "10s"])?;
        waited += 10;
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok((project.usage(&stack).await?.total == SERVED).then_some(()))
    })
    .await?;
    // A minute that ends, and twice the time after which it is given up.
    ensure!(waited <= 180, "billed after {waited} s only");
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures in real time, for which the machine must have nothing else to do"]
async fn processes_with_leases_seldom_come_before_each_other() -> Result<()> {
    const PROCESSES: usize = 4;
    let parts = start(PROCESSES, true, Limits::WIDE).await?;
    let began = clock::now();
    let load = Load::start(parts.edge(), &parts.project.key, 64);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let journal = load.stop().await?;
    let what = format!("{PROCESSES} processes with leases");
    let [trips, conflicts, questions] = parts.tell(&what, &journal, clock::now().ms_since(began)).await?;
    ensure!(journal.others.is_empty() && journal.unanswered.is_empty(), "{journal:?}");
    ensure!(trips > 0 && questions > 0, "nobody has asked the home");
    ensure!(conflicts * 2 <= questions, "{conflicts} conflicts for {questions} contacts");
    parts.finish()
}
