//! The command line, and how long a run of it takes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use clap::builder::PossibleValuesParser;

use crate::variant::{ALL, Variant};

/// Connections that are kept busy, in the order of the tables.
pub(crate) const CONNECTIONS: [usize; 2] = [16, 64];
/// What is sent to a process before it is measured, for all alike: so that its code is compiled and its caches are warm.
pub(crate) const WARM_UP: Duration = Duration::from_millis(500);
/// The open loop runs longer than a closed one: a 99th percentile is made of one answer in a hundred.
const LOW_WINDOWS: u32 = 4;

const AFTER_HELP: &str = "\
In each round every variant is loaded in turn, by one load generator on this machine: 16 connections and
then 64 as fast as they go (closed loop), then for four times as long a fixed low rate (open loop; each
latency counts from when the request was due). Each time it is a new workerd process that answers; odd
rounds go backwards. workerd has the last processor for itself (by `taskset`), everything else shares the others.
Tables show medians of the rounds, and the ratios of those medians.

Needs the worker's bundle in target/edge, the program `meter` in target/release (else target/debug), and workerd in
target/tools; elsewhere: METER_TEST_BUNDLE, METER_TEST_BIN_DIR, METER_TEST_WORKERD. Redis is installed with apt-get
where it is missing and that is permitted; its variants are left out otherwise.
Everything runs on loopback ports of its own, and keeps its data below target/bench until the end.

Numbers of a machine that does anything else are worthless; the end of the report says how much others took.

Examples:
  bench                                   everything, into docs/benchmarks.md
  bench --quick                           does it work? printed only
  bench --only meter,js-headers --rounds 11";

/// Measures the edge beside what one would write instead, in one run
#[derive(Debug, Parser)]
#[command(name = "bench", max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Options {
    /// Under a minute: short rounds, and nothing is written unless --output says where
    #[arg(long)]
    quick: bool,
    /// How many rounds; the default is 9, or 2 with --quick
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// How long each load of a round lasts; the default is 600, or 225 with --quick
    #[arg(long, value_name = "MS")]
    window_ms: Option<u64>,
    /// Requests per second of the open loop
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub(crate) rate: u32,
    /// Only these variants, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = names())]
    only: Vec<String>,
    /// The Markdown file whose marked section is replaced; the default is docs/benchmarks.md
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the tables, write no file
    #[arg(long, conflicts_with = "output")]
    no_output: bool,
}

fn names() -> PossibleValuesParser {
    ALL.iter().map(|variant| variant.name).collect::<Vec<_>>().into()
}

impl Options {
    /// Refuses what would measure nothing.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(self.rounds() > 0, "--rounds: got 0, accepted is 1 or more");
        let window_ms = self.window().as_millis();
        ensure!(
            (100..=60_000).contains(&window_ms),
            "--window-ms: got {window_ms}, accepted are 100 to 60000"
        );
        Ok(())
    }

    /// How many rounds.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 9 })
    }

    /// How long each load lasts.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms.unwrap_or(if self.quick { 225 } else { 600 }))
    }

    /// How long the open loop of a round lasts.
    pub(crate) fn low_window(&self) -> Duration {
        self.window().saturating_mul(LOW_WINDOWS)
    }

    /// The variants that were asked for.
    pub(crate) fn variants(&self) -> Vec<Variant> {
        let wanted =
            |variant: &&Variant| self.only.is_empty() || self.only.iter().any(|name| name == variant.name);
        ALL.iter().filter(wanted).copied().collect()
    }

    /// Where the report goes besides the terminal.
    pub(crate) fn output(&self, root: &std::path::Path) -> Option<PathBuf> {
        match &self.output {
            Some(file) => Some(file.clone()),
            None if self.no_output || self.quick => None,
            None => Some(root.join("docs").join("benchmarks.md")),
        }
    }

    /// How long that many variants take, once they run.
    pub(crate) fn duration(&self, variants: usize) -> Duration {
        let variants = u32::try_from(variants).unwrap_or(u32::MAX);
        let loads = self.window().saturating_mul(2).saturating_add(self.low_window()).saturating_add(WARM_UP);
        loads.saturating_mul(self.rounds()).saturating_mul(variants)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(arguments: &[&str]) -> Options {
        Options::try_parse_from(std::iter::once("bench").chain(arguments.iter().copied())).unwrap()
    }

    #[test]
    fn runs_stay_within_their_time() {
        assert!(parse(&[]).duration(ALL.len()) < Duration::from_secs(600));
        assert!(parse(&["--quick"]).duration(ALL.len()) < Duration::from_secs(60));
    }

    #[test]
    fn only_full_runs_write_unless_told() {
        let root = Path::new("/r");
        assert_eq!(parse(&[]).output(root), Some(PathBuf::from("/r/docs/benchmarks.md")));
        assert_eq!(parse(&["--quick"]).output(root), None);
        assert_eq!(parse(&["--no-output"]).output(root), None);
        assert_eq!(parse(&["--quick", "--output", "x.md"]).output(root), Some(PathBuf::from("x.md")));
    }

    #[test]
    fn what_measures_nothing_is_refused() {
        assert!(parse(&["--rounds", "0"]).check().is_err());
        assert!(parse(&["--window-ms", "10"]).check().is_err());
        assert!(Options::try_parse_from(["bench", "--rate", "0"]).is_err());
        assert!(Options::try_parse_from(["bench", "--only", "nothing"]).is_err());
        let names: Vec<_> =
            parse(&["--only", "js-ok,meter"]).variants().iter().map(|variant| variant.name).collect();
        assert_eq!(names, ["js-ok", "meter"]);
    }
}
