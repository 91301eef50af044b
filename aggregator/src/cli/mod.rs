//! The `meter` command line. Commands ask the interface of `http`, of a server or over the books themselves.
//!
//! METER_URL names a server. What is changed on the books, a running server sees within half a second.
//!
//! No command may print a secret, except the one that has just made it.

mod account;
mod backup;
mod billing;
mod call;
mod clock;
mod contract;
mod copy;
mod declared;
mod demo_load;
mod doctor;
mod events;
mod home;
mod ingest;
mod key;
mod leases;
mod listen;
mod lock;
mod man;
mod mcp;
mod member;
mod options;
mod place;
mod plans;
mod print;
mod project;
mod quarantine;
mod redis;
mod report;
mod reporter;
mod serve;
mod stripe;
mod tail;
mod token;
mod top_up;
mod trail;
mod webhooks;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use self::place::{Place, Unanswered};
use crate::access::trail::Actor;
use crate::clock::Clock;
use crate::config::{self, Config, ConfigError};
use crate::projects::policy::Basis;
use crate::store::{Store, StoreError, WhenMissing};

/// Palveron Meter: usage books, limits and policies.
///
/// Commands work on the books that DATABASE_URL names, or at the server that METER_URL names, with the rights of
/// METER_TOKEN. METER_PROJECT is the project where --project is left out.
#[derive(Debug, Parser)]
#[command(name = "meter", version, max_term_width = 100, after_help = AFTER_HELP, after_long_help = after_long_help())]
pub struct Cli {
    /// Read settings from this file; what is set in the environment wins
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 refused or failed; 2 a command line or setting that is not accepted; 3 not now: the same again may
be answered later; 4 `meter plans diff --exit-code` has found that something differs.

Examples:
  meter project create demo --plan community
  meter usage --project demo
  METER_URL=https://meter.example.com METER_TOKEN=pat_… meter explain
  source <(meter completions bash)";

/// What `--help` ends with, and `-h` leaves out.
fn after_long_help() -> String {
    format!("{}\n{AFTER_HELP}", meter_settings::help(config::ROWS))
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
    /// Make, list and disable accounts of people who sign in, and make links that sign in
    #[command(subcommand)]
    Account(account::Command),
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
    /// Show what was used, by day and by agent
    Usage(report::Usage),
    /// Explain why the next request is served or not, and why a month costs what it does
    Explain(report::Explain),
    /// Compare what a month would have come to on each plan, with overage and without
    WhatIf(report::WhatIf),
    /// Show what each month came to, and how far it is collected
    Invoices(report::Invoices),
    /// Show who has what of a project's units: its home, sub-homes and isolates
    Leases(leases::Leases),
    /// Show at which place a project's homes are, and move them to the other
    #[command(subcommand)]
    Home(home::Command),
    /// Show what happens in a project, as it happens
    Tail(tail::Tail),
    /// Make, end and show the contracts of enterprise customers
    #[command(subcommand)]
    Contract(contract::Command),
    /// Make, retire and show the on-premise reporters of contracts, and their keys
    #[command(subcommand)]
    Reporter(reporter::Command),
    /// Take reports in that `meter-reporter export` wrote and people carried here; again changes nothing
    Ingest(ingest::Ingest),
    /// Decide about reports that could not be true
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// Show who changed what, the newest first
    Audit(trail::Show),
    /// Say what the Redis promises that REDIS_URL names
    #[command(subcommand)]
    Redis(redis::Command),
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
    /// Copy the books of an SQLite file whole into an empty Postgres database
    Copy(copy::Copy),
    /// Look whether a server would find here what it needs, and say what to do where it would not
    Doctor(doctor::Doctor),
    /// Send the edge a day of governance requests, squeezed into minutes, so that there is something to see
    DemoLoad(demo_load::DemoLoad),
    /// Print the interface as OpenAPI 3.1
    Openapi,
    /// Answer a model's questions about usage, refusals, plans and costs: an MCP server on standard input and output
    Mcp,
    /// Print every setting as a file for --config, each as it is without being set
    Settings,
    /// Write the manual pages of this command and its subcommands into a folder
    #[command(hide = true)]
    Man(man::Man),
    /// Print what completes this command line in a shell
    Completions(Completions),
    /// Tell a meter that its Postgres database was restored, so that the edge takes its policies
    Restored(backup::Restored),
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
            | Self::Account(_)
            | Self::Token(_)
            | Self::Plans(_)
            | Self::Webhooks(_)
            | Self::Credit(_)
            | Self::TopUp(_)
            | Self::Correct(_)
            | Self::Statement(_)
            | Self::Usage(_)
            | Self::Explain(_)
            | Self::WhatIf(_)
            | Self::Invoices(_)
            | Self::Completions(_)
            | Self::Copy(_)
            | Self::Leases(_)
            | Self::Home(_)
            | Self::Tail(_)
            | Self::Contract(_)
            | Self::Reporter(_)
            | Self::Ingest(_)
            | Self::Quarantine(_)
            | Self::Audit(_)
            | Self::Stripe(_)
            | Self::Redis(_)
            | Self::Clock(_)
            | Self::Backup(_)
            | Self::Restore(_)
            | Self::Restored(_)
            | Self::Doctor(_)
            | Self::DemoLoad(_)
            | Self::Mcp
            | Self::Settings
            | Self::Man(_)
            | Self::Openapi => WhenMissing::Refuse,
        }
    }
}

#[derive(Debug, Args)]
struct Completions {
    /// The shell
    shell: Shell,
}

/// What a command works with on the books.
struct Context {
    config: Config,
    store: Store,
    clock: Clock,
    basis: Basis,
    /// Where homes are of projects that never moved.
    first: shared::policy::Place,
}

