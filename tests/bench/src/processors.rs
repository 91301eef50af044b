//! Which processor does what: workerd has the last one for itself, everything else shares the others.
//!
//! Left to the system, workerd moves between processors that the load generator uses as well: two windows of the same
//! process then differ by a tenth, which is as much as what is to be measured.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Leaves the last processor to workerd, and names it. `None` where there is only one, or no `taskset`.
pub(crate) fn leave_one(all: usize) -> Option<String> {
    let last = all.checked_sub(1)?;
    let others = format!("0-{}", last.checked_sub(1)?);
    let ourselves = std::process::id().to_string();
    let mut command = Command::new("taskset");
    command.args(["--all-tasks", "--cpu-list", "--pid", &others, &ourselves]);
    let done =
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    done.then(|| last.to_string())
}

/// A program on that processor.
pub(crate) fn on(processor: Option<&str>, program: &Path) -> Command {
    let Some(processor) = processor else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", processor]).arg(program);
    command
}

/// How many there are.
pub(crate) fn count() -> Result<usize> {
    Ok(std::thread::available_parallelism().context("the processors cannot be counted")?.get())
}
