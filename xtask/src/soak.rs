//! `cargo xtask soak`: named long runs, too long for every test run. Each is a test that a variable makes longer.
//!
//! A new one is a line in [`RUNS`].

use anyhow::{Result, bail};
use clap::Args;

use crate::process::run_visible;
use crate::{edge, native, postgres, python, store, tools};

/// What `cargo xtask soak` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only these runs; without any, all of them
    runs: Vec<String>,
}

/// One long run.
struct Run {
    name: &'static str,
    /// What it shows, for those who wait for it.
    shows: &'static str,
    /// The test, as `cargo test` is told to find it.
    test: &'static str,
    /// What makes it long.
    variables: &'static [(&'static str, &'static str)],
}

/// The one run that measures a program instead of being a test, and its seconds.
const MEMORY: (&str, &str) = ("memory", "600");

const RUNS: &[Run] = &[
    Run {
        name: "kills",
        shows: "kill -9 of aggregators and of Postgres at random while flushes come in: nothing acknowledged is lost",
        test: "store::crashes::",
        variables: &[("METER_TEST_SOAK_SECONDS", "60")],
    },
    Run {
        name: "interface",
        shows: "thousands of generated calls to every endpoint, as operator and as owner: no server error, nothing that \
            /openapi.json does not say",
        test: "http::interface::",
        variables: &[("METER_TEST_EXAMPLES", "2000")],
    },
];

/// Runs them one after the other.
pub(crate) fn run(options: &Options) -> Result<()> {
    let known: Vec<&str> = RUNS.iter().map(|run| run.name).chain([MEMORY.0]).collect();
    if let Some(unknown) = options.runs.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("got {unknown:?}, accepted are {}", known.join(", "));
    }
    if options.runs.iter().all(|name| name == MEMORY.0) && !options.runs.is_empty() {
        return store::memory(MEMORY.1);
    }
    let workerd = tools::workerd()?;
    postgres::ensure_installed()?;
    let schemathesis = python::schemathesis()?;
    let bundle = edge::build()?;
    let programs = native::build(
        "programs and tests",
        &["--package", "tests", "--package", "aggregator", "--bins", "--tests"],
    )?;
    let wanted = |run: &&Run| options.runs.is_empty() || options.runs.iter().any(|name| name == run.name);
    for Run { name, shows, test, variables } in RUNS.iter().filter(wanted) {
        eprintln!("{name}: {shows}");
        let mut command = native::cargo("test");
        command.args(["--package", "tests", "--test", "it", test, "--", "--nocapture"]);
        command.env("METER_TEST_BUNDLE", &bundle.folder);
        command.env("METER_TEST_WORKERD", &workerd);
        command.env("METER_TEST_SCHEMATHESIS", &schemathesis);
        command.env("METER_TEST_BIN_DIR", programs.folder_of("meter")?);
        command.envs(variables.iter().copied());
        run_visible(name, &mut command)?;
    }
    if options.runs.is_empty() || options.runs.iter().any(|name| name == MEMORY.0) {
        store::memory(MEMORY.1)?;
    }
    Ok(())
}
