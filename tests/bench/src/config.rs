//! The only file of this crate that reads the environment, and the places of the parts.

use std::env::var_os;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The repository's root: this package lies two folders below it.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The workerd program.
pub(crate) fn workerd() -> Result<PathBuf> {
    let platform = match std::env::consts::ARCH {
        "aarch64" => "workerd-linux-arm64",
        _ => "workerd-linux-64",
    };
    let modules = root().join("target/tools/workerd/node_modules/@cloudflare");
    let file = setting("METER_TEST_WORKERD").unwrap_or_else(|| modules.join(platform).join("bin/workerd"));
    present(&file, "`cargo xtask dev` installs it; METER_TEST_WORKERD names another")
}

/// The folder of the worker's bundle.
pub(crate) fn bundle() -> Result<PathBuf> {
    let folder = setting("METER_TEST_BUNDLE").unwrap_or_else(|| root().join("target/edge"));
    present(
        &folder.join("workerd.capnp"),
        "`cargo xtask edge` makes it; METER_TEST_BUNDLE names another folder",
    )?;
    Ok(folder)
}

/// The aggregator's program: an optimised one if there is one.
pub(crate) fn meter() -> Result<PathBuf> {
    let build = |profile: &str| root().join("target").join(profile).join("meter");
    let file = setting("METER_TEST_BIN_DIR")
        .map(|folder| folder.join("meter"))
        .or_else(|| Some(build("release")).filter(|file| file.is_file()))
        .unwrap_or_else(|| build("debug"));
    present(
        &file,
        "`cargo build --release --package aggregator` makes it; METER_TEST_BIN_DIR names another folder",
    )
}

/// Finds a program in `PATH`, as a shell would.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&var_os("PATH")?).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The command line that leads to this run again.
pub(crate) fn command_line() -> String {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        return "cargo xtask bench".to_owned();
    }
    format!("cargo xtask bench -- {}", arguments.join(" "))
}

fn setting(name: &str) -> Option<PathBuf> {
    var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn present(file: &Path, hint: &str) -> Result<PathBuf> {
    ensure!(file.is_file(), "{} is missing: {hint}", file.display());
    file.canonicalize().with_context(|| format!("cannot find {}", file.display()))
}
