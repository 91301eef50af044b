//! The command: many seeds in parallel, or one seed with its trace.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

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
    /// Whether the seeds are about answers of the home that come too late.
    pub late_answers: bool,
    /// How many threads; zero is one per processor.
    pub jobs: usize,
    /// What is planted.
    pub planted: Planted,
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
        let mut options = Self {
            seed: 1,
            seeds: 1,
            trace: false,
            late_answers: false,
            planted: Planted::default(),
            jobs: 0,
            scenario: None,
            page: None,
            commit: None,
        };
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
                "--bug" => {
                    let name = value()?;
                    let unknown =
                        || format!("--bug: got {name:?}, accepted is a planted bug that is compiled in");
                    options.planted = Planted::named(&name).ok_or_else(unknown)?;
                }
                "--late-answers" => options.late_answers = true,
                "--scenario" => options.scenario = Some(value()?),
                "--page" => options.page = Some(value()?),
                "--commit" => options.commit = Some(value()?),
                other => {
                    return Err(format!(
                        "got {other:?}, accepted are --seed, --seeds, --jobs, --trace, --bug, --late-answers, --scenario, --page, --commit"
                    ));
                }
            }
        }
        Ok(options)
    }
}

impl Options {
    /// What each seed is about.
    fn of(&self) -> fn(u64) -> Config {
        if self.late_answers { Config::late_answers } else { Config::swarm }
    }
}

/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// What many seeds came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many seeds were run.
    pub done: u64,
    /// Failing seeds and what they broke, in order.
    pub failures: Vec<(u64, String)>,
    /// Requests asked.
    pub asked: u64,
    /// Units served.
    pub served: u64,
    /// Refusals.
    pub refused: u64,
    /// Wrong ones, by their reason.
    pub wrong: BTreeMap<&'static str, u64>,
    /// Levels that were told though units were left, or not told though they were reached.
    pub levels_wrong: u64,
}

impl Summary {
    /// How many refusals were wrong, by their reason where there were any.
    #[must_use]
    pub fn wrong_denials(&self) -> String {
        let all: u64 = self.wrong.values().sum();
        let reasons: Vec<String> =
            self.wrong.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let by = if all == 0 { String::new() } else { format!(" ({})", reasons.join(", ")) };
        format!("{all} of {} denials wrong{by}, {} levels wrong", self.refused, self.levels_wrong)
    }
}

/// Which seeds to run.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// On how many threads; zero is one per processor.
    pub jobs: usize,
    /// What is planted.
    pub planted: Planted,
    /// After how many failures it ends.
    pub failures_max: usize,
    /// Whether progress and failures are told on the standard error stream as they come.
    pub told: bool,
    /// What a seed is about.
    pub of: fn(u64) -> Config,
}

impl Search {
    /// Runs them.
    #[must_use]
    pub fn run(self) -> Summary {
        let next = AtomicU64::new(self.first);
        let summary = Mutex::new(Summary::default());
        let ended = (Mutex::new(false), Condvar::new());
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = if self.jobs == 0 { processors() } else { self.jobs };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(|| self.work(&next, &summary))).collect();
            if self.told {
                scope.spawn(|| self.tell(&summary, &ended));
            }
            let results: Vec<_> = workers.into_iter().map(ScopedJoinHandle::join).collect();
            *ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            ended.1.notify_all();
            if let Some(panic) = results.into_iter().find_map(Result::err) {
                resume_unwind(panic);
            }
        });
        let mut summary = summary.into_inner().unwrap_or_default();
        summary.failures.sort();
        summary
    }

    /// Takes seeds until there are none left.
    fn work(self, next: &AtomicU64, summary: &Mutex<Summary>) {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.first.saturating_add(self.seeds) {
                break;
            }
            let outcome = World::new((self.of)(seed), self.planted, false).run();
            let Ok(mut summary) = summary.lock() else { break };
            summary.done += 1;
            summary.asked += outcome.meters.asked;
            summary.served += outcome.served;
            summary.refused += outcome.refusals.judged;
            summary.levels_wrong += outcome.refusals.levels_wrong;
            for (reason, count) in &outcome.refusals.wrong {
                *summary.wrong.entry(reason).or_insert(0) += count;
            }
            if let Err(why) = outcome.verdict {
                if self.told {
                    eprintln!("violation: seed {seed}: {why}");
                }
                summary.failures.push((seed, why));
            }
            if summary.failures.len() >= self.failures_max {
                break;
            }
        }
    }

    /// Says how far it is, until it has ended.
    fn tell(self, summary: &Mutex<Summary>, (ended, changed): &(Mutex<bool>, Condvar)) {
        let mut before = 0;
        loop {
            let Ok(waiting) = ended.lock() else { break };
            let Ok((ended, waited)) = changed.wait_timeout_while(waiting, PROGRESS, |ended| !*ended) else {
                break;
            };
            drop(ended);
            if !waited.timed_out() {
                break;
            }
            let Ok(summary) = summary.lock() else { break };
            let rate = (summary.done - before) / PROGRESS.as_secs();
            before = summary.done;
            eprintln!(
                "{} of {} seeds, {rate}/s, {} requests, {} violations",
                summary.done,
                self.seeds,
                summary.asked,
                summary.failures.len()
            );
        }
    }
}

/// Runs `seeds` seeds from `first` on, on `jobs` threads, up to `failures_max` failures.
#[must_use]
pub fn many(first: u64, seeds: u64, jobs: usize, planted: Planted, failures_max: usize) -> Summary {
    Search { first, seeds, jobs, planted, failures_max, told: false, of: Config::swarm }.run()
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
    if options.trace { trace(options.of()(options.seed), options.planted) } else { search(&options) }
}

/// One seed, line by line.
#[expect(clippy::print_stdout, reason = "the command's output is for the terminal")]
fn trace(config: Config, planted: Planted) -> ExitCode {
    let outcome = World::new(config, planted, true).run();
    for line in &outcome.trace {
        println!("{line}");
    }
    println!("{:?}", outcome.verdict);
    if outcome.verdict.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Many seeds; the first that fails is shrunk and shown.
#[expect(clippy::print_stdout, reason = "the command's output is for the terminal")]
fn search(options: &Options) -> ExitCode {
    let planted = options.planted;
    // What is planted is to be found once.
    let failures_max = if planted == Planted::default() { usize::MAX } else { 1 };
    let of = options.of();
    let commit = options.commit.as_deref().unwrap_or("the working tree");
    let Options { seed: first, seeds, jobs, .. } = *options;
    let summary = Search { first, seeds, jobs, planted, failures_max, told: true, of }.run();
    println!(
        "seeds {}..={} at {commit}: {} requests, {} units served, {} violations, {}",
        options.seed,
        options.seed.saturating_add(options.seeds).saturating_sub(1),
        summary.asked,
        summary.served,
        summary.failures.len(),
        summary.wrong_denials()
    );
    for (seed, why) in summary.failures.iter().take(20) {
        println!("  seed {seed}: {why}");
    }
    let Some((seed, _)) = summary.failures.first() else { return ExitCode::SUCCESS };
    let shrunk = shrink(&of(*seed), planted);
    println!("\nseed {seed}, shrunk in {} runs to:\n{:#?}", shrunk.tries, shrunk.config);
    let lines = &shrunk.outcome.trace;
    for line in lines.iter().skip(lines.len().saturating_sub(TRACE_LINES)) {
        println!("{line}");
    }
    println!("{:?}\nagain, at {commit}: cargo xtask sim --seed {seed} --trace", shrunk.outcome.verdict);
    ExitCode::FAILURE
}
