//! `meter key`: make, list and revoke project keys.

use anyhow::anyhow;
use clap::Args;
use serde::Serialize;
use shared::ids::{KeyId, Mode, ProjectId};
use shared::key::ProjectKey;

use super::print::{self, Format};
use super::{Context, project};
use crate::http::KeyView;
use crate::project::{ACTIVE_KEYS_MAX, OVERLAP_S, OVERLAP_S_MAX};
use crate::store::{KeyCreated, KeyRotated};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a key and print it; it is shown this once and kept nowhere
    Create(Create),
    /// List a project's keys, revoked ones too
    List(List),
    /// Make a key in the place of another, which goes on being accepted for a while
    Rotate(Rotate),
    /// Revoke a key; the edge refuses it within seconds
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The project
    #[arg(long)]
    project: ProjectId,
    /// Make a test key: decided and counted apart, never billed
    #[arg(long)]
    test: bool,
    #[command(flatten)]
    format: Format,
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
pub(super) struct Revoke {
    /// The project
    #[arg(long)]
    project: ProjectId,
    /// The key's id, which is the part after the project's in its text
    #[arg(long)]
    key: KeyId,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// The project
    #[arg(long)]
    project: ProjectId,
    /// The id of the key that is replaced
    #[arg(long)]
    key: KeyId,
    /// For how many seconds that one is still accepted, a week at most
    #[arg(long, default_value_t = OVERLAP_S, value_parser = clap::value_parser!(u64).range(0..=OVERLAP_S_MAX))]
    overlap: u64,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct NewKey {
    project: ProjectId,
    id: KeyId,
    mode: Mode,
    key: String,
}

pub(super) async fn run(command: Command, context: Context) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => self::create(create, &context).await,
        Command::List(list) => self::list(list, &context).await,
        Command::Rotate(rotate) => self::rotate(rotate, &context).await,
        Command::Revoke(revoke) => self::revoke(revoke, &context).await,
    }
}

async fn create(create: Create, context: &Context) -> anyhow::Result<()> {
    let secrets = context.config.key_secrets()?;
    let mode = if create.test { Mode::Test } else { Mode::Live };
    let key = match context.store.create_key(&create.project, mode, context.clock.now()).await? {
        KeyCreated::Key(key) => key,
        KeyCreated::ProjectUnknown => return Err(project::unknown(&create.project)),
        KeyCreated::TooMany => return Err(too_many(&create.project)),
    };
    let text = secrets.mint(&ProjectKey { project: create.project.clone(), mode, id: key.id.clone() });
    print::remark(create.format, "Keep this key now: it is shown this once.");
    print::result(create.format, &NewKey { project: create.project, id: key.id, mode, key: text }, |new| {
        new.key.clone()
    })
}

async fn rotate(rotate: Rotate, context: &Context) -> anyhow::Result<()> {
    let Rotate { project, key, overlap, format } = rotate;
    let secrets = context.config.key_secrets()?;
    let overlap_ms = overlap.saturating_mul(1_000);
    let rotated = context.store.rotate_key(&project, (&key, overlap_ms), context.clock.now()).await?;
    let (new, expires) = match rotated {
        KeyRotated::Key(new, expires) => (new, expires),
        KeyRotated::Unknown => {
            return Err(anyhow!(
                "{project} has no key {key} that is not revoked; `meter key list --project {project}` shows those it has"
            ));
        }
        KeyRotated::TooMany => return Err(too_many(&project)),
    };
    let text = secrets.mint(&ProjectKey { project: project.clone(), mode: new.mode, id: new.id.clone() });
    print::remark(
        format,
        &format!("Keep this key now: it is shown this once. {key} is accepted until {expires}."),
    );
    print::result(format, &NewKey { project, id: new.id, mode: new.mode, key: text }, |new| new.key.clone())
}

fn too_many(project: &ProjectId) -> anyhow::Error {
    anyhow!("{project} has {ACTIVE_KEYS_MAX} keys that are not revoked; revoke one first")
}

async fn list(list: List, context: &Context) -> anyhow::Result<()> {
    context.store.project(&list.project).await?.ok_or_else(|| project::unknown(&list.project))?;
    let keys: Vec<KeyView> =
        context.store.keys(&list.project).await?.into_iter().map(KeyView::from).collect();
    if keys.is_empty() {
        print::remark(list.format, "The project has no keys yet. Next: `meter key create --project <id>`.");
    }
    print::result(list.format, &keys, |keys| keys.iter().map(KeyView::line).collect::<Vec<_>>().join("\n"))
}

async fn revoke(revoke: Revoke, context: &Context) -> anyhow::Result<()> {
    let revoked = context.store.revoke_key(&revoke.project, &revoke.key, context.clock.now()).await?;
    let revoked = revoked.ok_or_else(|| {
        let Revoke { project, key, .. } = &revoke;
        anyhow!("{project} has no key {key}; `meter key list --project {project}` shows those it has")
    })?;
    print::result(revoke.format, &KeyView::from(revoked), KeyView::line)
}
