//! One line per piece of work: what is being done, for how long, what came last.
//!
//! It writes to standard error only; standard output belongs to results. Work of less than two seconds shows
//! only its end. It must never hide an error.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use crate::clock::{Stopwatch, human};

/// Work shorter than this shows no progress.
const SILENT: Duration = Duration::from_secs(2);
/// How often a terminal's line is rewritten.
const TERMINAL_EVERY: Duration = Duration::from_millis(250);
/// How often a log, which keeps every line, gets one.
const LOG_EVERY: Duration = Duration::from_secs(15);
/// Longer details are cut: a wrapped line cannot be rewritten.
const DETAIL_CHARS_MAX: usize = 48;

/// The progress of one piece of work.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    watch: Stopwatch,
    next: Duration,
    terminal: bool,
}

impl Progress {
    /// Begins; shows nothing yet.
    pub(crate) fn start(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            watch: Stopwatch::start(),
            next: SILENT,
            terminal: stderr().is_terminal(),
        }
    }

    /// Shows how far it is, now and then.
    pub(crate) fn tick(&mut self, detail: &str) {
        let elapsed = self.watch.elapsed();
        if elapsed < self.next {
            return;
        }
        let detail: String = detail.chars().take(DETAIL_CHARS_MAX).collect();
        let dash = if detail.is_empty() { "" } else { "  " };
        if self.terminal {
            eprint!("\r\x1b[2K  … {}, {}{dash}\x1b[2m{detail}\x1b[0m", self.what, human(elapsed));
            stderr().flush().ok();
            self.next = elapsed.saturating_add(TERMINAL_EVERY);
        } else {
            eprintln!("  … {}, {}{dash}{detail}", self.what, human(elapsed));
            self.next = elapsed.saturating_add(LOG_EVERY);
        }
    }

    /// The work is done.
    pub(crate) fn done(self) {
        self.end("✓");
    }

    /// The work has failed; the caller says why.
    pub(crate) fn failed(self) {
        self.end("✗");
    }

    fn end(&self, mark: &str) {
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        eprintln!("{clear}  {mark} {}, {}", self.what, human(self.watch.elapsed()));
    }
}
