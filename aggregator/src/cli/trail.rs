//! `meter audit`: who changed what.

use clap::Args;
use shared::ids::ProjectId;

use super::Context;
use super::print::{self, Format};
use crate::http::AuditView;
use crate::store::TrailQuery;

/// Lines that are shown where nothing else is said; a terminal holds about as many.
const LINES: u32 = 50;

/// The most lines that are shown at once.
const LINES_MAX: u32 = 10_000;

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Only this project's
    #[arg(long)]
    project: Option<ProjectId>,
    /// Only those before this number, which an earlier page ended with
    #[arg(long)]
    before: Option<u64>,
    /// At most so many, the newest
    #[arg(long, default_value_t = LINES, value_parser = clap::value_parser!(u32).range(1..=i64::from(LINES_MAX)))]
    limit: u32,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn show(show: Show, context: Context) -> anyhow::Result<()> {
    let Show { project, before, limit, format } = show;
    let query = TrailQuery { project: project.as_ref(), before, limit };
    let lines: Vec<AuditView> = context.store.trail(query).await?.into_iter().map(AuditView::from).collect();
    if lines.is_empty() {
        print::remark(format, "Nothing was changed yet.");
    }
    print::result(format, &lines, |lines| lines.iter().map(AuditView::line).collect::<Vec<_>>().join("\n"))
}
