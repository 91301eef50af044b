//! The `meter-envoy` command.

use std::process::ExitCode;

use clap::Parser;
use meter_envoy::cli::{Cli, run};

fn main() -> ExitCode {
    run(&Cli::parse())
}
