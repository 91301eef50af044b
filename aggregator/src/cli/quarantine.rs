//! `meter quarantine`: cells that could not be true, and what becomes of them.

use clap::Args;

use super::call::Call;
use super::options::{OfProject, Project};
use super::place::Place;
use super::print::{self, Column, Format};
use super::project::{self, lines};

const COLUMNS: &[Column] = &[
    ("CELL", "/id"),
    ("DAY", "/day"),
    ("UNITS", "/units"),
    ("KIND", "/kind"),
    ("AGENT", "/agent"),
    ("MODE", "/mode"),
    ("REASON", "/reason"),
    ("SOURCE", "/source"),
    ("FIRST SEEN", "/first_seen_at"),
];

const UNKNOWN: &str = "`meter quarantine list` shows those there are";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List a project's cells that were not believed
    List(OfProject),
    /// Merge a cell after all: it is counted and billed
    Accept(One),
    /// Throw a cell away
    Drop(One),
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// The cell's id, as `meter quarantine list` shows it
    id: String,
    #[command(flatten)]
    project: Project,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(command: Command, place: Place) -> anyhow::Result<()> {
    let (call, format) = match command {
        Command::List(OfProject { project, format }) => {
            let id = place.project(&project).await?;
            let cells = place.ask(&Call::get(&[&project::path(&id)[..], &["quarantine"]].concat())).await?;
            let none = "Nothing of the project is in quarantine.";
            return print::rows(format, &lines(cells, "cells", format, none), COLUMNS);
        }
        Command::Accept(One { id, project, format }) => {
            let project = place.project(&project).await?;
            (Call::post(&[&project::path(&project)[..], &["quarantine", &id, "accept"]].concat()), format)
        }
        Command::Drop(One { id, project, format }) => {
            let project = place.project(&project).await?;
            (Call::delete(&[&project::path(&project)[..], &["quarantine", &id]].concat()), format)
        }
    };
    print::rows(format, &place.ask(&call.or_say(UNKNOWN)).await?, COLUMNS)
}