/// Runs a command to its end.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::error(&error);
            exit_code(&error)
        }
    }
}

/// 2 where what was given is not accepted, 3 where the same again may be answered later, 4 where a file was asked
/// about that differs from what is there, else 1.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    let passing = error.downcast_ref().is_some_and(Unanswered::is_passing)
        || error.downcast_ref().is_some_and(StoreError::is_passing);
    if error.is::<ConfigError>() {
        ExitCode::from(2)
    } else if passing {
        ExitCode::from(3)
    } else if error.is::<plans::Differs>() {
        ExitCode::from(4)
    } else {
        ExitCode::FAILURE
    }
}

fn start(cli: Cli) -> anyhow::Result<()> {
    let begin = Beginning { missing: cli.command.when_missing(), file: cli.config };
    match cli.command {
        // These need no setting, so that none that is wrong is in their way.
        Command::Openapi => print::text(&crate::http::document()),
        Command::Completions(Completions { shell }) => completions(shell),
        Command::Copy(copy) => wait(copy::run(copy)),
        Command::DemoLoad(load) => {
            let config = begin.settings()?;
            wait(demo_load::run(load, config))
        }
        Command::Settings => print::text(&Config::example()),
        Command::Man(man) => man::run(&man),
        Command::Doctor(doctor) => wait(doctor::run(doctor, begin.read())),
        Command::Serve => wait(serve::run(begin.read()?)),
        Command::Restore(copy) => wait(backup::restore(copy, begin.settings()?)),
        Command::Project(command) => begin.at(async |place| project::run(command, place).await),
        Command::Member(command) => begin.at(async |place| member::run(command, place).await),
        Command::Account(command) => begin.at(async |place| account::run(command, place).await),
        Command::Key(command) => begin.at(async |place| key::run(command, place).await),
        Command::Token(command) => begin.at(async |place| token::run(command, place).await),
        // A file is looked at where it is.
        Command::Plans(plans::Command::Check(file)) => {
            plans::check(&file, begin.settings()?.plans.as_deref())
        }
        Command::Plans(command) => begin.at(async |place| plans::run(command, &place).await),
        Command::Webhooks(command) => begin.at(async |place| webhooks::run(command, place).await),
        Command::Credit(command) => begin.at(async |place| billing::credit(command, place).await),
        Command::TopUp(command) => begin.at(async |place| top_up::run(command, place).await),
        Command::Correct(correct) => begin.at(async |place| billing::correct(correct, place).await),
        Command::Statement(show) => begin.at(async |place| billing::show(show, place).await),
        Command::Usage(usage) => begin.at(async |place| report::usage(usage, place).await),
        Command::Explain(explain) => begin.at(async |place| report::explain(explain, place).await),
        Command::WhatIf(asked) => begin.at(async |place| report::what_if(asked, place).await),
        Command::Invoices(show) => begin.at(async |place| report::invoices(show, place).await),
        Command::Leases(leases) => begin.at(async |place| leases::show(leases, place).await),
        Command::Home(command) => begin.at(async |place| home::run(command, place).await),
        Command::Tail(tail) => begin.at(async |place| tail::run(tail, place).await),
        Command::Contract(command) => begin.at(async |place| contract::run(command, place).await),
        Command::Reporter(command) => begin.at(async |place| reporter::run(command, place).await),
        Command::Ingest(file) => begin.at(async |place| ingest::run(file, place).await),
        Command::Quarantine(command) => begin.at(async |place| quarantine::run(command, place).await),
        Command::Audit(show) => begin.at(async |place| trail::show(show, place).await),
        Command::Stripe(command) => begin.at(async |place| stripe::run(command, place).await),
        Command::Redis(command) => {
            let config = begin.settings()?;
            wait(async { redis::run(command, &config).await })
        }
        Command::Clock(command) => begin.at(async |place| clock::run(command, place).await),
        Command::Mcp => begin.at(async |place| mcp::run(place).await),
        Command::Backup(copy) => begin.at(async |place| backup::backup(copy, &place).await),
        Command::Restored(told) => begin.at(async |place| backup::restored(told, &place).await),
    }
}

/// How a command begins.
struct Beginning {
    /// Where its settings are, beside the environment.
    file: Option<PathBuf>,
    /// Whether it may make its database.
    missing: WhenMissing,
}

impl Beginning {
    fn read(&self) -> Result<Config, ConfigError> {
        Config::load(self.file.as_deref())
    }

    /// The settings, with a word about those that nothing reads.
    fn settings(&self) -> Result<Config, ConfigError> {
        Config::unknown_variables().iter().for_each(|remark| print::warning(remark));
        self.read()
    }

    /// Runs a command where it works.
    fn at(&self, run: impl AsyncFnOnce(Place) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let config = self.settings()?;
        wait(async {
            let place = match config.server.clone() {
                Some(server) => Place::server(server, config)?,
                None => Place::books(context(config, self.missing).await?)?,
            };
            run(place).await
        })
    }
}

fn wait(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// Prints the completions of a shell.
fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "meter", &mut script);
    print::text(&String::from_utf8(script)?)
}

async fn context(config: Config, missing: WhenMissing) -> anyhow::Result<Context> {
    serve::start_log(&config, "warn")?;
    let store = Store::open(&config.database, missing).await?;
    let store = store.by(Actor::Command { user: config.user.clone() });
    // The terminal of a command may have other settings than the server, which knows where homes have begun.
    let first = store.homes_begin().await?.unwrap_or(serve::homes_begin(&config));
    let basis = config.basis();
    let clock = Clock::system();
    if config.test {
        clock.shift(store.clock_offset_ms().await?);
    }
    Ok(Context { config, store, clock, basis, first })
}
