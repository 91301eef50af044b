//! One running program: started with a log of its own, ended when it is dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{clock, interrupt};

/// A program that does not answer after this long will not.
const READY_MAX: Duration = Duration::from_secs(20);
/// How much of a log is told when its program has failed.
const TAIL_LINES: usize = 15;

/// A running program.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it.
    pub(super) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child =
            command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child, log: log.to_path_buf() })
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
        let sleeping = Program::start(Command::new("sleep").arg("600"), &log).unwrap();
        let process = format!("/proc/{}", sleeping.pid());
        drop(sleeping);
        assert!(!Path::new(&process).exists());
        let mut failing =
            Program::start(Command::new("sh").args(["-c", "echo no such port; exit 3"]), &log).unwrap();
        let error = failing.wait_until("it", || bail!("not there")).unwrap_err().to_string();
        assert!(error.contains("no such port") && error.contains('3'), "{error}");
        fs::remove_file(log).unwrap();
    }
}
