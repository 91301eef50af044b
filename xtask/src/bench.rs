//! `cargo xtask bench`: the edge beside what one would write instead, measured in one run.
//!
//! It must never run beside other work: its figures are ratios, but a busy machine blurs them all.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::process::run_visible;
use crate::{edge, limiters, native, store, tools};

/// What `cargo xtask bench` takes.
#[derive(Debug, Default, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Measure the store beside a plain loop instead, with the seconds for each loop
    #[arg(long)]
    store: bool,
    /// Measure how many of Stripe's deliveries are taken in beside a plain loop, and kill it in the middle
    #[arg(long)]
    deliveries: bool,
    /// Measure counts into meter-reporter beside a plain loop, and kill it in the middle
    #[arg(long)]
    reporter: bool,
    /// Measure how the books grow: several aggregators on one database, and reports over ten million cells
    #[arg(long)]
    scale: bool,
    /// Measure a holder's decision beside other limiters instead, natively
    #[arg(long, conflicts_with = "store")]
    native: bool,
    /// Passed on to the edge's benchmark, such as `--quick`; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

/// Builds optimised programs and the bundle, then measures.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.store {
        return store::bench(&options.arguments);
    }
    if options.deliveries {
        return store::deliveries(&options.arguments);
    }
    if options.reporter {
        return store::reporter(&options.arguments);
    }
    if options.scale {
        return store::scale(&options.arguments);
    }
    if options.native {
        return limiters::bench();
    }
    let workerd = tools::workerd()?;
    let bundle = edge::build()?;
    let programs = native::build(
        "aggregator and benchmark, optimised",
        &["--release", "--package", "aggregator", "--bin", "meter", "--package", "bench", "--bin", "bench"],
    )?;
    let mut bench = Command::new(programs.get("bench")?);
    bench.args(&options.arguments);
    bench.env("METER_TEST_BUNDLE", &bundle.folder);
    bench.env("METER_TEST_WORKERD", &workerd);
    bench.env("METER_TEST_BIN_DIR", programs.folder_of("meter")?);
    run_visible("the benchmark", &mut bench)
}
