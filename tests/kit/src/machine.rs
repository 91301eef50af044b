//! What this machine is, for people who want to compare. It must never tell its name.

use std::fs;

/// How many processors of which model.
#[must_use]
pub fn processors() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(model).unwrap_or("processors of an unknown model");
    let count = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    format!("{count} × {model}")
}

/// The load average of the last minute.
#[must_use]
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn model(line: &str) -> Option<&str> {
    line.strip_prefix("model name")?.split_once(':').map(|(_, model)| model.trim())
}
