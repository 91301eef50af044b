//! Checks that the bundle would deploy: `wrangler deploy --dry-run` on the repository's `wrangler.toml`.
//!
//! It must never deploy, and never use the network or an account.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::process::run;
use crate::{config, edge, tools};

/// Builds the bundle and lets wrangler check it.
#[expect(clippy::print_stdout, reason = "wrangler's answer is this command's result")]
pub(crate) fn run_dry() -> Result<()> {
    edge::build()?;
    let wrangler = tools::ensure("wrangler")?;
    let node = tools::node(&wrangler)?;
    // wrangler keeps settings and logs in the home folder: it gets one of its own.
    let home = config::target().join("tools").join("home");
    fs::create_dir_all(&home)?;
    let mut command = Command::new(node);
    command.arg(wrangler.join("node_modules").join("wrangler").join("bin").join("wrangler.js"));
    command.args(["deploy", "--dry-run", "--config"]).arg(config::root().join("wrangler.toml"));
    command.arg("--outdir").arg(config::target().join("wrangler"));
    command.current_dir(config::root());
    command.env("HOME", &home).env("XDG_CONFIG_HOME", &home).env("CI", "1").env("NO_COLOR", "1");
    command.env("WRANGLER_SEND_METRICS", "false").env("WRANGLER_SEND_ERROR_REPORTS", "false");
    let answer = run("wrangler deploy --dry-run", &mut command)?;
    println!("{}", answer.trim());
    Ok(())
}
