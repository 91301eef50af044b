//! `cargo xtask ci`: the whole truth about a commit, step by step, stopping at the first that fails.
//!
//! It must never change a tracked file, and never pass with a warning.
#![expect(clippy::print_stdout, reason = "the steps and their times are this command's result")]

use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::clock::{Stopwatch, human};
use crate::process::{ask, run_visible};
use crate::{config, edge, native, rust_tools, scripts, sim, test, tidy, toolchain};

/// A step's name, what it does, and the function that does it.
type Step = (&'static str, &'static str, fn() -> Result<()>);

/// In order of what they cost: what fails fast comes first.
const STEPS: [Step; 6] = [
    ("tidy", "the repository's own rules", tidy::run),
    ("format", "cargo fmt --all --check, in every workspace", format),
    ("lint", "cargo clippy over all targets, cargo doc and cargo machete, warnings are errors", lint),
    (
        "wasm",
        "the worker's bundle and its scripts' types; stands for `cargo check`, because the tests need the bundle anyway",
        wasm,
    ),
    (
        "sim",
        "the lease core: 1,000 fixed and 1,000 fresh seeds under every fault, and every planted bug caught",
        sim::check,
    ),
    ("test", "cargo test, with the bundle on real workerd", all_tests),
];

/// What of the library nothing else here is built with.
const GUARD: &str = "meter-edge/worker";

/// Runs all steps.
pub(crate) fn run() -> Result<()> {
    let mut results = Vec::new();
    // What comes over the network comes while processors have something to do. What fails there fails again when it is needed.
    let mut installing = Some(thread::spawn(test::install));
    for (name, what, step) in STEPS {
        if name == "test"
            && let Some(installing) = installing.take()
        {
            installing.join().ok();
        }
        println!("\n── {name}: {what}");
        let watch = Stopwatch::start();
        let result = step();
        results.push((name, watch.elapsed(), result.is_ok()));
        if result.is_err() {
            print_summary(&results);
            return result;
        }
    }
    print_summary(&results);
    Ok(())
}

fn print_summary(results: &[(&str, Duration, bool)]) {
    println!("\n{:<8} {:<7} {:>12}", "step", "result", "time");
    for (name, time, passed) in results {
        println!("{name:<8} {:<7} {:>12}", if *passed { "ok" } else { "FAILED" }, human(*time));
    }
    for (name, ..) in STEPS.iter().skip(results.len()) {
        println!("{name:<8} {:<7} {:>12}", "not run", "");
    }
    let total = results.iter().map(|(_, time, _)| *time).sum();
    println!("{:<8} {:<7} {:>12}", "all", "", human(total));
}

fn format() -> Result<()> {
    require_component("rustfmt", "fmt")?;
    for manifest in tidy::workspaces()? {
        let mut fmt = native::cargo("fmt");
        run_visible("cargo fmt", fmt.args(["--all", "--check", "--manifest-path", &manifest]))?;
    }
    Ok(())
}

fn lint() -> Result<()> {
    require_component("clippy", "clippy")?;
    let mut clippy = native::cargo("clippy");
    clippy.args(["--workspace", "--all-targets", "--features", GUARD, "--locked", "--", "-D", "warnings"]);
    run_visible("cargo clippy", &mut clippy)?;
    let mut doc = native::cargo("doc");
    doc.args(["--workspace", "--no-deps", "--features", GUARD, "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings");
    run_visible("cargo doc", &mut doc)?;
    // Only cargo's own account of a package says that its library has another name.
    let mut unused = Command::new(rust_tools::machete()?);
    unused.args(["--with-metadata", "--skip-target-dir"]).arg(config::root()).current_dir(config::root());
    run_visible("cargo machete", &mut unused)
}

fn wasm() -> Result<()> {
    edge::build()?;
    scripts::check()
}

fn all_tests() -> Result<()> {
    test::run(&test::Options::default())
}

/// A minimal toolchain has neither rustfmt nor clippy.
fn require_component(component: &str, verb: &str) -> Result<()> {
    let present = || ask(Command::new(config::cargo()).args([verb, "--version"])).is_some();
    if present() {
        return Ok(());
    }
    toolchain::add_components(&[component]);
    if present() {
        return Ok(());
    }
    bail!("`cargo {verb}` is missing and rustup did not add it: run `rustup component add {component}`")
}
