//! The `meter` command line. Operator's commands work on the database directly; a running server sees
//! what they changed through the store within half a second.
//!
//! No command may print a secret, except the one that has just made it.

mod backup;
mod billing;
mod clock;
mod key;
mod member;
mod plans;
mod print;
mod project;
mod quarantine;
mod serve;
mod stripe;
mod tail;
mod token;
mod top_up;
mod trail;
mod webhooks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::clock::Clock;
use crate::config::Config;
use crate::policy::Basis;
use crate::store::{Store, WhenMissing};
use crate::trail::Actor;

/// Palveron Meter: usage books, limits and policies.
///
/// Configured by environment: DATABASE_URL, METER_LISTEN, EDGE_URL, METER_KEY_SECRETS,
/// METER_SIGNING_KEYS, METER_SECRET_KEY, METER_UPGRADE_URL, METER_DECISIONS, METER_PLANS, METER_WEBHOOKS_PORTS,
/// METER_WEBHOOKS_ALLOW_LOOPBACK, STRIPE_SECRET_KEY, STRIPE_WEBHOOK_SECRET, STRIPE_API_BASE, STRIPE_RETURN_URLS,
/// STRIPE_AUTOMATIC_TAX, METER_LOG, METER_LOG_FORMAT, METER_TEST.
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
    /// Add, change and remove the people of a project
    #[command(subcommand)]
    Member(member::Command),
    /// Make, list, rotate and revoke the keys of a project
    #[command(subcommand)]
    Key(key::Command),
    /// Make, list and revoke the tokens of people and programs that administer projects
    #[command(subcommand)]
    Token(token::Command),
    /// Check, compare and apply versions of the plan catalogue, and bring projects to the newest
    #[command(subcommand)]
    Plans(plans::Command),
    /// Make, change and test a project's webhooks, and see what became of deliveries
    #[command(subcommand, alias = "webhook")]
    Webhooks(webhooks::Command),
    /// Give units that cost nothing
    #[command(subcommand)]
    Credit(billing::Credit),
    /// Have packs bought by themselves when little is left, or stop that
    #[command(subcommand)]
    TopUp(top_up::Command),
    /// Take units of a closed month back, for a reason
    Correct(billing::Correct),
    /// Show what a month used, what paid for it and what it costs
    Statement(billing::Show),
    /// Show what happens in a project, as it happens
    Tail(tail::Tail),
    /// Decide about reports that could not be true
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// Show who changed what, the newest first
    Audit(trail::Show),
    /// Stripe: what is sold, what waits for a person, what was bought
    #[command(subcommand)]
    Stripe(stripe::Command),
    /// Move the clock of a meter for tests
    #[command(subcommand)]
    Clock(clock::Command),
    /// Copy the books into a new file while they are in use
    Backup(backup::Copy),
    /// Make the database from a backup; never over one that is there
    Restore(backup::Copy),
    /// Print the interface as OpenAPI 3.1
    Openapi,
    /// Tell a meter that its Postgres database was restored, so that the edge takes its policies
    Restored(backup::Told),
}

impl Command {
    /// Only what begins a meter may make its database: elsewhere a missing one is a mistyped path.
    fn when_missing(&self) -> WhenMissing {
        match self {
            Self::Serve
            | Self::Project(project::Command::Create(_))
            | Self::Token(token::Command::Create(_)) => WhenMissing::Create,
            Self::Project(_)
            | Self::Key(_)
            | Self::Member(_)
            | Self::Token(_)
            | Self::Plans(_)
            | Self::Webhooks(_)
            | Self::Credit(_)
            | Self::TopUp(_)
            | Self::Correct(_)
            | Self::Statement(_)
            | Self::Tail(_)
            | Self::Quarantine(_)
            | Self::Audit(_)
            | Self::Stripe(_)
            | Self::Clock(_)
            | Self::Backup(_)
            | Self::Restore(_)
            | Self::Restored(_)
            | Self::Openapi => WhenMissing::Refuse,
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
            Command::Member(command) => member::run(command, context(config, missing).await?).await,
            Command::Key(command) => key::run(command, context(config, missing).await?).await,
            Command::Token(command) => token::run(command, context(config, missing).await?).await,
            Command::Plans(command) => plans::run(command, context(config, missing).await?).await,
            Command::Webhooks(command) => webhooks::run(command, context(config, missing).await?).await,
            Command::Credit(command) => billing::credit(command, context(config, missing).await?).await,
            Command::TopUp(command) => top_up::run(command, context(config, missing).await?).await,
            Command::Correct(correct) => billing::correct(correct, context(config, missing).await?).await,
            Command::Statement(show) => billing::show(show, context(config, missing).await?).await,
            Command::Tail(tail) => tail::run(tail, context(config, missing).await?).await,
            Command::Quarantine(command) => quarantine::run(command, context(config, missing).await?).await,
            Command::Audit(show) => trail::show(show, context(config, missing).await?).await,
            Command::Stripe(command) => stripe::run(command, context(config, missing).await?).await,
            Command::Clock(command) => clock::run(command, context(config, missing).await?).await,
            Command::Backup(copy) => backup::backup(copy, context(config, missing).await?).await,
            Command::Restore(copy) => backup::restore(copy, config).await,
            Command::Openapi => print::text(&crate::http::document()),
            Command::Restored(told) => backup::restored(told, context(config, missing).await?).await,
        }
    })
}

async fn context(config: Config, missing: WhenMissing) -> anyhow::Result<Context> {
    let store = Store::open(&config.database, missing).await?;
    let store = store.by(Actor::Command { user: config.user.clone() });
    let basis = config.decisions.basis(config.upgrade_url.clone());
    let clock = Clock::system();
    if config.test {
        clock.shift(store.clock_offset_ms().await?);
    }
    Ok(Context { config, store, clock, basis })
}
