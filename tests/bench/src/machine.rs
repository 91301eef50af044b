//! What this machine is, for people who want to compare. It must never tell its name.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Processors, kernel and file system, in one line.
pub(crate) fn describe(data: &Path) -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<_> = cpuinfo.lines().filter_map(model).collect();
    let model = models.first().copied().unwrap_or("processors of an unknown model");
    let count = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let disk = answer(Command::new("df").arg("--output=fstype").arg(data));
    let disk = disk.lines().last().unwrap_or_default().trim();
    format!("{count} × {model}, Linux {}, data on {disk}", kernel.trim())
}

/// What a program says to `--version`.
pub(crate) fn version(program: &Path) -> String {
    answer(Command::new(program).arg("--version")).trim().to_owned()
}

/// The load average of the last minute.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn model(line: &str) -> Option<&str> {
    line.strip_prefix("model name")?.split_once(':').map(|(_, model)| model.trim())
}

fn answer(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
