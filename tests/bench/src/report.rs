//! The report: tables and circumstances, as Markdown that also reads well in a terminal.
//!
//! A variant with failures is marked wherever its numbers appear, and no ratio is made of them.

use std::fmt::Write;

use crate::format::{difference, grouped, hundredths, or_dash, table, tenths};
use crate::options::{CONNECTIONS, Options};
use crate::rounds::{Entry, Shares};
use crate::samples::{Level, Samples};
use crate::stats::ratio_milli;
use crate::variant::COMPARED;

const FAILED: &str = "✗";
/// More than this of all processor time in other hands, and the numbers are not to be trusted.
const OTHERS_MILLI_MAX: u64 = 80;

/// Under which circumstances the numbers came to be.
#[derive(Debug)]
pub(crate) struct Circumstances {
    /// The UTC day.
    pub(crate) day: String,
    /// The machine.
    pub(crate) machine: String,
    /// How many processors it has.
    pub(crate) processors: u64,
    /// What workerd says of itself, and Redis.
    pub(crate) versions: String,
    /// The command line.
    pub(crate) command: String,
    /// The load average before anything was started.
    pub(crate) load: String,
    /// Where the processors' time went.
    pub(crate) shares: Shares,
    /// What was left out and why, and what else a reader must know.
    pub(crate) remarks: Vec<String>,
}

