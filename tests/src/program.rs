//! One running part: started with a log of its own, killed or asked to stop, never left behind.

use std::fs::{self, OpenOptions};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::poll::eventually;

/// How much of a log is told when its program has failed.
const TAIL_LINES: usize = 15;

/// A running program.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it; what it writes is appended to `log`, so that one log tells of all its lives.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child =
            command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child, log: log.to_path_buf() })
    }

    /// The same for a program that serves the connections of a socket, which it gets as its input.
    pub(crate) fn start_with_socket(command: &mut Command, log: &Path, socket: OwnedFd) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(socket).stdout(file.try_clone()?).stderr(file);
        let child =
            command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child, log: log.to_path_buf() })
    }

    /// Fails once the program has ended by itself, with the end of its log.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("it has ended ({status}); the end of its log:\n{}", tail(&self.log)),
            None => Ok(()),
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`: returns when the process is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGSTOP: the process stands still until it goes on.
    pub(crate) fn stop(&self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGSTOP)?;
        Ok(())
    }

    /// SIGCONT: it goes on.
    pub(crate) fn go_on(&self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGCONT)?;
        Ok(())
    }

    /// SIGQUIT, which some programs take for "at once, but tidily"; killed if it does not end.
    pub(crate) fn quit(&mut self, within: Duration) -> Result<()> {
        const PAUSE: Duration = Duration::from_millis(10);
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGQUIT)?;
        let mut waited = Duration::ZERO;
        while self.child.try_wait()?.is_none() {
            if waited >= within {
                return self.kill();
            }
            std::thread::sleep(PAUSE);
            waited = waited.saturating_add(PAUSE);
        }
        Ok(())
    }

    /// SIGTERM: returns how the process ended.
    pub(crate) async fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        eventually("a polite end", within, async || Ok(self.child.try_wait()?)).await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Killing what has already ended does nothing; there is nobody left to tell of a failure.
        self.kill().ok();
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let (_, last) = lines.split_at(lines.len().saturating_sub(TAIL_LINES));
    last.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[tokio::test]
    async fn a_program_is_stopped_politely_or_dies_with_its_owner() {
        let scratch = Scratch::new().unwrap();
        let log = scratch.path().join("log");
        let sleep = || Program::start(Command::new("sleep").arg("600"), &log).unwrap();
        let status = sleep().terminate(Duration::from_secs(5)).await.unwrap();
        assert!(!status.success());
        let owned = sleep();
        let process = format!("/proc/{}", owned.child.id());
        drop(owned);
        assert!(!Path::new(&process).exists());
    }

    #[tokio::test]
    async fn a_program_that_ended_is_reported_with_the_end_of_its_log() {
        let scratch = Scratch::new().unwrap();
        let mut command = Command::new("sh");
        let mut program =
            Program::start(command.args(["-c", "echo no such port; exit 3"]), &scratch.path().join("log"))
                .unwrap();
        let told = eventually("its end", Duration::from_secs(5), async || Ok(program.check_alive().err()));
        let error = told.await.unwrap().to_string();
        assert!(error.contains("no such port") && error.contains('3'), "{error}");
    }
}
