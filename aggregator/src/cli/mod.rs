//! The `meter` command line. Operator's commands work on the database directly; a running server sees
//! what they changed through the store within half a second.
//!
//! No command may print a secret, except the one that has just made it.

mod key;
mod print;
mod project;
mod serve;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::clock::Clock;
use crate::config::Config;
use crate::policy::Basis;
use crate::store::{Store, WhenMissing};

/// Palveron Meter: usage books, limits and policies.
///
/// Configured by environment: DATABASE_URL, METER_LISTEN, EDGE_URL, METER_KEY_SECRETS,
/// METER_SIGNING_KEYS, METER_UPGRADE_URL, METER_LOG, METER_LOG_FORMAT.
#[derive(Debug, Parser)]
#[command(name = "meter", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the aggregator until SIGTERM or Ctrl-C
    Serve,
    /// Make, change and show projects
    #[command(subcommand)]
    Project(project::Command),
    /// Make, list and revoke the keys of a project
    #[command(subcommand)]
    Key(key::Command),
    /// Make, list and revoke the tokens of people and programs that administer projects
    #[command(subcommand)]
    Token(token::Command),
}

impl Command {
    /// Only what begins a meter may make its database: elsewhere a missing one is a mistyped path.
    fn when_missing(&self) -> WhenMissing {
        match self {
            Self::Serve
            | Self::Project(project::Command::Create(_))
            | Self::Token(token::Command::Create(_)) => WhenMissing::Create,
            Self::Project(_) | Self::Key(_) | Self::Token(_) => WhenMissing::Refuse,
        }
    }
}

/// What an operator's command works with.
struct Context {
    config: Config,
    store: Store,
    clock: Clock,
    basis: Basis,
}

/// Runs a command to its end.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<()> {
    let config = Config::from_environment()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let missing = cli.command.when_missing();
        match cli.command {
            Command::Serve => serve::run(config).await,
            Command::Project(command) => project::run(command, context(config, missing).await?).await,
            Command::Key(command) => key::run(command, context(config, missing).await?).await,
            Command::Token(command) => token::run(command, context(config, missing).await?).await,
        }
    })
}

async fn context(config: Config, missing: WhenMissing) -> anyhow::Result<Context> {
    let store = Store::open(&config.database, missing).await?;
    let basis = Basis::new(config.upgrade_url.clone()).map_err(anyhow::Error::msg)?;
    Ok(Context { config, store, clock: Clock::system(), basis })
}
