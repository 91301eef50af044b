//! `meter quarantine`: cells that could not be true, and what becomes of them.

use anyhow::anyhow;
use clap::Args;
use shared::ids::ProjectId;

use super::Context;
use super::print::{self, Format};
use super::project::unknown;
use crate::http::QuarantinedView;
use crate::store::Decided;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List a project's cells that were not believed
    List(List),
    /// Merge a cell after all: it is counted and billed
    Accept(One),
    /// Throw a cell away
    Drop(One),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The project
    #[arg(long)]
    project: ProjectId,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// The cell's id, as `meter quarantine list` shows it
    id: String,
    /// The project
    #[arg(long)]
    project: ProjectId,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(command: Command, context: Context) -> anyhow::Result<()> {
    match command {
        Command::List(list) => self::list(list, &context).await,
        Command::Accept(One { id, project, format }) => {
            let now = context.clock.now();
            let decided = context
                .store
                .change_in(&project, async |work| work.accept_quarantined(&project, &id, now).await)
                .await?;
            told(decided, format)
        }
        Command::Drop(One { id, project, format }) => {
            let now = context.clock.now();
            let decided = context
                .store
                .change_in(&project, async |work| work.drop_quarantined(&project, &id, now).await)
                .await?;
            told(decided, format)
        }
    }
}

async fn list(List { project, format }: List, context: &Context) -> anyhow::Result<()> {
    context.store.project(&project).await?.ok_or_else(|| unknown(&project))?;
    let cells = context.store.quarantine(&project).await?;
    let cells: Vec<QuarantinedView> = cells.into_iter().map(QuarantinedView::from).collect();
    if cells.is_empty() {
        print::remark(format, "Nothing of the project is in quarantine.");
    }
    print::result(format, &cells, |cells| {
        cells.iter().map(QuarantinedView::line).collect::<Vec<_>>().join("\n")
    })
}

fn told(decided: Decided, format: Format) -> anyhow::Result<()> {
    match decided {
        Decided::Cell(found, _) => {
            print::result(format, &QuarantinedView::from(*found), QuarantinedView::line)
        }
        Decided::Unknown => Err(anyhow!(
            "there is no such cell; `meter quarantine list --project <id>` shows those there are"
        )),
    }
}
