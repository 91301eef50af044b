//! Which processor does what: those that are measured have the last one, and we have the others.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Leaves the last processor to these processes, and says whether there is one to leave.
pub(crate) fn leave_one(measured: &[u32]) -> Result<bool> {
    let all = std::thread::available_parallelism().context("the processors cannot be counted")?.get();
    let Some(before_last) = all.checked_sub(2) else { return Ok(false) };
    let last = before_last.saturating_add(1);
    let own = is_moved(std::process::id(), &format!("0-{before_last}"));
    Ok(own && measured.iter().all(|process| is_moved(*process, &last.to_string())))
}

/// Puts all threads of a process on these processors.
fn is_moved(process: u32, processors: &str) -> bool {
    let mut command = Command::new("taskset");
    command.args(["--all-tasks", "--cpu-list", "--pid", processors, &process.to_string()]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
