//! Programs that cargo installs, in the versions that are named here, below `target/tools/`.
//!
//! It must never touch the user's own `~/.cargo/bin`, nor take other versions of their dependencies than their lock files name.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::process::run;
use crate::{config, native};

/// The version of mdBook, which makes the documentation's site.
pub(crate) const MDBOOK: &str = "0.5.4";

/// The maker of books, without its server.
pub(crate) fn mdbook() -> Result<PathBuf> {
    install("mdbook", MDBOOK, &["--no-default-features", "--features", "search"])
}

/// What finds dependencies that are named and not used.
pub(crate) fn machete() -> Result<PathBuf> {
    install("cargo-machete", "0.9.2", &[])
}

/// Installs a program, unless exactly this version is there.
fn install(name: &str, version: &str, features: &[&str]) -> Result<PathBuf> {
    let folder = config::target().join("tools").join(name);
    let program = folder.join("bin").join(name);
    // Written last, so that an interrupted installation is begun again.
    let stamp = folder.join("installed.version");
    if program.is_file() && fs::read_to_string(&stamp).is_ok_and(|installed| installed == version) {
        return Ok(program);
    }
    let build = folder.join("build");
    let mut command = native::cargo("install");
    command.args(["--locked", "--force", name, "--version", version]).args(features);
    command.arg("--root").arg(&folder).arg("--target-dir").arg(&build);
    run(&format!("cargo installs {name} {version}"), &mut command)?;
    ensure!(
        program.is_file(),
        "cargo has not installed {}: remove target/tools and try again",
        program.display()
    );
    // Hundreds of megabytes that nobody needs again.
    fs::remove_dir_all(&build).ok();
    fs::write(&stamp, version)?;
    Ok(program)
}
