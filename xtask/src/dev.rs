//! `cargo xtask dev`: from nothing to a running system with a demo project, in one command.
//!
//! Builds, starts aggregator, upstream, edge and a simulated Stripe, prepares the demo project, prints what to paste, and stays until
//! Ctrl-C. Everything it keeps lies in `target/dev`. It must never leave a process behind, and never touch data
//! outside that folder.

mod counters;
mod demo;
mod guide;
pub(crate) mod leftovers;
mod on_prem;
mod ports;
pub(crate) mod probe;
pub(crate) mod services;
mod settings;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::{Args, Parser};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::clock::{Stopwatch, human, pause};
use crate::edge::Bundle;
use crate::native::Programs;
use crate::process::interrupted;
use crate::{config, dashboard, edge, native, private, tools};
use counters::Counters;
use leftovers::Record;
use on_prem::OnPrem;
use ports::Addresses;
use services::Services;
use settings::Settings;

/// The name of the project that everything is tried with.
const PROJECT: &str = "demo";

/// Fewer open files than these are few for a server: some systems give 1,024.
const OPEN_FILES: u64 = 4_096;

/// What is built in every case.
const PROGRAMS: [&str; 10] =
    ["-p", "aggregator", "--bin", "meter", "-p", "tests", "--bin", "demo-upstream", "--bin", "fake-stripe"];

/// What `cargo xtask dev` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Data is kept in target/dev between runs: meter.db, homes/ or redis/, reporter/, logs/, and env (settings and keys,
mode 0600).
The limits of the demo project stay as they were unless an option changes them.

Examples:
  cargo xtask dev
  cargo xtask dev --fresh --plan community --rpm 100000 --included 50
  cargo xtask dev --on-prem
  cargo xtask dev --fresh --counters redis
  EDGE_LISTEN=127.0.0.1:9787 cargo xtask dev")]
pub(crate) struct Options {
    /// Forget the data of earlier runs
    #[arg(long)]
    fresh: bool,
    /// What holds the homes
    #[arg(long, value_enum, default_value = "durable_object")]
    counters: Counters,
    #[command(flatten)]
    limits: demo::Limits,
    #[command(flatten)]
    listen: ports::Listen,
    #[command(flatten)]
    on_prem: OnPrem,
}

/// The options alone, as another command reads them.
#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

impl Options {
    /// What is meant by these words after `cargo xtask dev`.
    pub(crate) fn of(words: &[&str]) -> Result<Self> {
        Ok(Line::try_parse_from([&["cargo xtask dev"], words].concat())?.options)
    }
}

/// Where `dev` keeps what.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn database_url(&self) -> String {
        format!("sqlite://{}", self.0.join("meter.db").display())
    }

    fn homes(&self) -> PathBuf {
        self.0.join("homes")
    }

    fn stripe(&self) -> PathBuf {
        self.0.join("stripe.json")
    }

    fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }
}

/// What everything is started from.
#[derive(Debug)]
struct Parts<'a> {
    workerd: PathBuf,
    bundle: Bundle,
    programs: &'a Programs,
}

/// A demo that runs.
#[derive(Debug)]
pub(crate) struct Demo {
    services: Services,
    /// Titles of lines to paste, and the lines.
    lines: Vec<(&'static str, String)>,
}

/// A run that has its folder and its addresses.
#[derive(Debug)]
struct Run<'a> {
    options: &'a Options,
    folder: Folder,
    record: Record,
    addresses: Addresses,
    watch: Stopwatch,
}

/// Builds, starts, prepares, prints, and waits for the end.
pub(crate) fn run(options: &Options) -> Result<()> {
    let run = Run::begin(options, config::target().join("dev"))?;
    // First, because it takes seconds and tells at once whether npm is there.
    let workerd = tools::workerd()?;
    dashboard::build()?;
    let programs = native::build("native programs", &[&PROGRAMS[..], options.on_prem.programs()].concat())?;
    run.start(&Parts { workerd, programs: &programs, bundle: edge::build()? })?.services.stay()
}

/// Starts a demo of its own in another folder, of programs that are built already.
pub(crate) fn start_in(folder: PathBuf, options: &Options, programs: &Programs) -> Result<Demo> {
    fs::create_dir_all(&folder)?;
    let run = Run::begin(options, folder)?;
    run.start(&Parts { workerd: tools::workerd()?, programs, bundle: edge::build()? })
}

impl<'a> Run<'a> {
    fn begin(options: &'a Options, folder: PathBuf) -> Result<Self> {
        let watch = Stopwatch::start();
        let record = Record::begin(&folder)?;
        let addresses = options.listen.check()?;
        options.on_prem.check_free()?;
        Ok(Self { options, folder: Folder(folder), record, addresses, watch })
    }

