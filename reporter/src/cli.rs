//! The command: the reporter itself, and what shows everything that it does.

pub(crate) mod export;
mod folder;
mod look;
mod prune;
pub(crate) mod receipt;
mod renew;
mod serve;
mod test;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{self, Config};

/// Palveron Meter on premise: counts and decides locally, and reports signed aggregates.
#[derive(Debug, Parser)]
#[command(name = "meter-reporter", version, after_help = meter_settings::help(config::ROWS))]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count, decide and report, until told to stop; so it does without a command, too
    Run,
    /// Print the next payload, exactly as it would be sent, and send nothing
    Show,
    /// Print every payload that was ever sent, and check that none was changed or removed
    Sent {
        /// Only those of that day (UTC) and later, such as 2026-11-23
        #[arg(long, value_name = "DATE")]
        since: Option<String>,
    },
    /// Say how the reporter is, why, and what to do
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Try every step towards the aggregator, and send a signed report
    Test,
    /// Write what no receipt has acknowledged into a file for `meter ingest`
    Export {
        /// The file; it is replaced
        file: PathBuf,
    },
    /// Take the receipts that `meter ingest FILE --receipts OUT` has written
    Receipt {
        /// The file
        file: PathBuf,
    },
    /// Begin a new life of the data folder, after it was restored, copied, or takes over from another
    Renew {
        /// Do it; without this it only says what would be
        #[arg(long)]
        yes: bool,
    },
    /// Remove reports that arrived long ago; the chain of the rest stays whole
    Prune {
        /// Only those of before that day (UTC), which is at least 400 days ago
        #[arg(long, value_name = "DATE")]
        before: String,
        /// Do it; without this it only says what would be
        #[arg(long)]
        yes: bool,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Runs the command.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    match begin(cli) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn begin(cli: Cli) -> anyhow::Result<ExitCode> {
    let command = cli.command.unwrap_or(Command::Run);
    if let Command::Completions { shell } = command {
        clap_complete::generate(shell, &mut Cli::command(), "meter-reporter", &mut io::stdout());
        return Ok(ExitCode::SUCCESS);
    }
    let runs = matches!(command, Command::Run);
    let config = if runs { Config::from_environment()? } else { Config::of_a_command()? };
    let workers = if runs { 2 } else { 1 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    runtime.context("no thread can be started")?.block_on(async {
        match command {
            Command::Run => serve::run(config).await,
            Command::Show => look::show(&config).await,
            Command::Sent { since } => look::sent(&config, since.as_deref()).await,
            Command::Status { json } => look::status(&config, json).await,
            Command::Test => test::run(config).await,
            Command::Export { file } => export::run(&config, &file).await,
            Command::Receipt { file } => receipt::run(&config, &file).await,
            Command::Renew { yes } => renew::run(&config, yes).await,
            Command::Prune { before, yes } => prune::run(&config, &before, yes).await,
            Command::Completions { .. } => Ok(ExitCode::SUCCESS),
        }
    })
}

/// Prints a line of what was asked for.
fn print(line: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{line}").context("the output cannot be written")
}

/// Tells the person at the terminal something about it.
fn complain(line: &str) {
    // There is nobody left to tell where this fails.
    writeln!(io::stderr(), "{line}").ok();
}