/// The whole report.
pub(crate) fn write(options: &Options, entries: &[Entry], circumstances: &Circumstances) -> String {
    let parts = [
        head(options, circumstances),
        ratios(entries),
        format!("At saturation:\n\n{}", saturation(entries)),
        format!("At {} requests a second:\n\n{}", options.rate, low_rate(options, entries)),
        explanation(entries),
        remarks(entries, circumstances),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n")
}

fn head(options: &Options, circumstances: &Circumstances) -> String {
    let Circumstances { day, machine, versions, command, shares, .. } = circumstances;
    let share = |part: u64, whole: u64| {
        or_dash(ratio_milli(part, whole).map(|milli| milli.saturating_mul(100)), tenths)
    };
    let all = shares.elapsed_us.saturating_mul(circumstances.processors);
    format!(
        "- {day}, {machine}\n- {versions}\n- `{command}`: medians of {} interleaved rounds of {} ms each, with a new process for each variant in each\n\
         - the load generator used {} % of one processor; others used {} % of all; load before the start {}\n",
        options.rounds(),
        options.window().as_millis(),
        share(shares.generator_us, shares.elapsed_us),
        share(shares.others_us, all),
        circumstances.load,
    )
}

fn ratios(entries: &[Entry]) -> String {
    let find = |name: &str| entries.iter().find(|entry| entry.variant.name == name);
    let rows = COMPARED.iter().filter_map(|(ours, theirs)| Some([find(ours)?, find(theirs)?]));
    let rows: Vec<_> = rows.map(ratio_row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let [few, many] = CONNECTIONS.map(|connections| format!("rps, c={connections}"));
    let table = table(["ours : theirs", &few, &many, "CPU, c=16", "p99 at low rate"], &rows);
    format!("Ratios, ours to theirs:\n\n{table}")
}

fn ratio_row([ours, theirs]: [&Entry; 2]) -> [String; 5] {
    let name = format!("{} : {}", ours.variant.name, theirs.variant.name);
    let (ours, theirs) = (&ours.samples, &theirs.samples);
    if ours.failed() || theirs.failed() {
        return [name, FAILED.to_owned(), FAILED.to_owned(), FAILED.to_owned(), FAILED.to_owned()];
    }
    let ratio = |level: usize, number: fn(&Level) -> u64| {
        let both = ours.median(level, number).zip(theirs.median(level, number));
        or_dash(both.and_then(|(ours, theirs)| ratio_milli(ours, theirs)), hundredths)
    };
    let tails = ours.low(990).zip(theirs.low(990));
    let tail =
        tails.map_or_else(|| "–".to_owned(), |(ours, theirs)| format!("{} ms", difference(ours, theirs)));
    [name, ratio(0, |level| level.rps), ratio(1, |level| level.rps), ratio(0, |level| level.workerd_ns), tail]
}

fn saturation(entries: &[Entry]) -> String {
    let row = |entry: &Entry| {
        let samples = &entry.samples;
        let number = |level, number, show| or_dash(samples.median(level, number), show);
        let range = samples.range(0, |level| level.rps);
        [
            marked(entry),
            number(0, |level| level.rps, grouped),
            range.map_or_else(String::new, |(low, high)| format!("{}–{}", grouped(low), grouped(high))),
            number(0, |level| level.p50_us, hundredths),
            number(0, |level| level.workerd_ns, tenths),
            number(0, |level| level.beside_ns, tenths),
            number(1, |level| level.rps, grouped),
            number(1, |level| level.p50_us, hundredths),
            number(1, |level| level.workerd_ns, tenths),
        ]
    };
    let head =
        ["variant", "rps, c=16", "range", "p50 ms", "CPU µs", "beside µs", "rps, c=64", "p50 ms", "CPU µs"];
    table(head, &entries.iter().map(row).collect::<Vec<_>>())
}

fn low_rate(options: &Options, entries: &[Entry]) -> String {
    let row = |entry: &Entry| {
        let samples = &entry.samples;
        let number = |per_mille| or_dash(samples.low(per_mille), hundredths);
        let requests = u64::try_from(samples.low_us.iter().map(Vec::len).sum::<usize>()).unwrap_or(u64::MAX);
        [
            marked(entry),
            number(500),
            number(990),
            or_dash(samples.low_max(), hundredths),
            grouped(requests),
            without_hop(entry, samples),
            grouped(samples.all.failures),
        ]
    };
    let requests = format!("answers at {}/s", options.rate);
    let head = ["variant", "p50 ms", "p99 ms", "max ms", &requests, "no hop", "failures in all"];
    table(head, &entries.iter().map(row).collect::<Vec<_>>())
}

/// Which part of all answers of the whole run was decided without asking the home.
fn without_hop(entry: &Entry, samples: &Samples) -> String {
    if !entry.variant.serve.is_ours() {
        return String::new();
    }
    let without = samples.all.good.saturating_sub(samples.all.hops);
    let percent = ratio_milli(without, samples.all.good).map(|milli| milli.saturating_mul(100));
    format!("{} %", or_dash(percent, tenths))
}

fn marked(entry: &Entry) -> String {
    let name = entry.variant.name;
    if entry.samples.failed() { format!("{name} {FAILED}") } else { name.to_owned() }
}

fn explanation(entries: &[Entry]) -> String {
    let mut text = "What is what:\n\n".to_owned();
    for Entry { variant, .. } in entries {
        // Writing to a text cannot fail.
        writeln!(text, "- `{}`: {}", variant.name, variant.what).ok();
    }
    text.push_str(
        "\nAll get the same request, all answer our headers (but `js-ok`). workerd has the last processor for itself, \
         unless a remark says otherwise; everything else shares the others. rps and p50: closed loop with c \
         connections, good answers only. CPU: user and system time of the workerd process per answer; beside: the \
         same of the aggregator or Redis. Low rate: open loop, each latency from when its request was due; max \
         is of all rounds. no hop: answers that did not wait for the home. Redis keeps nothing (`--save '' \
         --appendonly no`); objects and homes write to disk before they answer.\n",
    );
    text
}

fn remarks(entries: &[Entry], circumstances: &Circumstances) -> String {
    let mut lines = circumstances.remarks.clone();
    for Entry { variant, samples, .. } in entries.iter().filter(|entry| entry.samples.failed()) {
        let all = samples.all.good.saturating_add(samples.all.failures);
        let first = samples.all.first_failure.as_deref().unwrap_or("no answer at all");
        let (failures, all) = (grouped(samples.all.failures), grouped(all));
        lines.push(format!(
            "{FAILED} {}: {failures} of {all} requests failed, the first with: {first}",
            variant.name
        ));
    }
    let all = circumstances.shares.elapsed_us.saturating_mul(circumstances.processors);
    if ratio_milli(circumstances.shares.others_us, all).is_some_and(|milli| milli > OTHERS_MILLI_MAX) {
        lines.push("the machine was doing something else as well: do not rely on these numbers".to_owned());
    }
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<_> = lines.iter().map(|line| format!("- {}", line.replace(['\n', '\r'], " "))).collect();
    format!("Remarks:\n\n{}\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::target::Tally;
    use crate::variant::ALL;

    fn entry(name: &str, rps: u64, failures: u64) -> Entry {
        let variant = *ALL.iter().find(|variant| variant.name == name).unwrap();
        let level = Level { rps, p50_us: 730, workerd_ns: 96_240, beside_ns: 0 };
        let all = Tally {
            good: 200,
            hops: 2,
            failures,
            first_failure: Some("500 no".to_owned()),
            ..Tally::default()
        };
        let samples = Samples { levels: [vec![level], vec![level]], low_us: vec![vec![180, 900]], all };
        Entry { variant, server: 0, samples }
    }

    fn report(entries: &[Entry], others_us: u64) -> String {
        let shares = Shares { elapsed_us: 1_000_000, generator_us: 300_000, others_us };
        let circumstances = Circumstances {
            day: "2026-11-23".to_owned(),
            machine: "2 × processor".to_owned(),
            processors: 2,
            versions: "workerd 1".to_owned(),
            command: "cargo xtask bench".to_owned(),
            load: "0.01".to_owned(),
            shares,
            remarks: Vec::new(),
        };
        write(&Options::parse_from(["bench"]), entries, &circumstances)
    }

    #[test]
    fn ratios_are_those_of_good_variants() {
        let text = report(&[entry("js-headers", 10_000, 0), entry("meter", 9_204, 0)], 0);
        let row = text.lines().find(|line| line.contains("meter : js-headers")).unwrap();
        assert_eq!(
            row.split_whitespace().collect::<Vec<_>>().join(" "),
            "| meter : js-headers | 0.92 | 0.92 | 1.00 | +0.00 ms |"
        );
        assert!(text.contains("30.0 % of one processor") && text.contains("99.0 %"), "{text}");
        assert!(!text.contains("Remarks") && !text.contains(FAILED), "{text}");
    }

    #[test]
    fn failures_are_marked_everywhere() {
        let text = report(&[entry("js-headers", 10_000, 0), entry("meter", 9_204, 3)], 400_000);
        let row = text.lines().find(|line| line.contains("meter : js-headers")).unwrap();
        assert!(!row.contains("0.92") && row.contains(FAILED), "{row}");
        assert_eq!(text.matches("meter ✗").count(), 2, "{text}");
        assert!(text.contains("meter: 3 of 203 requests failed, the first with: 500 no"), "{text}");
        assert!(text.contains("do not rely on these numbers"));
    }
}
