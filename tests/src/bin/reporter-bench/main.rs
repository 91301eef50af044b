//! The reporter under full load: counts one by one and in lists beside a plain loop with the same durability, what a
//! local check costs beside the edge's and beside an answer that does nothing, memory with 1,000 agents, and what `kill
//! -9` loses.
//!
//! The reporter and the edge have the last processor for themselves, one at a time; clients have the others.
//! It must never run beside other work: its figures are ratios, but a busy machine blurs them all.

#![expect(
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::as_conversions,
    reason = "it prints rates and ratios, which are read and not computed with"
)]

mod edge;
mod generator;
mod plain;
mod processor;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use shared::kind::Kind;
use tests::books::{Books, policy};
use tests::on_premise::{OnPremise, key};

use edge::Edge;
use generator::{Load, run};

/// Rounds, each of everything in turn: what else the machine does meets all.
const ROUNDS: usize = 3;
/// Seconds of each load.
const SECONDS: u64 = 3;
/// Connections that are kept busy.
const CONNECTIONS: usize = 64;
/// As many agents as a report names on a day.
const AGENTS: usize = 1_000;

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [page] => bench(SECONDS, Some(Path::new(page))).await,
        [page, seconds] => bench(seconds.parse()?, Some(Path::new(page))).await,
        [] => bench(1, None).await,
        other => bail!("got {other:?}, accepted are nothing, or `<page> [seconds]`"),
    }
}

/// What is asked, and how many counts an answer stands for.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    path: &'static str,
    counts: usize,
    connections: usize,
}

/// What is asked of the reporter and of the edge alike.
const CHECK: &str = "/v1/check";

const CASES: [Case; 5] = [
    Case { name: "`POST /count`, one each", path: "/count", counts: 1, connections: CONNECTIONS },
    Case { name: "`POST /count`, lists of 100", path: "/count", counts: 100, connections: 16 },
    Case { name: "`POST /count`, lists of 1,000", path: "/count", counts: 1_000, connections: 4 },
    Case { name: "`POST /v1/check`", path: CHECK, counts: 1, connections: CONNECTIONS },
    Case {
        name: "`GET /healthz`, which does nothing",
        path: "/healthz",
        counts: 0,
        connections: CONNECTIONS,
    },
];

