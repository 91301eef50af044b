//! Debian's toolchain for the web: a recent rustc with the standard library's source, as packages.
//!
//! It installs packages only as root and removes none; anybody else is shown the one line to run.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use nix::unistd::geteuid;

use crate::config;
use crate::process::{ask, run};

/// The packages, but for the linker, whose name carries a version.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm"];
/// The linker's package where `rust-web-llvm` does not say which one it wants.
const LINKER_DEFAULT: &str = "lld-22";
/// Where the packages put the programs.
const CARGO: &str = "/usr/bin/cargo";
const RUSTC: &str = "/usr/bin/rustc";

/// Whether this system has Debian's packages.
pub(super) fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists() && config::find_program("apt-get").is_some()
}

/// Whether everything is installed.
pub(super) fn is_complete() -> bool {
    missing().is_empty()
}

/// Debian's `cargo` and `rustc`, installed if they are missing.
pub(super) fn toolchain() -> Result<(OsString, OsString)> {
    if !is_complete() {
        install()?;
    }
    let still_missing = missing();
    if !still_missing.is_empty() {
        bail!("apt-get reported success, but these packages are missing: {}", still_missing.join(" "));
    }
    Ok((CARGO.into(), RUSTC.into()))
}

fn install() -> Result<()> {
    if !geteuid().is_root() {
        bail!(
            "the worker needs Debian's toolchain, and only root can install it. Run this once, then try again:\n  \
             sudo sh -c 'apt-get update && apt-get install --yes --no-install-recommends {}'",
            missing().join(" ")
        );
    }
    // A machine that has never fetched its lists of packages knows none.
    let known = ask(Command::new("apt-cache").args(["show", "rustc-web"])).is_some();
    if known && install_once().is_ok() {
        return Ok(());
    }
    // Lists that are old name files that are gone.
    run("apt-get update", apt().arg("update"))?;
    install_once()
}

fn install_once() -> Result<()> {
    let packages = missing();
    let what = format!("apt-get install {}", packages.join(" "));
    run(&what, apt().args(["install", "--yes", "--no-install-recommends", "--no-remove"]).args(&packages))?;
    Ok(())
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// The packages that are not installed.
fn missing() -> Vec<String> {
    let wanted = PACKAGES.map(str::to_owned).into_iter().chain([linker()]);
    wanted.filter(|package| !is_installed(package)).collect()
}

fn is_installed(package: &str) -> bool {
    let status =
        ask(Command::new("dpkg-query").args(["--show", "--showformat", "${db:Status-Status}", package]));
    status.is_some_and(|status| status.trim() == "installed")
}

/// The linker of the LLVM that `rust-web-llvm` depends on.
fn linker() -> String {
    let installed =
        ask(Command::new("dpkg-query").args(["--show", "--showformat", "${Depends}", "rust-web-llvm"]));
    let depends = installed
        .filter(|depends| !depends.trim().is_empty())
        .or_else(|| ask(Command::new("apt-cache").args(["show", "--no-all-versions", "rust-web-llvm"])));
    depends.as_deref().and_then(linker_of).unwrap_or_else(|| LINKER_DEFAULT.to_owned())
}

/// `…, llvm-22 (>= 1:22.1)` wants `lld-22`.
fn linker_of(depends: &str) -> Option<String> {
    let words = depends.split(|character: char| !(character.is_ascii_alphanumeric() || character == '-'));
    let version = |word: &str| {
        let version = word.strip_prefix("llvm-")?;
        version.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("lld-{version}"))
    };
    words.filter(|word| *word != "llvm-").find_map(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linker_follows_the_llvm_that_is_wanted() {
        for (depends, linker) in [
            ("libc6 (>= 2.34), libgcc-s1 (>= 4.2), llvm-22", Some("lld-22")),
            ("Package: rust-web-llvm\nDepends: llvm-23 (>= 1:23.1~), libc6\n", Some("lld-23")),
            ("Package: rust-web-llvm\nDepends: libc6\n", None),
        ] {
            assert_eq!(linker_of(depends).as_deref(), linker, "{depends}");
        }
    }
}
