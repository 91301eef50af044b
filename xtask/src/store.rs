//! The store under full load: beside a plain loop on the same database, and for as long as its memory needs to tell.

use std::process::Command;

use anyhow::Result;

use crate::process::run_visible;
use crate::{config, edge, native, postgres, tools};

/// `cargo xtask bench --store`, with its seconds for each loop.
pub(crate) fn bench(arguments: &[String]) -> Result<()> {
    let page = config::root().join("docs/benchmarks.md");
    let page = page.display().to_string();
    let mut words = vec!["bench", &page];
    words.extend(arguments.iter().map(String::as_str));
    measure(&words)
}

/// `cargo xtask bench --scale`, with its seconds for each load.
pub(crate) fn scale(arguments: &[String]) -> Result<()> {
    let page = config::root().join("docs/scale.md");
    let page = page.display().to_string();
    let mut words = vec!["scale", &page];
    words.extend(arguments.iter().map(String::as_str));
    measure(&words)
}

/// `cargo xtask bench --deliveries`, with its seconds for each loop.
pub(crate) fn deliveries(arguments: &[String]) -> Result<()> {
    let mut words = vec!["deliveries"];
    words.extend(arguments.iter().map(String::as_str));
    measure(&words)
}

/// `cargo xtask bench --reporter`, with its seconds for each load.
pub(crate) fn reporter(arguments: &[String]) -> Result<()> {
    let (workerd, bundle) = (tools::workerd()?, edge::build()?);
    let packages = [
        "--release",
        "--package",
        "aggregator",
        "--package",
        "meter-reporter",
        "--package",
        "tests",
        "--bins",
    ];
    let programs = native::build("reporter, aggregator and load, optimised", &packages)?;
    let mut bench = Command::new(programs.get("reporter-bench")?);
    bench.env("METER_TEST_BUNDLE", &bundle.folder).env("METER_TEST_WORKERD", workerd);
    bench.arg(config::root().join("docs/benchmarks.md")).args(arguments);
    bench.env("METER_TEST_BIN_DIR", programs.folder_of("meter-reporter")?);
    run_visible("the reporter under load", &mut bench)
}

/// The aggregator's memory at full rate, half of the seconds on each database.
pub(crate) fn memory(seconds: &str) -> Result<()> {
    measure(&["soak", seconds])
}

fn measure(words: &[&str]) -> Result<()> {
    postgres::ensure_installed()?;
    let packages = ["--release", "--package", "aggregator", "--package", "tests", "--bins"];
    let programs = native::build("aggregator and load, optimised", &packages)?;
    let mut bench = Command::new(programs.get("store-bench")?);
    bench.args(words).env("METER_TEST_BIN_DIR", programs.folder_of("meter")?);
    run_visible("the store under load", &mut bench)
}
