//! Packages of the system, for what the tests need and no other registry has.
//!
//! It installs only as root, removes nothing, and leaves every system alone that has no `apt-get`.

use std::process::Command;

use anyhow::{Result, ensure};
use nix::unistd::geteuid;

use crate::config;
use crate::process::run;

/// Installs a package.
pub(crate) fn install(package: &str) -> Result<()> {
    ensure!(config::find_program("apt-get").is_some(), "there is no apt-get here");
    ensure!(geteuid().is_root(), "only root can install {package}");
    if install_once(package).is_err() {
        // Lists that are old name files that are gone.
        run("apt-get update", apt().arg("update"))?;
        install_once(package)?;
    }
    Ok(())
}

fn install_once(package: &str) -> Result<String> {
    let words = ["install", "--yes", "--no-install-recommends", "--no-remove", package];
    run(&format!("apt-get install {package}"), apt().args(words))
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
