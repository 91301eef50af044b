//! Has TypeScript's compiler read the workers' scripts: against what Rust exports, what it tells in JSON, and the platform.
//!
//! It must never compile anything: the scripts are what runs.

use std::process::Command;

use anyhow::{Context, Result};

use crate::process::run_visible;
use crate::{config, tools};

/// Where scripts are, each with a configuration of its own.
const FOLDERS: [&str; 2] = ["edge/js", "homes/js"];

/// Reads all scripts. The bundle must be there: its glue says what Rust exports.
pub(crate) fn check() -> Result<()> {
    let compiler = tools::ensure("scripts")?.join("node_modules/typescript/bin/tsc");
    let node = config::find_program("node").context("there is no `node` in PATH; it comes with npm")?;
    for folder in FOLDERS {
        let mut tsc = Command::new(&node);
        tsc.arg(&compiler).arg("-p").arg(config::root().join(folder));
        run_visible("tsc", &mut tsc)?;
    }
    Ok(())
}
