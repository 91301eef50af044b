//! `meter member`: the people of a project.

use clap::Args;

use super::call::Call;
use super::key::shown_once;
use super::options::{self, OfProject, Project};
use super::place::Place;
use super::print::{self, Column, Format};
use super::project::{self, lines};
use crate::access::Role;

const COLUMNS: &[Column] = &[
    ("MEMBER", "/id"),
    ("NAME", "/name"),
    ("ROLE", "/role"),
    ("ADDED", "/created_at"),
    ("REMOVED", "/removed_at"),
];

const UNKNOWN: &str = "`meter member list` shows those the project has";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Add a member and print a token for that person; it is shown this once
    Add(Add),
    /// List the members of a project
    List(OfProject),
    /// Give a member another role, which that person's tokens have at once
    Set(Set),
    /// Remove a member and revoke that person's tokens
    Remove(Named),
    /// Revoke a member's tokens and print another
    Token(Named),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    #[command(flatten)]
    project: Project,
    /// Such as an e-mail address
    #[arg(long)]
    name: String,
    /// What the member may do
    #[arg(long, value_parser = options::role())]
    role: Role,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    of: Named,
    /// What the member may do
    #[arg(long, value_parser = options::role())]
    role: Role,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The member's id, as `meter member list` shows it
    id: String,
    #[command(flatten)]
    project: Project,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(command: Command, place: Place) -> anyhow::Result<()> {
    match command {
        Command::Add(Add { project, name, role, format }) => {
            let id = place.project(&project).await?;
            let path = [&project::path(&id)[..], &["members"]].concat();
            let call = Call::post(&path).field("name", name).field("role", role);
            let added = place.ask(&call).await?;
            print::remark(format, "Keep this token now: it is shown this once.");
            shown_once(format, added, &id, "token")
        }
        Command::List(OfProject { project, format }) => {
            let id = place.project(&project).await?;
            let members = place.ask(&Call::get(&[&project::path(&id)[..], &["members"]].concat())).await?;
            let none =
                "The project has no members yet. Next: `meter member add --name <e-mail> --role owner`.";
            print::rows(format, &lines(members, "members", format, none), COLUMNS)
        }
        Command::Set(Set { of: Named { id, project, format }, role }) => {
            let project = place.project(&project).await?;
            let path = [&project::path(&project)[..], &["members", &id]].concat();
            let call = Call::patch(&path).field("role", role).or_say(UNKNOWN);
            print::rows(format, &place.ask(&call).await?, COLUMNS)
        }
        Command::Remove(Named { id, project, format }) => {
            let project = place.project(&project).await?;
            let path = [&project::path(&project)[..], &["members", &id]].concat();
            print::rows(format, &place.ask(&Call::delete(&path).or_say(UNKNOWN)).await?, COLUMNS)
        }
        Command::Token(Named { id, project, format }) => {
            let project = place.project(&project).await?;
            let path = [&project::path(&project)[..], &["members", &id, "token"]].concat();
            let token = place.ask(&Call::post(&path).or_say(UNKNOWN)).await?;
            print::remark(format, "Keep this token now: it is shown this once.");
            shown_once(format, token, &project, "token")
        }
    }
}
