//! The command: many seeds in parallel, or one seed with its trace.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bugs::Planted;
use crate::config::Config;
use crate::scenario;
use crate::shrink::shrink;
use crate::world::World;

/// How many lines of a failing run's trace are shown.
const TRACE_LINES: usize = 80;

/// Options of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The first seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Whether one seed's trace is printed.
    pub trace: bool,
    /// How many threads; zero is one per processor.
    pub jobs: usize,
    /// The scenario to measure, or `all`.
    pub scenario: Option<String>,
    /// Where to write the scenarios' page.
    pub page: Option<String>,
    /// The commit that is run, for the report.
    pub commit: Option<String>,
}

impl Options {
    /// Reads `--seed N --seeds K --jobs J --trace --scenario NAME --page FILE --commit ID`.
    ///
    /// # Errors
    /// Says which argument is not accepted.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options =
            Self { seed: 1, seeds: 1, trace: false, jobs: 0, scenario: None, page: None, commit: None };
        let mut rest = arguments.iter();
        while let Some(name) = rest.next() {
            let mut value = || rest.next().cloned().ok_or_else(|| format!("{name}: its value is missing"));
            let number = |text: String| {
                text.parse::<u64>().map_err(|_| format!("{name}: got {text:?}, accepted is a number"))
            };
            match name.as_str() {
                "--seed" => options.seed = number(value()?)?,
                "--seeds" => options.seeds = number(value()?)?,
                "--jobs" => options.jobs = usize::try_from(number(value()?)?).unwrap_or(0),
                "--trace" => options.trace = true,
                "--scenario" => options.scenario = Some(value()?),
                "--page" => options.page = Some(value()?),
                "--commit" => options.commit = Some(value()?),
                other => {
                    return Err(format!(
                        "got {other:?}, accepted are --seed, --seeds, --jobs, --trace, --scenario, --page, --commit"
                    ));
                }
            }
        }
        Ok(options)
    }
}

/// What many seeds came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Failing seeds and what they broke, in order.
    pub failures: Vec<(u64, String)>,
    /// Requests asked.
    pub asked: u64,
    /// Units served.
    pub served: u64,
}

/// Runs `seeds` seeds from `first` on, on `jobs` threads, up to `failures_max` failures.
#[must_use]
pub fn many(first: u64, seeds: u64, jobs: usize, planted: Planted, failures_max: usize) -> Summary {
    let next = AtomicU64::new(first);
    let summary = Mutex::new(Summary::default());
    let jobs = if jobs == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { jobs };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first.saturating_add(seeds) {
                        break;
                    }
                    let outcome = World::new(Config::swarm(seed), planted, false).run();
                    let Ok(mut summary) = summary.lock() else { break };
                    summary.asked += outcome.meters.asked;
                    summary.served += outcome.served;
                    if let Err(why) = outcome.verdict {
                        summary.failures.push((seed, why));
                    }
                    if summary.failures.len() >= failures_max {
                        break;
                    }
                }
            });
        }
    });
    let mut summary = summary.into_inner().unwrap_or_default();
    summary.failures.sort();
    summary
}

/// The command.
#[must_use]
#[expect(clippy::print_stdout, reason = "the command's output is for the terminal")]
pub fn main(arguments: &[String]) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(why) => {
            println!("{why}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(name) = &options.scenario {
        return match scenario::run(name, options.seed, options.page.as_deref()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(why) => {
                println!("{why}");
                ExitCode::FAILURE
            }
        };
    }
    if options.trace { trace(options.seed) } else { search(&options) }
}

/// One seed, line by line.
#[expect(clippy::print_stdout, reason = "the command's output is for the terminal")]
fn trace(seed: u64) -> ExitCode {
    let outcome = World::new(Config::swarm(seed), Planted::default(), true).run();
    for line in &outcome.trace {
        println!("{line}");
    }
    println!("{:?}", outcome.verdict);
    if outcome.verdict.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Many seeds; the first that fails is shrunk and shown.
#[expect(clippy::print_stdout, reason = "the command's output is for the terminal")]
fn search(options: &Options) -> ExitCode {
    let planted = Planted::default();
    let commit = options.commit.as_deref().unwrap_or("the working tree");
    let summary = many(options.seed, options.seeds, options.jobs, planted, usize::MAX);
    println!(
        "seeds {}..={}: {} requests, {} units served, {} violations",
        options.seed,
        options.seed.saturating_add(options.seeds).saturating_sub(1),
        summary.asked,
        summary.served,
        summary.failures.len()
    );
    for (seed, why) in summary.failures.iter().take(20) {
        println!("  seed {seed}: {why}");
    }
    let Some((seed, _)) = summary.failures.first() else { return ExitCode::SUCCESS };
    let shrunk = shrink(&Config::swarm(*seed), planted);
    println!("\nseed {seed}, shrunk in {} runs to:\n{:#?}", shrunk.tries, shrunk.config);
    let lines = &shrunk.outcome.trace;
    for line in lines.iter().skip(lines.len().saturating_sub(TRACE_LINES)) {
        println!("{line}");
    }
    println!("{:?}\nagain, at {commit}: sim --seed {seed} --trace", shrunk.outcome.verdict);
    ExitCode::FAILURE
}
