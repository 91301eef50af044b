//! `meter key`: make, list and revoke project keys.

use clap::Args;
use serde_json::Value;
use shared::ids::{KeyId, ProjectId};

use super::call::Call;
use super::options::{OfProject, Project};
use super::place::Place;
use super::print::{self, Column, Format};
use super::project::{self, lines};
use crate::projects::project::{OVERLAP_S, OVERLAP_S_MAX};

const COLUMNS: &[Column] = &[
    ("KEY", "/id"),
    ("MODE", "/mode"),
    ("CREATED", "/created_at"),
    ("REVOKED", "/revoked_at"),
    ("EXPIRES", "/expires_at"),
];

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a key and print it; it is shown this once and kept nowhere
    Create(Create),
    /// List a project's keys, revoked ones too
    List(OfProject),
    /// Make a key in the place of another, which goes on being accepted for a while
    Rotate(Rotate),
    /// Revoke a key; the edge refuses it within seconds
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    project: Project,
    /// Make a test key: decided and counted apart, never billed
    #[arg(long)]
    test: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    project: Project,
    /// The key's id, which is the part after the project's in its text
    #[arg(long)]
    key: KeyId,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    project: Project,
    /// The id of the key that is replaced
    #[arg(long)]
    key: KeyId,
    /// For how many seconds that one is still accepted, a week at most
    #[arg(long, default_value_t = OVERLAP_S, value_parser = clap::value_parser!(u64).range(0..=OVERLAP_S_MAX))]
    overlap: u64,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(command: Command, place: Place) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => self::create(create, &place).await,
        Command::List(OfProject { project, format }) => {
            let id = place.project(&project).await?;
            let none = "The project has no keys yet. Next: `meter key create`.";
            let keys = place.ask(&Call::get(&[&project::path(&id)[..], &["keys"]].concat())).await?;
            print::rows(format, &lines(keys, "keys", format, none), COLUMNS)
        }
        Command::Rotate(rotate) => self::rotate(rotate, &place).await,
        Command::Revoke(Revoke { project, key, format }) => {
            let id = place.project(&project).await?;
            let path = [&project::path(&id)[..], &["keys", key.as_str()]].concat();
            print::rows(format, &place.ask(&Call::delete(&path)).await?, COLUMNS)
        }
    }
}

async fn create(create: Create, place: &Place) -> anyhow::Result<()> {
    needs_secrets(place)?;
    let id = place.project(&create.project).await?;
    let mode = if create.test { "test" } else { "live" };
    let call = Call::post(&[&project::path(&id)[..], &["keys"]].concat()).field("mode", mode);
    let key = place.ask(&call).await?;
    print::remark(create.format, "Keep this key now: it is shown this once.");
    shown_once(create.format, key, &id, "key")
}

async fn rotate(rotate: Rotate, place: &Place) -> anyhow::Result<()> {
    needs_secrets(place)?;
    let Rotate { project, key, overlap, format } = rotate;
    let id = place.project(&project).await?;
    let path = [&project::path(&id)[..], &["keys", key.as_str(), "rotate"]].concat();
    let new = place.ask(&Call::post(&path).field("overlap_s", overlap)).await?;
    let until = print::cell(new.get("replaced_until").unwrap_or(&Value::Null));
    print::remark(
        format,
        &format!("Keep this key now: it is shown this once. {key} is accepted until {until}."),
    );
    shown_once(format, new, &id, "key")
}

/// On the books themselves it is this process that makes keys.
fn needs_secrets(place: &Place) -> anyhow::Result<()> {
    if let Place::Books(books) = place {
        books.context.config.key_secrets()?;
    }
    Ok(())
}

/// Prints what is shown this once: for people it alone, so that it can be put into a variable.
pub(super) fn shown_once(
    format: Format,
    mut answer: Value,
    project: &ProjectId,
    field: &str,
) -> anyhow::Result<()> {
    if let Value::Object(fields) = &mut answer {
        fields.entry("project").or_insert_with(|| project.as_str().into());
    }
    print::result(format, &answer, |answer| print::cell(answer.get(field).unwrap_or(&Value::Null)))
}
