//! Asks rustup to add what is missing, and gives it up when it hangs.
//!
//! It must never wait for a server that does not answer: rustup itself would, for minutes.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::TARGET;
use crate::config;
use crate::process::watch;
use crate::progress::Progress;

/// Without progress for so long, rustup is given up.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// However well it progresses, longer than this is too long: the other ways take two minutes.
const TIME_MAX: Duration = Duration::from_secs(300);

/// What rustup made of it; the words fit between parentheses.
#[derive(Debug)]
pub(super) enum Answer {
    /// There is no rustup here.
    Missing,
    /// It said that it has done it.
    Added,
    /// It said that it cannot, and why.
    Refused(String),
    /// It did nothing for [`SILENCE_MAX`].
    Silent,
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("not installed"),
            Self::Added => formatter.write_str("it added the target to another toolchain"),
            Self::Refused(why) => formatter.write_str(why),
            Self::Silent => write!(formatter, "given up after {} s without progress", SILENCE_MAX.as_secs()),
        }
    }
}

/// Adds the worker's target to the active toolchain.
pub(super) fn add_target() -> Answer {
    add("rustup adds wasm32-unknown-unknown", &["target", "add", TARGET])
}

/// Adds components, such as rustfmt; whether that worked is for the caller to see.
pub(crate) fn add_components(names: &[&str]) {
    let mut arguments = vec!["component", "add"];
    arguments.extend(names);
    add(&format!("rustup adds {}", names.join(" and ")), &arguments);
}

fn add(what: &str, arguments: &[&str]) -> Answer {
    let Some(rustup) = config::find_program("rustup") else { return Answer::Missing };
    let mut progress = Progress::start(what);
    let mut seen = (0, Duration::ZERO);
    let folders = download_folders();
    let mut patience = |elapsed: Duration| {
        let size: u64 = folders.iter().map(|folder| size_of(folder)).sum();
        if size != seen.0 {
            seen = (size, elapsed);
        }
        elapsed < TIME_MAX && elapsed.saturating_sub(seen.1) < SILENCE_MAX
    };
    let mut tick = |line: &str| progress.tick(line);
    let finished = watch(Command::new(rustup).args(arguments), Some(&mut patience), &mut tick);
    let answer = match finished {
        Err(error) => Answer::Refused(error.to_string()),
        Ok(finished) => match finished.status {
            None => Answer::Silent,
            Some(status) if status.success() => Answer::Added,
            Some(_) => Answer::Refused(reason(&finished.stderr)),
        },
    };
    if matches!(answer, Answer::Added) {
        progress.done()
    } else {
        progress.failed()
    }
    answer
}

/// rustup's own words: the first part of its `error:` line, else of the last one.
fn reason(stderr: &str) -> String {
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().find_map(|line| line.strip_prefix("error: ")).or_else(|| lines().next_back());
    line.and_then(|line| line.split(": ").next()).unwrap_or("it failed without a word").to_owned()
}

/// Downloads grow here; rustup writes nothing to a pipe meanwhile.
fn download_folders() -> Vec<PathBuf> {
    let home = config::rustup_home();
    home.into_iter().flat_map(|home| [home.join("downloads"), home.join("tmp")]).collect()
}

/// The bytes of the files in a folder and in those below it, as far as they can be read.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok().map(|metadata| (entry.path(), metadata)))
        .map(|(path, metadata)| if metadata.is_dir() { size_of(&path) } else { metadata.len() })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_rustups_own_words() {
        for (stderr, expected) in [
            (
                "info: downloading\nerror: could not download file\n\nCaused by: x\n",
                "could not download file",
            ),
            ("something\nelse\n\n", "else"),
            ("", "it failed without a word"),
        ] {
            assert_eq!(reason(stderr), expected);
        }
    }
}
