//! A Redis of one's own: Valkey's server on a free port, with a folder that its next life finds again.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::ports;

/// A server that has not answered after so many looks will not.
const LOOKS_MAX: u32 = 1_000;
/// Between two of them.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// What makes an acknowledged write last.
pub const LASTING: [&str; 6] = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];

/// A running server; it ends with its owner.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    program: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
    settings: Vec<String>,
}

impl Redis {
    /// Starts that program in a folder, which is made where it is missing.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(program: &Path, folder: &Path, settings: &[&str]) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let address = ports::free()?;
        let settings: Vec<String> = settings.iter().map(|word| (*word).to_owned()).collect();
        let child = launch(program, folder, address, &settings)?;
        let (program, folder) = (program.to_path_buf(), folder.to_path_buf());
        let mut redis = Self { child, program, folder, address, settings };
        redis.wait()?;
        Ok(redis)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `REDIS_URL` says of it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`: returns when the process is gone.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again on the same port and folder.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn begin(&mut self) -> Result<()> {
        self.child = launch(&self.program, &self.folder, self.address, &self.settings)?;
        self.wait()
    }

    fn wait(&mut self) -> Result<()> {
        for _ in 0..LOOKS_MAX {
            if answers(self.address).unwrap_or(false) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server has ended ({status}); its log is {}", log(&self.folder).display());
            }
            thread::sleep(LOOK_PAUSE);
        }
        bail!("the server does not answer; its log is {}", log(&self.folder).display())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Killing what has already ended does nothing; there is nobody left to tell of a failure.
        self.kill().ok();
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("redis.log")
}

fn launch(program: &Path, folder: &Path, address: SocketAddr, settings: &[String]) -> Result<Child> {
    let file = OpenOptions::new().create(true).append(true).open(log(folder))?;
    let mut command = command(program, folder, address);
    command.args(settings).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    command.spawn().with_context(|| format!("cannot start {}", program.display()))
}

/// What starts that program in a folder, which must be there.
#[must_use]
pub fn command(program: &Path, folder: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(program);
    command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
    command.args(["--repl-diskless-sync-delay", "0", "--dir"]).arg(folder);
    command
}

/// Whether a server takes commands: while it loads its file it says so instead.
///
/// # Errors
/// When there is none.
pub fn answers(address: SocketAddr) -> Result<bool> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"*1\r\n$4\r\nPING\r\n")?;
    let mut said = [0; 5];
    stream.read_exact(&mut said)?;
    Ok(&said == b"+PONG")
}
