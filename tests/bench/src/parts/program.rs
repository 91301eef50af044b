//! One running program: started with a log of its own, started anew when that is wanted, ended when it is dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{clock, interrupt, usage};

/// A program that does not answer after this long will not.
const READY_MAX: Duration = Duration::from_secs(20);
/// How much of a log is told when its program has failed.
const TAIL_LINES: usize = 15;

/// A running program.
#[derive(Debug)]
pub(super) struct Program {
    command: Command,
    child: Child,
    log: PathBuf,
    /// Processor time of those that were ended to start it anew.
    ended_us: u64,
}

impl Program {
    /// Starts it.
    pub(super) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = spawn(&mut command)?;
        Ok(Self { command, child, log: log.to_path_buf(), ended_us: 0 })
    }

    /// Ends it, and starts it anew.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.ended_us = self.used_us()?;
        self.child.kill()?;
        self.child.wait()?;
        self.child = spawn(&mut self.command)?;
        Ok(())
    }

    /// Processor time of all its processes so far.
    pub(super) fn used_us(&self) -> Result<u64> {
        Ok(self.ended_us.saturating_add(usage::of_process(self.pid())?))
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails once the program has ended by itself, with the end of its log.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} has ended ({status}):\n{}", self.log.display(), tail(&self.log)),
            None => Ok(()),
        }
    }

    /// Asks again and again until `ready` succeeds.
    pub(super) fn wait_until(&mut self, what: &str, ready: impl Fn() -> Result<()>) -> Result<()> {
        let begin = clock::now();
        loop {
            self.check_alive()?;
            interrupt::check()?;
            let Err(error) = ready() else { return Ok(()) };
            if clock::now().saturating_duration_since(begin) > READY_MAX {
                let told = tail(&self.log);
                return Err(
                    error.context(format!("{what} does not answer well within {READY_MAX:?}:\n{told}"))
                );
            }
            clock::pause();
        }
    }
}

fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has already ended cannot be killed, and nobody is left to tell of anything else.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let (_, last) = lines.split_at(lines.len().saturating_sub(TAIL_LINES));
    last.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_ends_with_its_owner_and_a_failed_one_tells_why() {
        let log = std::env::temp_dir().join(format!("bench-program-{}", std::process::id()));
        let start = |line: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", line]);
            Program::start(command, &log).unwrap()
        };
        let mut sleeping = start("exec sleep 600");
        let first = format!("/proc/{}", sleeping.pid());
        sleeping.restart().unwrap();
        let second = format!("/proc/{}", sleeping.pid());
        assert!(!Path::new(&first).exists() && Path::new(&second).exists());
        drop(sleeping);
        assert!(!Path::new(&second).exists());
        let mut failing = start("echo no such port; exit 3");
        let error = failing.wait_until("it", || bail!("not there")).unwrap_err().to_string();
        assert!(error.contains("no such port") && error.contains('3'), "{error}");
        fs::remove_file(log).unwrap();
    }
}
