//! `meter audit`: who changed what.

use clap::Args;
use shared::ids::ProjectId;

use super::call::Call;
use super::place::Place;
use super::print::{self, Column, Format};

const COLUMNS: &[Column] = &[
    ("NUMBER", "/number"),
    ("AT", "/at"),
    ("ACTION", "/action"),
    ("TARGET", "/target"),
    ("OF", "/target_person"),
    ("PROJECT", "/project"),
    ("BY", "/actor/kind"),
    ("NAME", "/actor/name"),
    ("ROLE", "/actor/role"),
    ("WAS", "/was"),
    ("BECAME", "/became"),
];

/// Lines that are shown where nothing else is said; a terminal holds about as many.
const LINES: u32 = 50;

/// The most lines that are shown at once.
const LINES_MAX: u32 = 10_000;

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Only this project's
    #[arg(short, long, value_name = "ID")]
    project: Option<ProjectId>,
    /// Only those before this number, which an earlier page ended with
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    before: Option<u64>,
    /// At most so many, the newest
    #[arg(long, default_value_t = LINES, value_parser = clap::value_parser!(u32).range(1..=i64::from(LINES_MAX)))]
    limit: u32,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn show(show: Show, place: Place) -> anyhow::Result<()> {
    let Show { project, before, limit, format } = show;
    let call = Call::get(&["api", "v1", "admin", "audit"])
        .maybe_query("project", project)
        .maybe_query("before", before);
    let max = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut entries = place.pages(&call, ("entries", "before"), max).await?;
    if entries.as_array().is_none_or(Vec::is_empty) {
        print::remark(format, "Nothing was changed yet.");
    }
    if !format.json {
        // What was and what became is shown as it is kept, as JSON.
        for entry in entries.as_array_mut().into_iter().flatten() {
            for name in ["was", "became"] {
                if let Some(value) = entry.get_mut(name).filter(|value| value.is_object()) {
                    *value = value.to_string().into();
                }
            }
        }
    }
    print::rows(format, &entries, COLUMNS)
}
