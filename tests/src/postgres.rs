//! A private Postgres server on a free port, with safe settings. It dies with its owner and leaves nothing.
//!
//! Its data is in memory where the system has a folder there: what `kill -9` leaves behind is the same, and
//! a sync costs nothing. Postgres refuses to run as root, so root runs it as another user.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::{User, geteuid};

use crate::config;
use crate::poll::eventually;
use crate::program::Program;
use crate::small_disk;

/// It recovers from a kill within seconds; machines that run other tests take longer.
const READY_MAX: Duration = Duration::from_secs(60);

/// How long it may take to stop at once.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Enough for several aggregators and all tests of a run.
const CONNECTIONS_MAX: &str = "max_connections=300";

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    program: Option<Program>,
    programs: PathBuf,
    folder: PathBuf,
    user: Option<User>,
    address: SocketAddr,
    /// Beside those that every server of the tests has.
    settings: Vec<String>,
    /// Where a small disk of its own is, if it has one.
    small_disk: Option<PathBuf>,
}

/// Room for an empty database, which Postgres copies, and for some rows.
const SMALL_BYTES: &str = "32m";

impl Postgres {
    /// Makes an empty server and waits until it answers.
    ///
    /// # Errors
    /// When Postgres is not installed or does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[], &[]).await
    }

    /// As [`Postgres::start`], with settings such as `fsync=off`, and with files beside its data: their names and what
    /// is in them. `../<name>` is where it finds them.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn start_with(settings: &[&str], files: &[(&str, &str)]) -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        Self::start_in(parent, settings, files, false).await
    }

    /// As [`Postgres::start`], with its data on a disk, where a sync costs what it costs.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn start_on_disk() -> Result<Self> {
        Self::start_in(std::env::temp_dir(), &[], &[], false).await
    }

    /// As [`Postgres::start`], with a small disk of its own on which [`Postgres::create`] makes databases. Its log is
    /// elsewhere: without room for that it ends itself.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn start_on_small_disk() -> Result<Self> {
        let server = Self::start_in(std::env::temp_dir(), &[], &[], true).await?;
        let place = server.small_disk.as_ref().context("a small disk")?.display();
        server.client("psql", &["--command", &format!("CREATE TABLESPACE small LOCATION '{place}'")])?;
        Ok(server)
    }

    /// Takes all the room of its small disk.
    ///
    /// # Errors
    /// When it has none, or cannot be written to.
    pub fn fill(&self) -> Result<()> {
        self.on_small_disk("cat /dev/zero >> filler 2> /dev/null; [ -s filler ]")
    }

    /// Gives back what [`Postgres::fill`] took.
    ///
    /// # Errors
    /// As [`Postgres::fill`].
    pub fn make_room(&self) -> Result<()> {
        self.on_small_disk("rm filler")
    }

    /// Runs shell lines there, as the server's user: to its disk nobody else is known.
    fn on_small_disk(&self, lines: &str) -> Result<()> {
        let place = self.small_disk.as_ref().context("it has no small disk")?;
        let place = small_disk::as_seen_by(self.pid()?, place)?;
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("cd '{}' && {{ {lines}; }}", place.display()));
        let output = self.as_user(shell).output()?;
        ensure!(output.status.success(), "{lines}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Its process, whose children all others of it are.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.program.as_ref().context("it is not running")?.pid())
    }

    async fn start_in(
        parent: PathBuf,
        settings: &[&str],
        files: &[(&str, &str)],
        has_small_disk: bool,
    ) -> Result<Self> {
        let programs = config::postgres_programs()?;
        let address = kit::ports::free()?;
        let folder = parent.join(format!("meter-postgres-{}-{}", std::process::id(), address.port()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let small_disk = has_small_disk.then(|| folder.join("small"));
        let mut server =
            Self { program: None, programs, folder, user: other_user()?, address, settings, small_disk };
        server.init()?;
        for (name, text) in files {
            server.keep_secret(name, text)?;
        }
        server.begin().await?;
        Ok(server)
    }

    /// Writes a file that nobody else may read: a key that others can read is refused.
    fn keep_secret(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        if let Some(user) = &self.user {
            std::os::unix::fs::chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        Ok(())
    }

    /// The URL of a database of this server.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address)
    }

    /// Makes an empty database and says its URL.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn create(&self, database: &str) -> Result<String> {
        let place: &[&str] = if self.small_disk.is_some() { &["--tablespace", "small"] } else { &[] };
        self.client("createdb", &[place, &[database]].concat())?;
        Ok(self.url(database))
    }

    fn client(&self, name: &str, arguments: &[&str]) -> Result<()> {
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        let mut client = self.command(name);
        client.args(["--host", &host, "--port", &port, "--username", "postgres"]);
        let output = client.args(arguments).output()?;
        ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// What it is started with from now on, beside what every server of the tests has.
    pub fn set(&mut self, settings: &[&str]) {
        self.settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
    }

    /// `kill -9` of the server; its sessions end with it.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self) -> Result<()> {
        self.program.take().context("it is not running")?.kill()
    }

    /// Starts it on the data that it has, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn begin(&mut self) -> Result<()> {
        let log = self.folder.join("log");
        let launch = || {
            let mut command = self.command("postgres");
            let (port, address) = (self.address.port().to_string(), self.address.ip().to_string());
            command.arg("-D").arg(self.folder.join("data")).arg("-k").arg(&self.folder);
            command.args(["-p", &port, "-h", &address, "-c", CONNECTIONS_MAX, "-c", "max_wal_size=128MB"]);
            // Shared memory in its folder goes with the folder, however it ends.
            command.args(["-c", "dynamic_shared_memory_type=mmap"]);
            command.args(self.settings.iter().flat_map(|setting| ["-c", setting]));
            if let Some(place) = &self.small_disk {
                command = self.as_user(small_disk::on_small_disk(&command, place, SMALL_BYTES, false));
            }
            Program::start(&mut command, &log)
        };
        let mut program = launch()?;
        let mut ready = self.command("pg_isready");
        ready.args(["-q", "-h", &self.address.ip().to_string(), "-p", &self.address.port().to_string()]);
        eventually("postgres", READY_MAX, async || {
            // Sessions of the one that was killed may hold its memory for a moment.
            if program.check_alive().is_err() {
                program = launch()?;
            }
            Ok(ready.status()?.success().then_some(()))
        })
        .await?;
        self.program = Some(program);
        Ok(())
    }

    fn init(&self) -> Result<()> {
        if let Some(user) = &self.user {
            std::os::unix::fs::chown(&self.folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        if let Some(place) = &self.small_disk {
            fs::create_dir(place)?;
            if let Some(user) = &self.user {
                std::os::unix::fs::chown(place, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
            }
        }
        let mut initdb = self.command("initdb");
        initdb.arg("-D").arg(self.folder.join("data"));
        initdb.args(["-A", "trust", "-U", "postgres", "--locale=C", "--encoding=UTF8", "--no-sync"]);
        let output = initdb.stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.env("LC_ALL", "C");
        self.as_user(command)
    }

    fn as_user(&self, mut command: Command) -> Command {
        command.current_dir(&self.folder);
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Asked, it gives back what the system keeps of one that is killed.
        if let Some(mut program) = self.program.take() {
            program.quit(STOP_MAX).ok();
        }
        // A folder that stays behind fails nothing.
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// Whom root runs Postgres as; nobody else where we are not root.
fn other_user() -> Result<Option<User>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(Some(user));
        }
    }
    bail!("Postgres refuses to run as root, and there is neither a user postgres nor nobody")
}
