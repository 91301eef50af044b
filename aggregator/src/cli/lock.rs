//! The one server of an SQLite file: a lock on a file beside it, which the system gives back when the process ends,
//! however it ends. Commands take none: they work beside a server.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::store::Database;

/// Held for as long as this is.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "it is there to be held")] File);

/// Takes the lock of a database that is a file; a server locks by itself what it must.
///
/// # Errors
/// When another process has it, which is named.
pub(super) fn take(database: &Database) -> anyhow::Result<Option<Lock>> {
    let Database::Sqlite(path) = database else { return Ok(None) };
    let file = beside(path);
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&file);
    let mut open = open.with_context(|| format!("{}; DATABASE_URL names another place", file.display()))?;
    match open.try_lock() {
        Ok(()) => {
            // Only for people: what counts is the lock.
            open.set_len(0)?;
            open.rewind()?;
            writeln!(open, "{}", std::process::id())?;
            Ok(Some(Lock(open)))
        }
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            open.read_to_string(&mut process).ok();
            bail!(
                "another meter (process {}) serves the books in {}: two servers on one SQLite file would each believe \
                 to be alone; stop it, or set DATABASE_URL to another file, or use Postgres for several servers",
                process.trim(),
                path.display()
            )
        }
        Err(TryLockError::Error(error)) => Err(error)
            .with_context(|| format!("{} cannot be locked; keep it on a local disk", file.display())),
    }
}

fn beside(database: &Path) -> PathBuf {
    let mut file = database.as_os_str().to_owned();
    file.push(".lock");
    PathBuf::from(file)
}
