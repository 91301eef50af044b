//! `cargo xtask soak`: named long runs, too long for every test run. Each is a test that a variable makes longer.
//!
//! A new one is a line in [`RUNS`].

use anyhow::{Result, bail};
use clap::Args;

use crate::process::run_visible;
use crate::{edge, native, python, tools};

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

const RUNS: &[Run] = &[Run {
    name: "interface",
    shows: "thousands of generated calls to every endpoint, as operator and as owner: no server error, nothing that \
            /openapi.json does not say",
    test: "http::interface::",
    variables: &[("METER_TEST_EXAMPLES", "2000")],
}];

/// Runs them one after the other.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(unknown) = options.runs.iter().find(|name| RUNS.iter().all(|run| run.name != **name)) {
        let known: Vec<&str> = RUNS.iter().map(|run| run.name).collect();
        bail!("got {unknown:?}, accepted are {}", known.join(", "));
    }
    let workerd = tools::workerd()?;
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
    Ok(())
}
