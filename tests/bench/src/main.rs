//! The edge benchmark: our worker beside what one would write instead, in one run.
//!
//! Loads every variant's workerd in turn, a new one each time, and reports medians and ratios. It must never average a
//! failure away, and never leave a process behind.

mod clock;
mod closed;
mod config;
mod document;
mod format;
mod interrupt;
mod machine;
mod open;
mod options;
mod parts;
mod processors;
mod report;
mod response;
mod rounds;
mod samples;
#[cfg(test)]
mod stand_in;
mod stats;
mod target;
mod told;
mod usage;
mod variant;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use open::Line;
use options::Options;
use parts::{Places, Redis, Scratch, Server};
use report::Circumstances;
use rounds::Entry;
use samples::Samples;
use variant::{Serve, Variant};

/// Numbers in a body have more digits or fewer as the count goes on.
const BODY_BYTES_DIFFERENCE_MAX: usize = 16;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn run(options: &Options) -> Result<()> {
    options.check()?;
    interrupt::catch()?;
    let load = kit::machine::load();
    let processors = processors::count()?;
    let mut remarks = Vec::new();
    let mut variants = options.variants();
    let places = find_places(&variants, processors, &mut remarks)?;
    // The scratch folder comes before whatever runs in it, so that it is removed after that has ended.
    let scratch = Scratch::new(&config::root().join("target").join("bench"))?;
    let redis = start_redis(&scratch, &mut variants, &mut remarks)?;
    ensure!(!variants.is_empty(), "there is nothing left to measure: {}", remarks.join("; "));
    for remark in &remarks {
        eprintln!("  note: {remark}");
    }
    let seconds = options.duration(variants.len()).as_secs();
    eprintln!("  {} variants, {} rounds: about {seconds} s", variants.len(), options.rounds());

    let (mut servers, mut entries) = start_servers(&variants, &places, &scratch, redis.as_ref())?;
    remarks.extend(odd_answers(&servers, &entries)?);
    let shares = rounds::run(options, &mut servers, &mut entries)?;

    let workerd = machine::version(&places.workerd);
    let circumstances = Circumstances {
        day: clock::today().to_string(),
        machine: machine::describe(scratch.path()),
        processors: u64::try_from(processors)?,
        versions: redis.map_or(workerd.clone(), |redis| format!("{workerd}, Redis {}", redis.version())),
        command: config::command_line(),
        load,
        shares,
        remarks,
    };
    let text = report::write(options, &entries, &circumstances);
    println!("\n{text}");
    if let Some(file) = options.output(&config::root()) {
        document::write(&file, &text)?;
        eprintln!("  ✓ written to {}", file.display());
    }
    // After the loads, so that the system is idle.
    if let Some(server) = servers.iter().find(|server| server.meter().is_some()) {
        println!("{}", told::run(server)?.unwrap_or_default());
    }
    let failed = entries.iter().filter(|entry| entry.samples.failed()).count();
    ensure!(failed == 0, "{failed} of {} variants had failures; the report says which", entries.len());
    Ok(())
}

/// Finds the programs, and remarks on what is not as it should be.
fn find_places(variants: &[Variant], processors: usize, remarks: &mut Vec<String>) -> Result<Places> {
    let workerd = config::workerd()?;
    let processor = processors::leave_one(processors);
    if processor.is_none() {
        remarks.push("workerd shares its processor: there is only one, or no `taskset`".to_owned());
    }
    if !variants.iter().any(|variant| variant.serve.is_ours()) {
        return Ok(Places { workerd, processor, ours: None });
    }
    let (bundle, meter) = (config::bundle()?, config::meter()?);
    if meter.components().any(|part| part.as_os_str() == "debug") {
        remarks.push(
            "the aggregator is not optimised: it takes more of the processors than it needs".to_owned(),
        );
    }
    Ok(Places { workerd, processor, ours: Some((bundle, meter)) })
}

/// Starts Redis if a variant wants it; leaves those out if there is none.
fn start_redis(
    scratch: &Scratch,
    variants: &mut Vec<Variant>,
    remarks: &mut Vec<String>,
) -> Result<Option<Redis>> {
    let wants = |variant: &Variant| variant.serve.wants_redis();
    if !variants.iter().any(wants) {
        return Ok(None);
    }
    match parts::find_redis() {
        Ok(file) => Redis::start(&file, &scratch.subfolder("redis")?).map(Some),
        Err(error) => {
            leave_out(variants, remarks, &error.to_string(), wants);
            Ok(None)
        }
    }
}

fn leave_out(
    variants: &mut Vec<Variant>,
    remarks: &mut Vec<String>,
    why: &str,
    which: impl Fn(&Variant) -> bool,
) {
    for variant in variants.extract_if(.., |variant| which(variant)) {
        remarks.push(format!("{} was left out: {why}", variant.name));
    }
}

/// Starts a server for each variant; those that differ only by what they are asked share one.
fn start_servers(
    variants: &[Variant],
    places: &Places,
    scratch: &Scratch,
    redis: Option<&Redis>,
) -> Result<(Vec<Server>, Vec<Entry>)> {
    let (mut servers, mut entries) = (Vec::<Server>::new(), Vec::new());
    for variant in variants {
        let server = match servers.iter().position(|server| server.answers(variant)) {
            Some(server) => server,
            None => {
                servers.push(Server::start(variant, places, scratch, redis)?);
                servers.len().saturating_sub(1)
            }
        };
        entries.push(Entry { variant: *variant, server, samples: Samples::default() });
    }
    eprintln!("  ✓ {} servers answer", servers.len());
    Ok((servers, entries))
}

/// Says which variants' answers carry other headers than ours, or are longer or shorter: the comparison would not
/// be fair.
fn odd_answers(servers: &[Server], entries: &[Entry]) -> Result<Vec<String>> {
    let mut remarks = Vec::new();
    for entry in entries.iter().filter(|entry| entry.variant.name != "js-ok") {
        let same =
            |ours: &&Entry| ours.variant.serve == Serve::Meter && ours.variant.path == entry.variant.path;
        let Some(ours) = entries.iter().find(same) else { continue };
        let ((headers, length), (our_headers, our_length)) = (shape(servers, entry)?, shape(servers, ours)?);
        let (name, our_name) = (entry.variant.name, ours.variant.name);
        if headers != our_headers {
            remarks.push(format!("{name} answers the headers {headers:?}, {our_name} {our_headers:?}"));
        }
        if length.abs_diff(our_length) > BODY_BYTES_DIFFERENCE_MAX {
            remarks.push(format!("{name} answers a body of {length} bytes, {our_name} of {our_length}"));
        }
    }
    Ok(remarks)
}

/// The names of the headers of a variant's answer, and the length of its body.
fn shape(servers: &[Server], entry: &Entry) -> Result<(BTreeSet<String>, usize)> {
    let target = servers.get(entry.server).context("an entry without a server")?.target(&entry.variant);
    Line::connect(target.address)?.send(&target.request(), |response| {
        let names = response.headers().map(|(name, _)| name.to_ascii_lowercase()).collect();
        (names, response.body.len())
    })
}
