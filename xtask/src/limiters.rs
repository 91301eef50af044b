//! `cargo xtask bench --native`: a holder's decision beside other limiters, in one run, into docs/benchmarks.md.
//!
//! It must never mix runs: what criterion left behind from earlier ones is removed first.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use kit::{machine, section};
use serde_json::Value;

use crate::process::run_visible;
use crate::{clock, config, native};

/// What the section of docs/benchmarks.md is called.
const SECTION: &str = "native";

/// What is measured, ours first.
const CASES: [Case; 3] = [
    Case {
        folder: "holder",
        about: "`Holder::decide`: month, minute and a limited agent",
        of: None,
        goal: "≤ 100 ns",
    },
    Case { folder: "limitador", about: "in memory, four limits", of: Some("limitador"), goal: "≥ 80 ×" },
    Case { folder: "governor", about: "keyed, one limit", of: Some("governor"), goal: "ours ≤ 1.5 ×" },
];

struct Case {
    /// Criterion's folder.
    folder: &'static str,
    about: &'static str,
    /// Whose it is, if not ours.
    of: Option<&'static str>,
    goal: &'static str,
}

/// Measures, prints and writes.
#[expect(clippy::print_stdout, reason = "the figures are this command's result")]
pub(crate) fn bench() -> Result<()> {
    let folder = config::target().join("bench-native");
    let criterion = folder.join("criterion");
    if criterion.exists() {
        fs::remove_dir_all(&criterion).context("cannot remove what the last run left")?;
    }
    let package = config::root().join("tests/bench-native");
    let mut cargo = native::cargo("bench");
    cargo.arg("--manifest-path").arg(package.join("Cargo.toml")).arg("--target-dir").arg(&folder);
    cargo.env("CRITERION_HOME", &criterion);
    run_visible("the native benchmark", &mut cargo)?;
    let lock = fs::read_to_string(package.join("Cargo.lock")).context("cannot read the lock file")?;
    let report = report(&criterion, &lock)?;
    println!("{report}");
    section::write(&config::root().join("docs/benchmarks.md"), SECTION, &report)
}

fn report(criterion: &Path, lock: &str) -> Result<String> {
    let samples = CASES.iter().map(|case| samples(&criterion.join(case.folder)));
    let samples: Vec<Samples> = samples.collect::<Result<_>>()?;
    let ours = samples.first().map(|samples| samples.fastest).context("nothing was measured")?;
    let mut text = format!(
        "- {}, {}; one thread, 100 samples of many thousand calls\n\
         - what others do on the machine slows samples down: ratios are of the fastest ones\n\n\
         | what | fastest | median | beside ours | goal |\n| --- | ---: | ---: | ---: | ---: |\n",
        clock::today(),
        machine::processors()
    );
    for (case, Samples { fastest, median }) in CASES.iter().zip(samples) {
        let name = case.of.map(|name| format!("{name} {}: ", version(lock, name))).unwrap_or_default();
        let ratio = match case.of {
            None => "1".to_owned(),
            Some("governor") => format!("ours {} ×", hundredths(ours, fastest)),
            Some(_) => format!("{} ×", hundredths(fastest, ours)),
        };
        let Case { about, goal, .. } = case;
        let [fastest, median] = [fastest, median].map(thousandths);
        text.push_str(&format!("| {name}{about} | {fastest} ns | {median} ns | {ratio} | {goal} |\n"));
    }
    Ok(text)
}

/// Times of one call, in picoseconds.
#[derive(Debug, Clone, Copy)]
struct Samples {
    fastest: u64,
    median: u64,
}

/// What criterion has measured: the time of each sample, and how many calls it had.
fn samples(folder: &Path) -> Result<Samples> {
    let file = folder.join("new/sample.json");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let of: Value = serde_json::from_str(&text)?;
    let whole = |name: &str| -> Option<Vec<u64>> {
        let numbers = of.get(name)?.as_array()?.iter();
        numbers.map(|number| format!("{:.0}", number.as_f64()?).parse().ok()).collect()
    };
    let (times, calls) = whole("times").zip(whole("iters")).context("there are no samples")?;
    let each = times.into_iter().zip(calls);
    let mut each: Vec<u64> =
        each.filter_map(|(time, calls)| time.saturating_mul(1_000).checked_div(calls)).collect();
    each.sort_unstable();
    let fastest = each.first().copied().context("there are no samples")?;
    let median = each.get(each.len().div_euclid(2)).copied().unwrap_or(fastest);
    Ok(Samples { fastest, median })
}

/// `12.3` for 12,345 thousandths.
fn thousandths(n: u64) -> String {
    format!("{}.{}", n.div_euclid(1_000), n.rem_euclid(1_000).div_euclid(100))
}

/// `1.23` for the ratio of two times.
fn hundredths(time: u64, to: u64) -> String {
    let ratio = time.saturating_mul(100).checked_div(to).unwrap_or_default();
    format!("{}.{:02}", ratio.div_euclid(100), ratio.rem_euclid(100))
}

/// The version of a package in a lock file.
fn version(lock: &str, name: &str) -> String {
    let mut lines = lock.lines().skip_while(|line| *line != format!("name = \"{name}\""));
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = "));
    version.unwrap_or("?").trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_versions_are_read_as_they_are_told() {
        assert_eq!((thousandths(46_789), hundredths(4_100_000, 50_000)), ("46.7".into(), "82.00".into()));
        let lock = "[[package]]\nname = \"governor\"\nversion = \"0.10.4\"\n";
        assert_eq!((version(lock, "governor"), version(lock, "other")), ("0.10.4".into(), "?".into()));
    }
}
