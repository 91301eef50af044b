//! `meter backup` and `meter restore`: a copy of the books while they are in use, and back.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;

use super::place::Place;
use super::print::{self, Format};
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{Database, Store, WhenMissing, create_private};

#[derive(Debug, Args)]
pub(super) struct Copy {
    /// The backup's file
    file: PathBuf,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Restored {
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Outrun {
    policies: &'static str,
}

#[derive(Debug, Serialize)]
struct Copied {
    file: String,
    bytes: u64,
}

/// Writes the books, as of one instant, into a new file.
pub(super) async fn backup(copy: Copy, place: &Place) -> anyhow::Result<()> {
    let context = place.only_books("`meter backup`")?;
    refuse_existing(&copy.file)?;
    context.store.backup(&copy.file).await.with_context(|| copy.file.display().to_string())?;
    sync(&copy.file)?;
    told(copy.format, &copy.file)
}

/// Makes the database from a backup; never where there is one.
pub(super) async fn restore(copy: Copy, config: Config) -> anyhow::Result<()> {
    let Database::Sqlite(target) = &config.database else {
        bail!(
            "the books are on Postgres: restore them with `pg_restore`, then run `meter restored`, \
             so that the edge takes their policies"
        );
    };
    refuse_existing(target)?;
    for suffix in ["-wal", "-shm"] {
        let mut beside = target.clone().into_os_string();
        beside.push(suffix);
        refuse_existing(Path::new(&beside))?;
    }
    let mut half = target.clone().into_os_string();
    half.push(".restoring");
    let half = PathBuf::from(half);
    refuse_existing(&half)?;
    copy_private(&copy.file, &half).with_context(|| copy.file.display().to_string())?;
    let checked = Store::check_backup(&half).await;
    if let Err(error) = checked {
        std::fs::remove_file(&half)?;
        bail!("{} is no backup of a meter: {error}", copy.file.display());
    }
    sync(&half)?;
    // A link fails where a rename would overwrite what was made meanwhile.
    std::fs::hard_link(&half, target).with_context(|| target.display().to_string())?;
    std::fs::remove_file(&half)?;
    // Opening it brings it up to this release and refuses it if it is of a newer one.
    let store = Store::open(&config.database, WhenMissing::Refuse).await?;
    store.outrun_policies(Clock::system().now()).await?;
    store.close().await;
    told(copy.format, target)
}

/// Tells a meter that its database was restored by the database's own means.
pub(super) async fn restored(told: Restored, place: &Place) -> anyhow::Result<()> {
    let context = place.only_books("`meter restored`")?;
    context.store.outrun_policies(context.clock.now()).await?;
    print::result(told.format, &Outrun { policies: "outrun" }, |_| {
        "every policy has a version above those that the edge may have".to_owned()
    })
}

fn refuse_existing(file: &Path) -> anyhow::Result<()> {
    if file.exists() {
        bail!(
            "{} is there already and is not overwritten; name another file or move it away",
            file.display()
        );
    }
    Ok(())
}

/// Copies what a file holds, not who may read it.
fn copy_private(from: &Path, to: &Path) -> std::io::Result<()> {
    let (mut from, mut to) = (std::fs::File::open(from)?, create_private(to)?);
    std::io::copy(&mut from, &mut to).map(drop)
}

fn sync(file: &Path) -> anyhow::Result<()> {
    Ok(std::fs::File::open(file)?.sync_all()?)
}

fn told(format: Format, file: &Path) -> anyhow::Result<()> {
    let copied = Copied { file: file.display().to_string(), bytes: std::fs::metadata(file)?.len() };
    print::result(format, &copied, |copied| format!("{}: {} bytes", copied.file, copied.bytes))
}
