//! What commands say: results on standard output, remarks and errors on standard error.

use std::io::{self, Write};

use serde::Serialize;

/// How a result is printed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Format {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Prints a result: as JSON if that was asked for, else as `text` says it.
pub(super) fn result<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let line = if format.json { serde_json::to_string(value)? } else { text(value) };
    self::text(&(line + "\n"))
}

/// Prints a text as it is.
pub(super) fn text(text: &str) -> anyhow::Result<()> {
    match write!(io::stdout().lock(), "{text}") {
        // Whoever read our output has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// Says something to a person that is no part of the result.
pub(super) fn remark(format: Format, text: &str) {
    if !format.json {
        say(text);
    }
}

/// Says why a command failed.
pub(super) fn error(error: &anyhow::Error) {
    say(&format!("error: {error:#}"));
}

fn say(text: &str) {
    // There is nowhere left to say that standard error is closed.
    drop(writeln!(io::stderr().lock(), "{text}"));
}
