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
/// What makes a server a sentinel.
const SENTINEL: &str = "--sentinel";
/// What makes an acknowledged write last.
pub const LASTING: [&str; 6] = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];

/// A running server; it ends with its owner.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    stood_still: bool,
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
        let mut redis = Self { child, stood_still: false, program, folder, address, settings };
        redis.wait()?;
        Ok(redis)
    }

    /// Starts a sentinel that watches a primary by that name, and gives it up where `quorum` of them have not heard
    /// from it for so long.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn watch(
        program: &Path,
        folder: &Path,
        (name, primary): (&str, SocketAddr),
        (quorum, down_after): (u32, Duration),
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let file = folder.join("sentinel.conf");
        let (ip, port, down_after) = (primary.ip(), primary.port(), down_after.as_millis());
        fs::write(
            &file,
            format!(
                "sentinel monitor {name} {ip} {port} {quorum}\n\
                 sentinel down-after-milliseconds {name} {down_after}\n\
                 sentinel failover-timeout {name} 10000\n\
                 sentinel parallel-syncs {name} 9\n"
            ),
        )?;
        let file = file.to_str().context("the folder's name is no text")?;
        // The file comes first among the words that a server is started with.
        Self::start(program, folder, &[SENTINEL, file])
    }

    /// Asks it something; an answer of several lines is told as it comes.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub fn ask(&self, words: &[&str]) -> Result<String> {
        let said = ask(self.address, words)?;
        if said.starts_with('-') { bail!("{words:?}: {said}") } else { Ok(said) }
    }

    /// Stops it as a machine does that is short of memory or is moved: its connections stay.
    ///
    /// # Errors
    /// When it is not there.
    pub fn stand_still(&mut self) -> Result<()> {
        self.stood_still = true;
        self.signal("-STOP")
    }

    /// Lets it go on after [`Redis::stand_still`].
    ///
    /// # Errors
    /// When it is not there.
    pub fn go_on(&mut self) -> Result<()> {
        self.stood_still = false;
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { bail!("kill {signal}: {status}") }
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
        if self.stood_still {
            self.go_on().ok();
        }
        // Killing what has already ended does nothing; there is nobody left to tell of a failure.
        self.kill().ok();
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("redis.log")
}

fn launch(program: &Path, folder: &Path, address: SocketAddr, settings: &[String]) -> Result<Child> {
    let file = OpenOptions::new().create(true).append(true).open(log(folder))?;
    let mut command = match settings {
        [mode, file, settings @ ..] if mode == SENTINEL => {
            let mut command = Command::new(program);
            command.arg(file).arg(SENTINEL).args(settings);
            place(&mut command, folder, address);
            command
        }
        settings => {
            let mut command = command(program, folder, address);
            command.args(settings);
            command
        }
    };
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    command.spawn().with_context(|| format!("cannot start {}", program.display()))
}

/// What starts that program in a folder, which must be there.
#[must_use]
pub fn command(program: &Path, folder: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(program);
    place(&mut command, folder, address);
    command.args(["--repl-diskless-sync-delay", "0"]);
    command
}

fn place(command: &mut Command, folder: &Path, address: SocketAddr) {
    command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
    command.arg("--dir").arg(folder);
}

/// Asks a server something, and tells what it says until it says no more.
///
/// # Errors
/// When there is none.
pub fn ask(address: SocketAddr, words: &[&str]) -> Result<String> {
    const PATIENCE: Duration = Duration::from_secs(5);
    // What comes before the second answer is the first.
    const LAST: &[u8] = b"+PONG\r\n";
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "{}\r\nPING\r\n", words.join(" "))?;
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    while !said.ends_with(LAST) {
        let count = stream.read(&mut piece)?;
        let piece = piece.get(..count).filter(|piece| !piece.is_empty());
        said.extend_from_slice(piece.context("the server has closed the connection")?);
    }
    said.truncate(said.len().saturating_sub(LAST.len()));
    Ok(String::from_utf8(said)?)
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
