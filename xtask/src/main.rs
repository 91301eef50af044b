//! `cargo xtask`: everything that this repository does besides running in production.
//!
//! Parses the command line and hands over; it must never do the work itself.

mod apt;
mod bench;
mod chromium;
mod ci;
mod clock;
mod config;
mod dashboard;
mod dev;
mod docs;
mod edge;
mod limiters;
mod native;
mod postgres;
mod private;
mod process;
mod progress;
mod python;
mod readme;
mod rust_tools;
mod scripts;
mod sim;
mod soak;
mod store;
mod test;
mod tidy;
mod toolchain;
mod tools;
mod wrangler;

use std::process::ExitCode;

use anyhow::Result;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, Subcommand};

use crate::process::Interrupted;

/// The colours of the help.
const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Palveron Meter's automation
///
/// Needs Rust, a C compiler's `cc`, and npm; installs the rest itself, and keeps it below target/.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", styles = STYLES, max_term_width = 100)]
#[command(arg_required_else_help = true, disable_help_subcommand = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Task,
}

const AFTER_HELP: &str = "\
Examples:
  cargo xtask dev                    everything running, with a demo project and curl lines to paste
  cargo xtask dev --fresh --rpm 100000 --included 50
  cargo xtask ci                     what must be green before a commit";

#[derive(Debug, Subcommand)]
enum Task {
    /// Start edge, aggregator and a demo upstream, with a demo project and curl lines to paste
    Dev(dev::Options),
    /// Run every test: unit, HTTP and real-workerd ones
    Test(test::Options),
    /// Run everything that must be green: format, lints, the worker's build, tidy, test
    Ci,
    /// Try the lines of README and the documentation, and of what the demo prints, word for word
    Readme(readme::Options),
    /// Check the repository's own rules: dependencies, file heads, documented paths and commands
    Tidy,
    /// Build the page that the aggregator embeds, where its sources have changed
    Dashboard,
    /// Build the documentation as the site that the aggregator embeds, where its sources have changed
    Docs,
    /// Build the worker's bundle into target/edge
    Edge(edge::Options),
    /// Run the lease core under every fault, from seeds that replay exactly
    Sim(sim::Options),
    /// Do the long runs that no test run has time for
    Soak(soak::Options),
    /// Measure the edge beside what one would write instead
    Bench(bench::Options),
    /// Check that wrangler would deploy the bundle (dry run, no network, no account)
    Wrangler,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match process::catch_signals().and_then(|()| run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("stopped");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Dev(options) => dev::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Ci => ci::run(),
        Task::Readme(options) => readme::run(&options),
        Task::Tidy => tidy::run(),
        Task::Dashboard => dashboard::build(),
        Task::Docs => docs::build(),
        Task::Edge(options) => edge::run(&options),
        Task::Sim(options) => sim::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Wrangler => wrangler::run_dry(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn unknown_words_are_refused_with_a_hint() {
        for (line, hint) in [
            ("cargo-xtask devv", "dev"),
            ("cargo-xtask dev --frsh", "--fresh"),
            ("cargo-xtask dev --plan gold", "community"),
            ("cargo-xtask dev --rpm many", "number"),
            ("cargo-xtask dev --edge-listen 8787", "127.0.0.1:8787"),
            ("cargo-xtask edge now", "now"),
        ] {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err().to_string();
            assert!(error.contains(hint), "{line}: {error}");
        }
    }
}