impl Case {
    fn load(self) -> Load {
        let count = |n: usize| format!(r#"{{"kind":"verify","agent":"bot-{}"}}"#, n % AGENTS);
        let bodies: Vec<String> = match (self.counts, self.path) {
            (0, _) => vec![],
            (1, _) => (0..AGENTS).map(count).collect(),
            (of, _) => {
                let list = |from: usize| (from..from + of).map(count).collect::<Vec<_>>().join(",");
                (0..AGENTS).step_by(97).map(|from| format!("[{}]", list(from))).collect()
            }
        };
        Load::new(self.path, &bodies, self.connections, None)
    }
}

/// What a case came to in each round: answers a second, and processor time of the reporter for each, in microseconds.
type Rounds = Vec<(f64, f64)>;

async fn bench(seconds: u64, page: Option<&Path>) -> Result<()> {
    let books = Books::start(&key("k1", "ab")).await?;
    // Limits that no load reaches: what is denied is not written, and costs less.
    books.policy(policy(2, 1_000_000_000, 1_000_000)?);
    let mut reporter = OnPremise::new(&format!("http://{}", books.address()))?;
    reporter.start().await?;
    reporter.is_heard().await?;
    let edge = Edge::start().await?;
    let process = reporter.pid().context("it does not run")?;
    let pinned = processor::leave_one(&[process, edge.process()?])?;
    let window = Duration::from_secs(seconds);
    let (mut of, mut plain, mut at_edge) = (vec![Rounds::new(); CASES.len()], Vec::new(), Rounds::new());
    for round in 0..ROUNDS {
        plain.push(plain::sqlite(&reporter.folder().join(format!("plain{round}.db")), window).await?);
        for (case, rounds) in CASES.iter().zip(&mut of) {
            rounds.push(measured(&case.load(), reporter.address(), process, window).await?);
        }
        at_edge.push(measured(&edge.load(CONNECTIONS), edge.address(), edge.process()?, window).await?);
    }
    edge.finish()?;
    let resident = resident_kib(process)?;
    let (acked, stored, asked) = kill_in_the_middle(&mut reporter, &books, window).await?;
    let text = report(&Came {
        of,
        plain: median(&plain),
        at_edge,
        pinned,
        resident_kib: resident,
        killed: (acked, stored, asked),
        seconds,
    });
    println!("{text}");
    ensure!(acked <= stored && stored <= asked, "acknowledged {acked}, stored {stored}, asked {asked}");
    page.map_or(Ok(()), |page| kit::section::write(page, "reporter-bench", &text))
}

/// Answers a second under that load, and processor time of that process for each.
async fn measured(load: &Load, to: SocketAddr, process: u32, window: Duration) -> Result<(f64, f64)> {
    let before = used_us(process)?;
    let answers = run(load, to, window).await?;
    let each = (used_us(process)? - before) as f64 / answers.max(1) as f64;
    Ok((answers as f64 / window.as_secs_f64(), each))
}

/// Kills it while everybody counts: of that kind, which nothing else is, how much was acknowledged, is there afterwards,
/// and was asked for.
async fn kill_in_the_middle(
    reporter: &mut OnPremise,
    books: &Books,
    window: Duration,
) -> Result<(u64, u64, u64)> {
    let load =
        Load::new("/count", &[r#"{"kind":"extension_event","agent":"bot-0"}"#.to_owned()], CONNECTIONS, None);
    let address = reporter.address();
    let running = tokio::spawn(async move { load.count_until_it_breaks(address).await });
    tokio::time::sleep(window).await;
    reporter.kill()?;
    let (acked, asked) = running.await??;
    reporter.start().await?;
    reporter.send().await?;
    let of_it = |taken: &tests::books::Taken| {
        let cells = taken.cells.iter().filter(|((_, key), _)| key.kind == Kind::ExtensionEvent);
        cells.map(|(_, counts)| counts.units.get()).sum()
    };
    Ok((acked, books.taken(of_it), asked))
}

/// Processor time that a process has used, in microseconds.
fn used_us(process: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = text.rsplit_once(')').context("no name")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || anyhow::Ok(fields.next().context("too few fields")?.parse::<u64>()?);
    // Linux counts in hundredths of a second.
    Ok((next()? + next()?) * 10_000)
}

/// The memory that a process has.
fn resident_kib(process: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn median(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().div_euclid(2)).copied().unwrap_or_default()
}

/// What a run came to.
struct Came {
    /// Of each case, its rounds.
    of: Vec<Rounds>,
    /// Counts a second of a plain loop.
    plain: f64,
    /// Of the edge's check, its rounds.
    at_edge: Rounds,
    /// Whether what was measured had a processor for itself.
    pinned: bool,
    /// Memory at the end.
    resident_kib: u64,
    /// Counts that were acknowledged, were there after the kill, and had been asked for.
    killed: (u64, u64, u64),
    /// For how long each load ran.
    seconds: u64,
}

/// The medians of what was answered a second, and of what each cost.
fn medians(rounds: &Rounds) -> (f64, f64) {
    let of = |pick: fn(&(f64, f64)) -> f64| median(&rounds.iter().map(pick).collect::<Vec<_>>());
    (of(|one| one.0), of(|one| one.1))
}

fn report(Came { of, plain, at_edge, pinned, resident_kib, killed, seconds }: &Came) -> String {
    let (acked, stored, asked) = killed;
    let mut text = format!(
        "- {}, {}; load at the end {}\n- medians of {ROUNDS} rounds, in each of which everything ran for {seconds} s; {}\n\n\
         | what | requests/s | counts/s | beside the plain loop | µs of a core each |\n| --- | ---: | ---: | ---: | ---: |\n\
         | a plain loop: one count, one commit | | {plain:.0} | 1 | |\n",
        tests::clock::now().day(),
        kit::machine::processors(),
        kit::machine::load(),
        if *pinned {
            "what is measured has the last processor for itself, the clients the others"
        } else {
            "the clients share the cores"
        },
    );
    let mut checks = (0.0, 0.0);
    for (case, rounds) in CASES.iter().zip(of) {
        let (requests, each) = medians(rounds);
        if case.path == CHECK {
            checks = (requests, each);
        }
        let counts = requests * case.counts as f64;
        let (counts, ratio) = match case.counts {
            0 => (String::new(), String::new()),
            _ => (format!("{counts:.0}"), format!("{:.1} ×", counts / plain)),
        };
        text.push_str(&format!("| {} | {requests:.0} | {counts} | {ratio} | {each:.0} |\n", case.name));
    }
    let edge = medians(at_edge);
    text.push_str(&format!(
        "| the edge's `POST {CHECK}`, from a lease | {:.0} | {:.0} | {:.1} × | {:.0} |\n\n\
         A check here costs {:.2} times what the edge's costs, and {:.2} times as many are answered a second.\n",
        edge.0,
        edge.0,
        edge.0 / plain,
        edge.1,
        checks.1 / edge.1,
        checks.0 / edge.0
    ));
    text.push_str(&format!(
        "\nMemory after all that, with {AGENTS} agents: {:.1} MB (goal: below 30). Killed (`kill -9`) under {CONNECTIONS} \
         connections: {acked} counts were acknowledged, {stored} are there, {asked} had been asked for.",
        *resident_kib as f64 / 1_024.0
    ));
    text
}
