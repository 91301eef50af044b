//! Chromium for tests of the dashboard: the system's, installed where it is missing.
//!
//! It must never take a browser from elsewhere: what a driver downloads comes without the system's updates.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{apt, config};

/// What its program is called, Debian's name first.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The package.
const PACKAGE: &str = "chromium";

/// The program.
pub(crate) fn ensure() -> Result<PathBuf> {
    let find = || NAMES.into_iter().find_map(config::find_program);
    if let Some(program) = find() {
        return Ok(program);
    }
    let by_hand = "there is no Chromium, and the dashboard is tested in it. Install it:\n\
                   Debian: sudo apt-get install chromium\nFedora: sudo dnf install chromium";
    apt::install(PACKAGE).context(by_hand)?;
    find().context("apt-get reported success, but there is no chromium in PATH")
}
