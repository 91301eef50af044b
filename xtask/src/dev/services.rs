//! The running programs: started, watched, and ended together.
//!
//! It must never let one of them outlive xtask: they are ended on every way out, a panic included.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::leftovers::Record;
use super::{demo, ports, probe};
use crate::clock::{Stopwatch, pause};
use crate::private;
use crate::process::{Interrupted, STOP_GRACE, group_of, interrupted, signal_group, spawn_in_group, stop};
use crate::progress::Progress;

/// A program that has not answered after this long will not.
pub(super) const READY_MAX: Duration = Duration::from_secs(60);
/// A policy reaches the edge within seconds; one that does not is worth a word, but no reason to stop.
const POLICY_MAX: Duration = Duration::from_secs(15);
/// How much of a log is shown when its program dies.
const TAIL_LINES: usize = 20;

/// One running program.
#[derive(Debug)]
struct Service {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// All running programs.
#[derive(Debug)]
pub(crate) struct Services {
    running: Vec<Service>,
    record: Record,
}

impl Services {
    /// None yet.
    pub(crate) fn new(record: Record) -> Self {
        Self { running: Vec::new(), record }
    }

    /// Starts a program; what it writes goes to a log of its own.
    pub(crate) fn start(&mut self, name: &'static str, command: &mut Command, logs: &Path) -> Result<()> {
        let path = logs.join(format!("{name}.log"));
        let log = private::file(&path).with_context(|| format!("cannot write {}", path.display()))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = spawn_in_group(command)?;
        let pid = child.id();
        self.running.push(Service { name, child, log: path });
        self.record.add(name, pid)
    }

    /// Waits until a program answers; any answer below 500 shows that it is there.
    pub(crate) fn wait_for(&mut self, name: &str, address: SocketAddr, path: &str) -> Result<()> {
        let mut progress = Progress::start(&format!("{name} on {address}"));
        let watch = Stopwatch::start();
        while probe::get(ports::reachable(address), path, None).is_none_or(|answer| answer.status >= 500) {
            if let Err(error) = self.check_alive() {
                progress.failed();
                return Err(error);
            }
            if watch.passed(READY_MAX) {
                progress.failed();
                bail!("the {name} does not answer on {address}\n{}", self.tail(name));
            }
            progress.tick("waiting for an answer");
            pause();
        }
        progress.done();
        Ok(())
    }

    /// Waits until the edge enforces the limits that the aggregator names, so that what is pasted next meets them.
    pub(crate) fn wait_for_policy(&mut self, project: &Value, edge: SocketAddr, key: &str) -> Result<()> {
        if project.get("suspended") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        let mut progress = Progress::start("demo project at the edge");
        let watch = Stopwatch::start();
        let quota = || probe::get(ports::reachable(edge), "/v1/quota", Some(key))?.json();
        while !quota().is_some_and(|quota| demo::is_in_force(project, &quota)) {
            self.check_alive()?;
            if watch.passed(POLICY_MAX) {
                progress.failed();
                eprintln!("  the edge does not yet enforce the project's limits; see target/dev/logs");
                return Ok(());
            }
            progress.tick("waiting for its policy");
            pause();
        }
        progress.done();
        Ok(())
    }

    /// Fails when a program has died, or when a signal has come.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        if interrupted() {
            return Err(Interrupted.into());
        }
        for service in &mut self.running {
            if let Some(status) = service.child.try_wait()? {
                return Err(anyhow!("the {} has died ({status})\n{}", service.name, tail(&service.log)));
            }
        }
        Ok(())
    }

    /// Ends one program, if it runs.
    pub(crate) fn end(&mut self, name: &str) -> Result<()> {
        if let Some(at) = self.running.iter().position(|service| service.name == name) {
            stop(&mut self.running.remove(at).child, STOP_GRACE)?;
        }
        Ok(())
    }

    /// Ends all programs, the last one first: politely, then after [`STOP_GRACE`] with SIGKILL.
    pub(crate) fn stop(&mut self) -> Result<()> {
        for service in self.running.iter().rev() {
            signal_group(group_of(service.child.id())?, Signal::SIGTERM);
        }
        let watch = Stopwatch::start();
        for mut service in self.running.drain(..).rev() {
            while service.child.try_wait()?.is_none() {
                if watch.passed(STOP_GRACE) {
                    eprintln!(
                        "  the {} did not stop within {} s: killing it",
                        service.name,
                        STOP_GRACE.as_secs()
                    );
                    signal_group(group_of(service.child.id())?, Signal::SIGKILL);
                    service.child.wait()?;
                    break;
                }
                pause();
            }
        }
        self.record.clear()
    }

    fn tail(&self, name: &str) -> String {
        self.running
            .iter()
            .find(|service| service.name == name)
            .map(|service| tail(&service.log))
            .unwrap_or_default()
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if !self.running.is_empty() {
            eprintln!("  stopping the rest");
            self.stop().ok();
        }
    }
}

/// The end of a log, for an error message.
fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let (_, last) = lines.split_at(lines.len().saturating_sub(TAIL_LINES));
    if last.is_empty() {
        return format!("{} is empty", log.display());
    }
    format!("the end of {}:\n  {}", log.display(), last.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::super::leftovers::FILE;
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_dead_program_is_named_with_the_end_of_its_log() {
        let folder = folder("dead");
        let mut services = Services::new(Record::begin(&folder).unwrap());
        services
            .start("edge", Command::new("sh").args(["-c", "echo no such file; exit 3"]), &folder)
            .unwrap();
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        let error = services.wait_for("edge", nobody, "/").unwrap_err().to_string();
        for part in ["the edge has died", "3", "no such file"] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
        drop(services);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn nothing_outlives_the_services() {
        let folder = folder("outlive");
        let mut services = Services::new(Record::begin(&folder).unwrap());
        services.start("upstream", Command::new("sleep").arg("600"), &folder).unwrap();
        let pid = services.running[0].child.id();
        drop(services);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        assert_eq!(fs::read_to_string(folder.join(FILE)).unwrap(), "");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn long_logs_are_cut_at_the_front() {
        let folder = folder("tail");
        let log = folder.join("x.log");
        fs::write(&log, (1..=50).map(|number| format!("line {number}\n")).collect::<String>()).unwrap();
        let tail = tail(&log);
        assert!(
            tail.contains("line 31\n") && tail.ends_with("line 50") && !tail.contains("line 30\n"),
            "{tail}"
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