    /// Starts, prepares and prints.
    fn start(self, parts: &Parts<'_>) -> Result<Demo> {
        let (options, folder) = (self.options, &self.folder);
        // Each connection is an open file, and workerd ends where it may open no more.
        raise_open_files()?;
        let mut settings = prepare_folder(folder, options.fresh)?;
        self.addresses.write_to(&mut settings);
        options.on_prem.announce(&mut settings);
        settings.simulate_stripe(self.addresses.stripe.is_some().then(|| folder.stripe()).as_deref())?;
        settings.set("DATABASE_URL", folder.database_url());
        // Whoever tries webhooks out has a receiver on this machine.
        settings.set("METER_WEBHOOKS_ALLOW_LOOPBACK", "1".to_owned());

        // Building took a while: another process may have taken a port meanwhile.
        self.addresses.check_free()?;
        let mut services = Services::new(self.record);
        options.counters.start(&mut services, &mut settings, &folder.0)?;
        settings.save()?;
        parts.start(&mut services, &settings, &self.addresses, folder)?;
        let meter = parts.programs.get("meter")?;
        let project = demo::prepare(&mut settings, meter, &options.limits)?;
        services.wait_for_policy(&project, self.addresses.edge, settings.get("PROJECT_KEY")?)?;

        options.on_prem.start(&mut services, &mut settings, parts.programs, &folder.0)?;
        let sign_in = demo::sign_in(&settings, meter)?;
        let lines = [guide::curl_lines(&settings), options.on_prem.lines(&settings)].concat();
        guide::print(&settings, (&project, &sign_in), &lines, &human(self.watch.elapsed()));
        Ok(Demo { services, lines })
    }
}

impl Parts<'_> {
    /// Starts the aggregator, the upstream, the edge and a simulated Stripe, and waits until they answer.
    fn start(
        &self,
        services: &mut Services,
        settings: &Settings,
        addresses: &Addresses,
        folder: &Folder,
    ) -> Result<()> {
        let logs = folder.logs();
        if let Some(stripe) = addresses.stripe {
            let mut program = Command::new(self.programs.get("fake-stripe")?);
            services.start("stripe", settings.give_to(&mut program), &logs)?;
            services.wait_for("stripe", stripe, "/healthz")?;
        }
        let mut meter = Command::new(self.programs.get("meter")?);
        services.start("aggregator", settings.give_to(meter.arg("serve")), &logs)?;
        let mut upstream = Command::new(self.programs.get("demo-upstream")?);
        services.start("upstream", settings.give_to(&mut upstream), &logs)?;
        services.wait_for("aggregator", addresses.aggregator, "/readyz")?;
        services.wait_for("upstream", addresses.upstream, "/healthz")?;
        let mut edge = workerd_command(&self.workerd, &self.bundle.workerd_config(), addresses, folder);
        services.start("edge", settings.give_to(&mut edge), &logs)?;
        services.wait_for("edge", addresses.edge, "/healthz")
    }
}

impl Demo {
    /// The lines to paste that were printed, with their titles.
    pub(crate) fn lines(&self) -> &[(&'static str, String)] {
        &self.lines
    }

    /// Ends one of its services, if it runs.
    pub(crate) fn end(&mut self, service: &str) -> Result<()> {
        self.services.end(service)
    }

    /// Ends all of it.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.services.stop()
    }
}

/// Raises the limit of open files as far as this process may; what it starts has the same.
fn raise_open_files() -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit of open files")?;
    }
    if hard < OPEN_FILES {
        eprintln!(
            "  only {hard} files may be open here (ulimit -Hn): more connections than that end the edge"
        );
    }
    Ok(())
}

/// Makes the folder and its settings, or takes those of an earlier run.
fn prepare_folder(folder: &Folder, fresh: bool) -> Result<Settings> {
    if fresh {
        forget(&folder.0).with_context(|| format!("cannot empty {}", folder.0.display()))?;
    }
    for path in [folder.homes(), folder.logs()] {
        private::folder(&path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    Settings::open(&folder.0)
}

/// Removes everything but the file by which this run holds the folder.
fn forget(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_name() != leftovers::FILE {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The edge: workerd with the bundle; secrets come by environment, addresses by flags.
fn workerd_command(workerd: &Path, config: &Path, addresses: &Addresses, folder: &Folder) -> Command {
    let mut command = Command::new(workerd);
    command.arg("serve").arg(config);
    command.arg("--socket-addr").arg(format!("edge={}", addresses.edge));
    command.arg("--external-addr").arg(format!("aggregator={}", ports::reachable(addresses.aggregator)));
    command.arg("--external-addr").arg(format!("upstream={}", ports::reachable(addresses.upstream)));
    command.arg("--directory-path").arg(format!("homes={}", folder.homes().display()));
    command
}

impl Services {
    /// Stays until a signal comes or a service dies, and ends the rest.
    #[expect(clippy::print_stdout, reason = "the end is part of this command's result")]
    fn stay(mut self) -> Result<()> {
        loop {
            if interrupted() {
                println!("stopping …");
                self.stop()?;
                println!("stopped; the data is kept in target/dev");
                return Ok(());
            }
            self.check_alive()?;
            pause();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_started_may_open_as_many_files_as_the_system_lets_us() {
        raise_open_files().unwrap();
        let shell = Command::new("sh").args(["-c", "ulimit -Sn; ulimit -Hn"]).output().unwrap();
        let said = String::from_utf8(shell.stdout).unwrap();
        let (soft, hard) = said.trim().split_once('\n').unwrap();
        assert_eq!(soft, hard);
    }
}
