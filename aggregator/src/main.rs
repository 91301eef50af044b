//! The `meter` command: the aggregator's server and its operator's commands.

use std::process::ExitCode;

use aggregator::cli::Cli;
use clap::Parser;

fn main() -> ExitCode {
    aggregator::cli::run(Cli::parse())
}
