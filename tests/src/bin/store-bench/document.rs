//! What was measured, in its section of `docs/benchmarks.md`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use kit::{machine, section};
use tests::clock;

use crate::Measured;
use crate::report::Timed;

/// Replaces the marked section of the page.
pub(crate) fn write(page: &Path, measured: &[Measured], how: (usize, u64)) -> Result<()> {
    section::write(page, "store-bench", &report(measured, how)?)
}

fn report(measured: &[Measured], (rounds, seconds): (usize, u64)) -> Result<String> {
    let (day, processors) = (clock::now().day(), std::thread::available_parallelism()?);
    let load = machine::load();
    let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit =
        commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let mut text = format!(
        "- {day}, commit {commit}, {processors} processors; load at the end {load}\n\
         - `cargo xtask bench --store`: medians of {rounds} rounds, in each of which both loops ran for {seconds} s\n\n\
         | database | plain loop, cells/s | `/ingest`, cells/s | share | share, by round |\n\
         | -------- | ------------------: | -----------------: | ----: | --------------: |\n"
    );
    for Measured { name, rates, .. } in measured {
        let share = |(theirs, ours): &(f64, f64)| 100.0 * ours / theirs;
        let by_round: Vec<String> = rates.iter().map(|rates| format!("{:.0} %", share(rates))).collect();
        let theirs = median(rates.iter().map(|(theirs, _)| *theirs).collect())?;
        let ours = median(rates.iter().map(|(_, ours)| *ours).collect())?;
        let share = median(rates.iter().map(share).collect())?;
        writeln!(text, "| {name} | {theirs:.0} | {ours:.0} | {share:.0} % | {} |", by_round.join(", "))?;
    }
    text.push_str("\n| agents | usage of | median ms | slowest ms |\n| ---: | --- | ---: | ---: |\n");
    for Measured { name, reports, .. } in measured {
        for report in reports {
            let ms = |time: std::time::Duration| time.as_secs_f64() * 1_000.0;
            let (median, slowest) = (ms(report.median), ms(report.slowest));
            let Timed { agents, what, .. } = report;
            writeln!(text, "| {agents} | {what} on {name} | {median:.1} | {slowest:.1} |")?;
        }
    }
    Ok(text)
}

fn median(mut numbers: Vec<f64>) -> Result<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len().div_euclid(2)).copied().context("no rounds")
}
