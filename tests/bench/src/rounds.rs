//! The rounds: every variant in turn, one after the other and never two at once.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::options::{CONNECTIONS, Options, WARM_UP};
use crate::parts::Server;
use crate::samples::{Level, Samples};
use crate::stats::{per, percentile};
use crate::target::{Tally, Target};
use crate::variant::Variant;
use crate::{clock, closed, format, interrupt, open, usage};

/// A variant, the server that answers it, and what it has shown.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The variant.
    pub(crate) variant: Variant,
    /// Which of the servers answers it.
    pub(crate) server: usize,
    /// What it has shown.
    pub(crate) samples: Samples,
}

/// How the processors were used while the rounds ran.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shares {
    /// How long the rounds took.
    pub(crate) elapsed_us: u64,
    /// What the load generator used.
    pub(crate) generator_us: u64,
    /// What neither the generator nor the measured programs used; the kernel's own work is in it.
    pub(crate) others_us: u64,
}

/// Runs all rounds.
pub(crate) fn run(options: &Options, servers: &mut [Server], entries: &mut [Entry]) -> Result<Shares> {
    let before = Used::now(servers)?;
    for round in 0..options.rounds() {
        // Every second round goes backwards, so that nobody always follows the same neighbour.
        let mut order: Vec<&mut Entry> = entries.iter_mut().collect();
        if !round.is_multiple_of(2) {
            order.reverse();
        }
        for entry in order {
            interrupt::check()?;
            show(options, round, entry.variant.name);
            let server = servers.get_mut(entry.server).context("an entry without a server")?;
            visit(options, server, entry)?;
            server.check_alive()?;
        }
        finish_line(options, round);
    }
    Ok(Used::now(servers)?.since(&before))
}

/// One variant's part of a round.
fn visit(options: &Options, server: &mut Server, entry: &mut Entry) -> Result<()> {
    // What another variant has left in a process's memory is not this one's cost.
    server.renew()?;
    let target = server.target(&entry.variant);
    let samples = &mut entry.samples;
    let [fewest, _] = CONNECTIONS;
    samples.count(&closed::run(&target, fewest, WARM_UP)?);
    for (connections, rounds) in CONNECTIONS.into_iter().zip(&mut samples.levels) {
        interrupt::check()?;
        let before = processes(server)?;
        let tally = closed::run(&target, connections, options.window())?;
        let after = processes(server)?;
        let used = |at: fn(&[u64; 2]) -> u64| {
            per(at(&after).saturating_sub(at(&before)).saturating_mul(1_000), tally.good)
        };
        rounds.push(Level {
            rps: per_second(tally.in_time, options.window()),
            p50_us: percentile(&tally.latencies_us, 500).unwrap_or_default(),
            workerd_ns: used(|[workerd, _]| *workerd).unwrap_or_default(),
            beside_ns: used(|[_, beside]| *beside).unwrap_or_default(),
        });
        samples.all.add(Tally { latencies_us: Vec::new(), ..tally });
    }
    interrupt::check()?;
    low_rate(options, &target, samples)
}

fn low_rate(options: &Options, target: &Target, samples: &mut Samples) -> Result<()> {
    let tally = open::run(target, options.rate, options.low_window())?;
    samples.count(&tally);
    samples.low_us.push(tally.latencies_us);
    Ok(())
}

fn per_second(answers: u64, window: Duration) -> u64 {
    let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    per(answers.saturating_mul(1_000), window_ms).unwrap_or_default()
}

/// What workerd and the process behind it have used so far.
fn processes(server: &Server) -> Result<[u64; 2]> {
    let beside = server.beside_pid().map_or(Ok(0), usage::of_process)?;
    Ok([server.workerd_us()?, beside])
}

/// Processor time used so far.
#[derive(Debug)]
struct Used {
    at: Instant,
    generator_us: u64,
    measured_us: u64,
    machine_us: u64,
}

impl Used {
    fn now(servers: &[Server]) -> Result<Self> {
        let mut pids: Vec<u32> = servers.iter().filter_map(Server::beside_pid).collect();
        // Redis stands behind two servers.
        pids.sort_unstable();
        pids.dedup();
        let beside_us = pids.into_iter().map(usage::of_process).sum::<Result<u64>>()?;
        let workerd_us = servers.iter().map(Server::workerd_us).sum::<Result<u64>>()?;
        let generator_us = usage::of_process(std::process::id())?;
        let measured_us = beside_us.saturating_add(workerd_us);
        Ok(Self { at: clock::now(), generator_us, measured_us, machine_us: usage::of_machine()? })
    }

    fn since(&self, before: &Self) -> Shares {
        let generator_us = self.generator_us.saturating_sub(before.generator_us);
        let measured_us = self.measured_us.saturating_sub(before.measured_us);
        let machine_us = self.machine_us.saturating_sub(before.machine_us);
        Shares {
            elapsed_us: clock::micros_between(before.at, self.at),
            generator_us,
            others_us: machine_us.saturating_sub(generator_us).saturating_sub(measured_us),
        }
    }
}

/// A terminal's line is rewritten for each variant; a log gets one line per round.
fn show(options: &Options, round: u32, name: &str) {
    if stderr().is_terminal() {
        eprint!("\r\x1b[2K  … round {} of {}: {name}", round.saturating_add(1), options.rounds());
        stderr().flush().ok();
    }
}

fn finish_line(options: &Options, round: u32) {
    let clear = if stderr().is_terminal() { "\r\x1b[2K" } else { "" };
    let done = u64::from(round.saturating_add(1));
    eprintln!("{clear}  ✓ round {} of {}", format::grouped(done), options.rounds());
}
