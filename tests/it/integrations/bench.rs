//! The benchmark measures something: it is run too seldom to be trusted to start otherwise.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::config;

use super::run;

/// Ours in each of its shapes, and what two of them are compared with.
const VARIANTS: [&str; 5] = ["js-headers", "meter", "meter-crowd", "js-forward", "meter-forward"];

#[test]
fn every_shape_of_ours_is_measured_beside_its_baseline_and_answers_well() -> Result<()> {
    let mut bench = Command::new(config::bench()?);
    bench.args([
        "--quick",
        "--rounds",
        "1",
        "--window-ms",
        "100",
        "--no-output",
        "--only",
        &VARIANTS.join(","),
    ]);
    let said = run(&mut bench)?;
    let table = said.split("At 200 requests a second:").nth(1).context("a table of answers")?;
    for variant in VARIANTS {
        let row = table.lines().find(|line| line.starts_with(&format!("| {variant} ")));
        let failures = row.and_then(|row| row.trim_end_matches('|').rsplit('|').next()).map(str::trim);
        ensure!(failures == Some("0"), "{variant}: {row:?}");
    }
    Ok(())
}
