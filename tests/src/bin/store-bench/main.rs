//! The store under full load: `/ingest` beside a plain loop that writes the same rows to the same database, a
//! year's report, Stripe's deliveries, and the aggregator's memory.
//!
//! It must never run beside other work: its figures are ratios, but a busy machine blurs them all.

#![expect(
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::as_conversions,
    reason = "it prints rates and ratios, which are read and not computed with"
)]

mod deliveries;
mod ours;
mod plain;
mod report;
mod soak;

use anyhow::{Context, Result, bail};
use tests::postgres::Postgres;
use tests::servers::Servers;

/// Seconds that each loop is measured for.
const SECONDS: u64 = 10;

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["bench"] => bench(SECONDS).await,
        ["bench", seconds] => bench(seconds.parse()?).await,
        ["deliveries"] => deliveries::run(SECONDS).await,
        ["deliveries", seconds] => deliveries::run(seconds.parse()?).await,
        ["soak", seconds] => soak::run(seconds.parse()?).await,
        other => bail!(
            "got {other:?}, accepted are `bench [seconds]`, `deliveries [seconds]` and `soak <seconds>`"
        ),
    }
}

async fn bench(seconds: u64) -> Result<()> {
    println!("1,000-cell batches: 334 agents x 3 kinds of one day, every count rising; {seconds} s each");
    let scratch = std::env::temp_dir().join(format!("store-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let file = scratch.join("plain.db");
    let plain_rate = plain::sqlite(&file, seconds).await?;
    std::fs::remove_dir_all(&scratch)?;
    measure("sqlite", None, plain_rate, seconds).await?;
    let postgres = Postgres::start_on_disk().await?;
    let plain_rate = plain::postgres(&postgres.create("plain")?, seconds).await?;
    measure("postgres", Some(postgres.create("books")?), plain_rate, seconds).await
}

async fn measure(name: &str, database: Option<String>, plain_rate: f64, seconds: u64) -> Result<()> {
    let mut servers = Servers::on(database, None)?;
    let address = servers.add().await?;
    let load = ours::Load::prepare(&servers, address).await?;
    let rate = load.run(seconds).await?;
    let share = 100.0 * rate / plain_rate;
    println!("{name:9} plain loop {plain_rate:>9.0} cells/s   /ingest {rate:>9.0} cells/s   {share:.0} %");
    report::measure(name, &servers, address).await.context("the year's report")
}
