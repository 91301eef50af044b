//! The `meter-reporter` command.

use std::process::ExitCode;

use clap::Parser;
use meter_reporter::cli::{Cli, run};

fn main() -> ExitCode {
    run(Cli::parse())
}
