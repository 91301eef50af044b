//! `target/dev/pids`: one run at a time, and what a run that was killed has left behind.
//!
//! The file is locked as long as the run lives, whatever ends it, and names its processes, so that the next run
//! can end those. It must never end a process that only has the number of an earlier one: number, start time and
//! boot must agree.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::clock::{Stopwatch, pause};
use crate::process::{STOP_GRACE, group_of, signal_group};

/// The file's name.
pub(super) const FILE: &str = "pids";

/// A process as the file names it.
#[derive(Debug, PartialEq, Eq)]
struct Recorded {
    name: String,
    pid: u32,
    started: String,
}

/// The record of this run's processes, which nobody else holds at the same time.
#[derive(Debug)]
pub(crate) struct Record(File);

impl Record {
    /// Takes the folder for this run, and ends what an earlier one left in it.
    pub(crate) fn begin(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(FILE);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("`cargo xtask dev` is running in {} already: stop that one first", folder.display())
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        let mut lines = String::new();
        file.read_to_string(&mut lines)?;
        end(&parse(&lines))?;
        let mut record = Self(file);
        record.clear()?;
        Ok(record)
    }

    /// Adds a process that has just been started.
    pub(super) fn add(&mut self, name: &str, pid: u32) -> Result<()> {
        if let Some(started) = started(pid) {
            writeln!(self.0, "{name} {pid} {started}")?;
        }
        Ok(())
    }

    /// Everything has ended: there is nothing to remember.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.0.set_len(0)?;
        self.0.rewind()?;
        Ok(())
    }
}

/// Ends those of the recorded processes that are alive.
fn end(recorded: &[Recorded]) -> Result<()> {
    let alive: Vec<_> = recorded.iter().filter(|process| is_alive(process)).collect();
    for process in &alive {
        eprintln!("  ending the {} (process {}), left by an earlier run", process.name, process.pid);
        signal_group(group_of(process.pid)?, Signal::SIGTERM);
    }
    let watch = Stopwatch::start();
    while alive.iter().any(|process| is_alive(process)) && !watch.passed(STOP_GRACE) {
        pause();
    }
    for process in alive.iter().filter(|process| is_alive(process)) {
        signal_group(group_of(process.pid)?, Signal::SIGKILL);
    }
    Ok(())
}

fn parse(lines: &str) -> Vec<Recorded> {
    let recorded = |line: &str| {
        let mut words = line.split(' ');
        Some(Recorded {
            name: words.next()?.to_owned(),
            pid: words.next()?.parse().ok()?,
            started: words.next()?.to_owned(),
        })
    };
    lines.lines().filter_map(recorded).collect()
}

fn is_alive(process: &Recorded) -> bool {
    started(process.pid).is_some_and(|started| started == process.started)
}

/// When a process was started, as the boot's id and the kernel's ticks since then; nothing if it has ended.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{}:{}", boot.trim(), start_ticks(&stat)?))
}

/// The start time is the 22nd field. The 2nd is the program's name, in parentheses, with anything inside; the
/// 3rd is the state, and a zombie has ended.
fn start_ticks(stat: &str) -> Option<&str> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;
    use crate::process::{spawn_in_group, stop};

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let fields = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_ticks(&format!("7 (a) b ) S {fields}")), Some("4711"));
        assert_eq!(start_ticks(&format!("7 (gone) Z {fields}")), None);
        assert_eq!(start_ticks("7"), None);
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn only_the_very_process_that_was_recorded_is_ended() {
        let folder = folder("leftovers");
        let mut recorded = spawn_in_group(Command::new("sleep").arg("600")).unwrap();
        let mut namesake = spawn_in_group(Command::new("sleep").arg("600")).unwrap();
        let lines = format!(
            "edge {} {}\nedge {} another-boot:1\n",
            recorded.id(),
            started(recorded.id()).unwrap(),
            namesake.id()
        );
        fs::write(folder.join(FILE), lines).unwrap();
        let record = Record::begin(&folder).unwrap();
        assert!(!recorded.wait().unwrap().success());
        assert!(namesake.try_wait().unwrap().is_none());
        assert_eq!(fs::read_to_string(folder.join(FILE)).unwrap(), "");
        stop(&mut namesake, STOP_GRACE).unwrap();
        drop(record);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_recorded_is_found_by_the_next_run() {
        let folder = folder("recorded");
        let mut record = Record::begin(&folder).unwrap();
        record.add("edge", std::process::id()).unwrap();
        let lines = fs::read_to_string(folder.join(FILE)).unwrap();
        assert!(parse(&lines).iter().all(is_alive), "{lines}");
        assert_eq!(parse(&lines).len(), 1);
        record.clear().unwrap();
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_run_that_is_going_is_not_disturbed() {
        let folder = folder("running");
        let record = Record::begin(&folder).unwrap();
        assert!(Record::begin(&folder).unwrap_err().to_string().contains("already"));
        drop(record);
        // A program that another test starts holds our file too for an instant, between its fork and its exec.
        let watch = Stopwatch::start();
        while let Err(error) = Record::begin(&folder) {
            assert!(!watch.passed(STOP_GRACE), "{error}");
            pause();
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
