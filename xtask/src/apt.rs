//! Packages of the system, for what the tests need and no other registry has.
//!
//! It installs only as root, removes nothing, and leaves every system alone that has no `apt-get`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::unistd::geteuid;

use crate::config;
use crate::process::run;

/// A program of the system, with its package installed where it is missing.
pub(crate) fn program(name: &str, package: &str) -> Result<PathBuf> {
    if let Some(program) = config::find_program(name) {
        return Ok(program);
    }
    install(package).with_context(|| {
        format!("there is no {name}, which tests need. Debian and Ubuntu: sudo apt-get install {package}")
    })?;
    config::find_program(name).with_context(|| format!("apt-get reported success, but there is no {name}"))
}

/// A program of a package that is unpacked below `target/tools/` and not installed: its services do not start, and it needs
/// no root. Where there is no `apt-get`, it is the system's.
pub(crate) fn unpacked(package: &str, program: &str) -> Result<PathBuf> {
    if config::find_program("apt-get").is_none() {
        return config::find_program(package)
            .with_context(|| format!("there is no {package}, which tests need. Install it, then try again"));
    }
    let folder = config::target().join("tools").join(package);
    // Written last, so that an interrupted unpacking is begun again.
    let stamp = folder.join("unpacked");
    if !stamp.is_file() {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        unpack(package, &folder)?;
        fs::write(&stamp, package)?;
    }
    let program = folder.join(program);
    ensure!(program.is_file(), "{package} has no {}", program.display());
    Ok(program)
}

/// A program of the system under another name, which tells it what to be; nothing is started by itself.
pub(crate) fn alias(name: &str, (program, package): (&str, &str)) -> Result<PathBuf> {
    let program = self::program(program, package)?;
    let folder = config::target().join("tools").join(package);
    fs::create_dir_all(&folder)?;
    let alias = folder.join(name);
    if fs::read_link(&alias).ok().as_ref() != Some(&program) {
        fs::remove_file(&alias).ok();
        symlink(&program, &alias).with_context(|| format!("{} cannot be made", alias.display()))?;
    }
    Ok(alias)
}

fn unpack(package: &str, folder: &Path) -> Result<()> {
    let download =
        || run(&format!("apt-get download {package}"), apt().args(["download", package]).current_dir(folder));
    if download().is_err() {
        // Lists that are old name files that are gone.
        run("apt-get update", apt().arg("update"))?;
        download()?;
    }
    let paths = fs::read_dir(folder)?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let archive = paths.into_iter().find(|path| path.extension().is_some_and(|end| end == "deb"));
    let archive = archive.with_context(|| format!("apt-get has downloaded no {package}"))?;
    run("dpkg-deb", Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(folder))?;
    Ok(fs::remove_file(archive)?)
}

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
