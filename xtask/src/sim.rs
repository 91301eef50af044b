//! `cargo xtask sim`: the lease core under every fault, from seeds that replay exactly.
//!
//! It must never hide a seed: what fails is printed with the command that shows it again.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::process::{ask, run_visible};
use crate::{clock, native};

/// How many seeds every change must pass that nobody has run before, so that the search goes on: as many as every
/// planted bug is caught within.
const FRESH_SEEDS: u64 = 1_000;
/// How many are the same for everybody, so that a change is also judged by what it changes.
const FIXED_SEEDS: u64 = 1_000;

/// Compiles the planted bugs.
const PLANTED: [&str; 2] = ["--features", "planted"];

/// What `cargo xtask sim` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The first seed; a run of the same seed and commit is the same to the last event
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds to run, one after the other
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How many run at once; as many as there are processors at first
    #[arg(long)]
    jobs: Option<u64>,
    /// Print every event of the seed
    #[arg(long)]
    trace: bool,
    /// Print figures instead of checking: contacts, waits and losses of one scenario, or of `all`
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Write the scenario's figures as one HTML page with plots
    #[arg(long, value_name = "FILE", requires = "scenario")]
    page: Option<String>,
}

/// Runs the simulator, optimised.
pub(crate) fn run(options: &Options) -> Result<()> {
    run_seeds(options, &[])
}

fn run_seeds(options: &Options, features: &[&str]) -> Result<()> {
    let mut sim = simulator(features)?;
    if let Some(scenario) = &options.scenario {
        sim.args(["--scenario", scenario]);
        sim.args(options.page.iter().flat_map(|page| ["--page", page]));
        return run_visible("the simulator", &mut sim);
    }
    sim.args(["--seed", &options.seed.to_string(), "--seeds", &options.seeds.to_string()]);
    if let Some(jobs) = options.jobs {
        sim.args(["--jobs", &jobs.to_string()]);
    }
    if options.trace {
        sim.arg("--trace");
    }
    run_visible("the simulator", &mut sim)
}

/// What every change must pass: fresh seeds, some fixed ones, and every planted bug caught. All of it from one
/// build, in which bugs can be switched on and none is.
pub(crate) fn check() -> Result<()> {
    let fresh = clock::fresh_number();
    eprintln!("fresh seeds; the same again: cargo xtask sim --seed {fresh} --seeds {FRESH_SEEDS}");
    let seeds = |seed, seeds| {
        run_seeds(&Options { seed, seeds, jobs: None, trace: false, scenario: None, page: None }, &PLANTED)
    };
    seeds(fresh, FRESH_SEEDS)?;
    seeds(1, FIXED_SEEDS)?;
    let mut tests = native::cargo("test");
    run_visible("planted bugs", tests.args(["--release", "--package", "sim"]).args(PLANTED))
}

fn simulator(features: &[&str]) -> Result<Command> {
    let programs =
        native::build("simulator, optimised", &[&["--release", "--package", "sim"][..], features].concat())?;
    let mut sim = Command::new(programs.get("sim")?);
    if let Some(commit) = ask(Command::new("git").args(["rev-parse", "--short", "HEAD"])) {
        sim.args(["--commit", commit.trim()]);
    }
    Ok(sim)
}
