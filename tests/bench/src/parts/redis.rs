//! A Redis of our own: for baselines with all of its persistence off, the fastest it can be, so that nothing that it
//! counts survives; for ours with all that homes ask for.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::program::Program;
use crate::config;
use crate::open::Line;

const INSTALL: [&str; 5] = ["apt-get", "install", "--yes", "--no-install-recommends", "redis-server"];

/// A running Redis.
#[derive(Debug)]
pub(crate) struct Redis {
    program: Program,
    file: PathBuf,
    address: SocketAddr,
    version: String,
}

impl Redis {
    /// Starts one on a free port that keeps nothing.
    pub(crate) fn start(file: &Path, folder: &Path) -> Result<Self> {
        Self::start_with(file, folder, &["--appendonly", "no"])
    }

    /// Starts one on a free port that has every write on the disk before it answers.
    pub(super) fn start_lasting(file: &Path, folder: &Path) -> Result<Self> {
        Self::start_with(
            file,
            folder,
            &["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"],
        )
    }

    fn start_with(file: &Path, folder: &Path, settings: &[&str]) -> Result<Self> {
        let address = kit::ports::free()?;
        let mut command = Command::new(file);
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--save", ""]).args(settings).arg("--dir").arg(folder);
        let mut program = Program::start(command, &folder.join("redis.log"))?;
        program.wait_until("Redis", || Line::connect(address).map(|_| ()))?;
        let told =
            Command::new(file).arg("--version").output().context("cannot ask Redis for its version")?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let version = told.split_whitespace().find_map(|word| word.strip_prefix("v="));
        let file = file.to_path_buf();
        Ok(Self { program, file, address, version: version.unwrap_or("of an unknown version").to_owned() })
    }

    /// What it was started from.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Its version.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }
}

/// The program; installed where it is missing and that is permitted. The error says what to type.
pub(crate) fn find_or_install() -> Result<PathBuf> {
    if let Some(file) = config::find_program("redis-server") {
        return Ok(file);
    }
    let by_hand = || format!("there is no redis-server; install it with: sudo {}", INSTALL.join(" "));
    let may = is_root() && config::find_program("apt-get").is_some();
    anyhow::ensure!(may, by_hand());
    eprintln!("  installing Redis: {}", INSTALL.join(" "));
    if !apt_get(&INSTALL) {
        // The package lists may be missing or old.
        apt_get(&["apt-get", "update"]);
        anyhow::ensure!(apt_get(&INSTALL), "apt-get could not install Redis; {}", by_hand());
    }
    config::find_program("redis-server").with_context(by_hand)
}

fn apt_get(words: &[&str]) -> bool {
    let Some((program, arguments)) = words.split_first() else { return false };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    // In a low run level the package does not start a server of its own.
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    command.status().is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
