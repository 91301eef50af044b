//! The store under full load: `/ingest` beside a plain loop that writes the same rows to the same database, a
//! year's report, Stripe's deliveries, how the books grow, and the aggregator's memory.
//!
//! It must never run beside other work: its figures are ratios, but a busy machine blurs them all.

#![expect(
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::as_conversions,
    reason = "it prints rates and ratios, which are read and not computed with"
)]

mod deliveries;
mod document;
mod ours;
mod plain;
mod profile;
mod report;
mod scale;
mod soak;

use std::path::Path;

use anyhow::{Context, Result, bail};
use tests::postgres::Postgres;
use tests::servers::Servers;

/// Rounds, each of the plain loop and of ours in turn: what else the machine does meets both.
const ROUNDS: usize = 3;

/// Seconds that each loop is measured for in a round.
const SECONDS: u64 = 5;

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["bench", page] => bench(SECONDS, Path::new(page)).await,
        ["bench", page, seconds] => bench(seconds.parse()?, Path::new(page)).await,
        ["reports"] => reports().await,
        ["deliveries"] => deliveries::run(SECONDS).await,
        ["deliveries", seconds] => deliveries::run(seconds.parse()?).await,
        ["scale", page] => scale::run(SECONDS, Path::new(page)).await,
        ["scale", page, seconds] => scale::run(seconds.parse()?, Path::new(page)).await,
        ["soak", seconds] => soak::run(seconds.parse()?).await,
        other => bail!(
            "got {other:?}, accepted are `bench <page> [seconds]`, `reports`, `deliveries [seconds]`, `scale <page> [seconds]` and `soak <seconds>`"
        ),
    }
}

/// What was measured on one database.
#[derive(Debug)]
struct Measured {
    name: &'static str,
    /// Cells per second of the plain loop and of ours, by round.
    rates: Vec<(f64, f64)>,
    reports: Vec<report::Timed>,
}

async fn bench(seconds: u64, page: &Path) -> Result<()> {
    println!("1,000-cell batches: 334 agents x 3 kinds of one day, every count rising");
    println!("{ROUNDS} rounds of {seconds} s each");
    let sqlite = measure("SQLite", None, seconds).await?;
    let postgres = Postgres::start_on_disk().await?;
    let postgres = measure("Postgres", Some(&postgres), seconds).await?;
    document::write(page, &[sqlite, postgres], (ROUNDS, seconds))
}

/// The reports alone, as a page asks them.
async fn reports() -> Result<()> {
    let postgres = Postgres::start_on_disk().await?;
    for (name, books) in [("SQLite", None), ("Postgres", Some(postgres.create("books")?))] {
        let mut servers = Servers::on(books, None)?;
        let address = servers.add().await?;
        report::measure(name, 10_000, &servers, address).await?;
    }
    Ok(())
}

async fn measure(name: &'static str, postgres: Option<&Postgres>, seconds: u64) -> Result<Measured> {
    let books = postgres.map(|postgres| postgres.create("books")).transpose()?;
    let mut servers = Servers::on(books, None)?;
    let address = servers.add().await?;
    let load = ours::Load::prepare(&servers, &[address]).await?;
    let mut rates = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let theirs = match postgres {
            Some(postgres) => plain::postgres(&postgres.create(&format!("plain{round}"))?, seconds).await?,
            // On the disk that our books are on.
            None => plain::sqlite(&servers.path(&format!("plain{round}.db")), seconds).await?,
        };
        let ours = load.run(seconds).await?;
        let share = 100.0 * ours / theirs;
        println!("{name:9} plain loop {theirs:>9.0} cells/s   /ingest {ours:>9.0} cells/s   {share:.0} %");
        rates.push((theirs, ours));
    }
    let mut reports = Vec::new();
    for agents in [1_000, 10_000] {
        let measured = report::measure(name, agents, &servers, address).await;
        reports.extend(measured.context("the year's report")?);
    }
    Ok(Measured { name, rates, reports })
}
