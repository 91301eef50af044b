//! The only file of xtask that reads the environment, and the places it works in.
//!
//! It must never change anything; what it returns is computed once per call from what it found.

use std::env::var_os;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The repository's root: xtask lives one folder below it.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where everything that xtask makes is kept. `CARGO_TARGET_DIR` moves cargo's output, not this folder.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// The cargo that runs us.
pub(crate) fn cargo() -> OsString {
    var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The compiler that this cargo would call.
pub(crate) fn rustc() -> OsString {
    var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// Whether the caller has an account at Stripe, so that nothing is simulated.
pub(crate) fn has_stripe_key() -> bool {
    var_os("STRIPE_SECRET_KEY").is_some_and(|key| !key.is_empty())
}

/// Where rustup keeps its downloads; `None` where there is neither a setting nor a home folder.
pub(crate) fn rustup_home() -> Option<PathBuf> {
    var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| var_os("HOME").map(|home| PathBuf::from(home).join(".rustup")))
}

/// Finds a program in `PATH`, as a shell would.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
