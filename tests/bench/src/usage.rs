//! Processor time, as the kernel counts it in `/proc`. It must never count a process that is not asked for.

use std::fs;

use anyhow::{Context, Result};

/// Linux counts in hundredths of a second on every platform that workerd runs on.
const TICK_US: u64 = 10_000;

/// Microseconds that a process has used, in the kernel's name too; all its threads together.
pub(crate) fn of_process(pid: u32) -> Result<u64> {
    let file = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    of_stat(&text).with_context(|| format!("{file} is not as expected"))
}

/// Microseconds that all processors have been busy.
pub(crate) fn of_machine() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    of_machine_stat(&text).context("/proc/stat is not as expected")
}

/// `utime` and `stime` are the 14th and 15th field; the 2nd is a name in brackets and may contain anything.
fn of_stat(text: &str) -> Option<u64> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)?.checked_mul(TICK_US)
}

/// user, nice, system, (idle, iowait,) irq, softirq, steal: what others took from this machine is busy as well.
fn of_machine_stat(text: &str) -> Option<u64> {
    let fields = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let fields: Vec<u64> = fields.map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let busy = fields.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
    busy.map(|(_, ticks)| *ticks).sum::<u64>().checked_mul(TICK_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_fields_are_read() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 7 3 99 99 20 0 1 0 100 1000 10";
        assert_eq!(of_stat(stat), Some(100_000));
        assert_eq!(of_stat("42 (a"), None);
        let machine = "cpu  1 2 3 1000 1000 4 5 6 7 8\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(of_machine_stat(machine), Some(210_000));
        assert_eq!(of_machine_stat("intr 1"), None);
    }

    #[test]
    fn our_own_time_only_grows() {
        let before = of_process(std::process::id()).unwrap();
        let machine = of_machine().unwrap();
        assert!(of_process(std::process::id()).unwrap() >= before);
        assert!(machine > 0);
    }
}
