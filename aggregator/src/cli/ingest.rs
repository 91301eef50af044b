//! `meter ingest FILE`: reports that people carried from a network that has no way here.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::call::Call;
use super::place::Place;
use super::print::{self, Column, Format};

const COLUMNS: &[Column] = &[
    ("REPORTER", "/source"),
    ("LIFE", "/incarnation"),
    ("COMPLETE TO", "/watermark"),
    ("RECEIVED (MS)", "/received_at"),
    ("SILENT AT (MS)", "/silent_at"),
];

#[derive(Debug, Args)]
pub(super) struct Ingest {
    /// What `meter-reporter export` wrote
    file: PathBuf,
    #[command(flatten)]
    format: Format,
}

/// A line of the file: a report exactly as it would have been posted.
#[derive(Debug, Deserialize)]
struct Line {
    signature: String,
    body: String,
}

pub(super) async fn run(ingest: Ingest, place: Place) -> anyhow::Result<()> {
    let Ingest { file, format } = ingest;
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let mut lines = Vec::new();
    // A file that was cut off is refused before anything of it is taken.
    for (index, line) in text.lines().enumerate() {
        let number = index.saturating_add(1);
        let line: Line = serde_json::from_str(line).with_context(|| {
            format!("{}, line {number}: it is no report that `meter-reporter export` wrote", file.display())
        })?;
        lines.push((number, line));
    }
    anyhow::ensure!(!lines.is_empty(), "{} has no reports; nothing was taken", file.display());
    let mut last = Value::Null;
    for (number, Line { signature, body }) in lines {
        let call = Call::post(&["ingest", "carried"]).signed(signature, body);
        last = place.ask(&call).await.with_context(|| {
            format!("{}, line {number}: those before it were taken, and may be sent again", file.display())
        })?;
    }
    print::rows(format, &last, COLUMNS)
}
