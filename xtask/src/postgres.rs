//! Postgres for tests: installed where it is missing, and a server of its own for each run.
//!
//! It must never touch a server or a database that it has not made.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::native::Programs;
use crate::process::{STOP_GRACE, spawn_in_group, stop};
use crate::{apt, config};

/// The package; the version is the system's.
const PACKAGE: &str = "postgresql";

/// A running server, which ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// The URL of the server's own database.
    pub(crate) url: String,
}

impl Server {
    /// Starts an empty one.
    pub(crate) fn start(programs: &Programs) -> Result<Self> {
        let mut command = Command::new(programs.get("test-postgres")?);
        // It ends with its standard input, also when we are killed.
        let mut child = spawn_in_group(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let stdout = child.stdout.take().context("a pipe")?;
        let mut url = String::new();
        BufReader::new(stdout).read_line(&mut url)?;
        let server = Self { child, url: url.trim().to_owned() };
        ensure!(server.url.starts_with("postgres://"), "Postgres for the tests does not start");
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        stop(&mut self.child, STOP_GRACE).ok();
    }
}

/// Makes sure that Postgres is installed.
pub(crate) fn ensure_installed() -> Result<()> {
    if is_installed() {
        return Ok(());
    }
    let by_hand = format!(
        "Debian and Ubuntu: sudo apt-get install {PACKAGE}\nFedora: sudo dnf install postgresql-server        macOS: brew install {PACKAGE}"
    );
    apt::install(PACKAGE).with_context(|| {
        format!("there is no Postgres, and the store is tested on it. Install it:\n{by_hand}")
    })?;
    ensure!(is_installed(), "apt-get reported success, but there is no Postgres. Install it:\n{by_hand}");
    Ok(())
}

/// Debian keeps the server's programs out of `PATH`, in a folder for each version.
fn is_installed() -> bool {
    let mut versions = Path::new("/usr/lib/postgresql").read_dir().into_iter().flatten().flatten();
    versions.any(|version| version.path().join("bin/initdb").is_file())
        || config::find_program("initdb").is_some()
}
