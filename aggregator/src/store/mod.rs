//! The books on disk: all SQL of the aggregator, one function per statement.
//!
//! An acknowledged write must survive `kill -9` and power loss: the store refuses to open a database
//! in any other state. There is one connection that writes, so that writers queue here instead of
//! meeting in the database, and a few that only read.

mod billing;
mod cells;
mod intake;
mod keys;
mod ledger;
mod migrations;
mod outbox;
mod projects;
mod rows;
mod tokens;
mod trail;
mod upkeep;
mod usage;
mod work;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, Sqlite, Transaction};
use tokio::sync::Notify;

pub use billing::Credited;
pub use cells::{Merged, SourceState};
pub use intake::{Intake, IntakeError};
pub use keys::KeyCreated;
pub use outbox::DuePush;
pub use projects::Changed;
pub use tokens::Token;
pub use trail::{Noted, TrailQuery};
pub use work::{Begun, Work};

use shared::ids::ProjectId;
use shared::plan::Catalogue;

use crate::ledger::refusal::Refusal;
use crate::random::NoRandomness;
use crate::trail::Actor;

/// How long one connection waits for another process that writes, such as a `meter` command.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request waits for a connection before it is answered 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Enough for reports to run beside the writer; SQLite readers never block it.
const READERS_MAX: u32 = 4;

/// The value of `PRAGMA synchronous` that syncs the log at every commit.
const SYNCHRONOUS_FULL: i64 = 2;

/// The database. The store's files name only these five, so that what is behind them may change.
///
/// Values are bound and read as `i64`, text, bytes and options of these: all databases have them.
type Db = Sqlite;

/// One row of an answer.
type DbRow = <Db as sqlx::Database>::Row;

/// A connection, or what a transaction is to the statements in it.
type Connection = <Db as sqlx::Database>::Connection;

/// Some connections.
type DbPool = sqlx::Pool<Db>;

/// A transaction; dropped without a commit it changes nothing.
type Tx = Transaction<'static, Db>;

/// Takes the write lock at once, so that a transaction never fails in its middle.
const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";

/// What can go wrong with the books.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A stored value is not what it must be; somebody else wrote to the database.
    #[error("the database holds {column} = {got:?}, which this release cannot read")]
    Unreadable {
        /// The column.
        column: &'static str,
        /// What it holds.
        got: String,
    },
    /// The database cannot keep what it acknowledges.
    #[error("the database is not safe to use: {0}")]
    Unsafe(String),
    /// The database and this release do not fit together.
    #[error("{0}")]
    Migration(String),
    /// A ledger cannot be replayed or refuses what must be written.
    #[error("the ledger refuses: {0}")]
    Refused(Refusal),
    /// An entry cannot be written as JSON.
    #[error("an entry cannot be written: {0}")]
    Unwritable(String),
    /// There is no database where one was expected.
    #[error(
        "there is no database at {0}; set DATABASE_URL to the right file, or make one with `meter serve`"
    )]
    Missing(String),
    /// A new id could not be drawn.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl StoreError {
    /// Whether the same call may succeed later without anybody changing anything in our code.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        // SQLite's primary result codes: busy, locked, I/O error, disk full, cannot open.
        const PASSING: [u32; 5] = [5, 6, 10, 13, 14];
        match self {
            // The pool is closed only while we are stopping.
            Self::Database(sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_)) => true,
            Self::Database(sqlx::Error::Database(error)) => {
                // The low byte of an extended code is its primary code.
                let code = error.code().and_then(|code| code.parse::<u32>().ok());
                code.is_some_and(|code| PASSING.contains(&(code & 0xff)))
            }
            Self::Database(_)
            | Self::Unreadable { .. }
            | Self::Unsafe(_)
            | Self::Refused(_)
            | Self::Unwritable(_)
            | Self::Migration(_)
            | Self::Missing(_)
            | Self::NoRandomness(_) => false,
        }
    }
}

/// What to do when there is no database yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenMissing {
    /// Make an empty one.
    Create,
    /// Say so: a mistyped path must not look like an empty meter.
    Refuse,
}

/// The books.
#[derive(Debug, Clone)]
pub struct Store {
    writer: DbPool,
    readers: DbPool,
    policy_changed: Arc<Notify>,
    /// On whose behalf this handle changes the books.
    actor: Arc<Actor>,
}

impl Store {
    /// Opens the database at `path`, brings it up to this release, and checks that it is safe.
    ///
    /// # Errors
    /// When it cannot be opened, is unsafe, or belongs to a newer release.
    pub async fn open(path: &Path, missing: WhenMissing) -> Result<Self, StoreError> {
        if missing == WhenMissing::Refuse && !path.exists() {
            return Err(StoreError::Missing(path.display().to_string()));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // Where a plain sync leaves data in the drive's cache (macOS), SQLite asks for more.
            .pragma("fullfsync", "ON")
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = |size| SqlitePoolOptions::new().max_connections(size).acquire_timeout(ACQUIRE_TIMEOUT);
        let writer = pool(1).connect_with(options.clone()).await?;
        refuse_unsafe(&mut *writer.acquire().await?).await?;
        migrations::apply(&writer).await?;
        let catalogue = Catalogue::from_json(Catalogue::DEFAULT_JSON).map_err(StoreError::Migration)?;
        ledger::open_missing(&writer, &catalogue).await?;
        let readers = pool(READERS_MAX).connect_with(options.pragma("query_only", "ON")).await?;
        Ok(Self {
            writer,
            readers,
            policy_changed: Arc::new(Notify::new()),
            actor: Arc::new(Actor::Job("meter")),
        })
    }

    /// Waits until this process raised a policy's version; changes of other processes are not seen.
    pub async fn policy_changed(&self) {
        self.policy_changed.notified().await;
    }

    /// Writes and takes back, to learn whether the store would take a write now.
    ///
    /// # Errors
    /// When it would not.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        sqlx::query("INSERT INTO setting (name, value) VALUES ('written', 'yes') ON CONFLICT (name) DO UPDATE SET value = 'yes'")
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Closes the database; what was acknowledged is durable without it.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// A transaction that no other writer of the books runs beside, from its beginning, so that what it
    /// reads stays true and it never fails in its middle.
    async fn write(&self) -> Result<Tx, StoreError> {
        Ok(self.writer.begin_with(BEGIN_WRITE).await?)
    }

    /// As [`Store::write`], but only against writers of the same project: it must write nothing of others.
    async fn write_project(&self, _project: &ProjectId) -> Result<Tx, StoreError> {
        self.write().await
    }

    /// A transaction that sees one state of the books.
    async fn read(&self) -> Result<Tx, StoreError> {
        Ok(self.readers.begin().await?)
    }

    /// Commits a change that raised a policy's version and wakes the push job.
    async fn commit_policy_change(&self, tx: Tx) -> Result<(), StoreError> {
        tx.commit().await?;
        self.policy_changed.notify_one();
        Ok(())
    }
}

/// SQLite answers a setting that it cannot keep with the one it has, so what counts is what it answers.
async fn refuse_unsafe(connection: &mut Connection) -> Result<(), StoreError> {
    let journal: String = sqlx::query("PRAGMA journal_mode").fetch_one(&mut *connection).await?.try_get(0)?;
    if journal != "wal" {
        let advice = "acknowledged writes need wal; keep the file on a local disk";
        return Err(StoreError::Unsafe(format!("its journal mode is {journal}; {advice}")));
    }
    let synchronous: i64 = sqlx::query("PRAGMA synchronous").fetch_one(&mut *connection).await?.try_get(0)?;
    if synchronous < SYNCHRONOUS_FULL {
        return Err(StoreError::Unsafe(format!(
            "synchronous is {synchronous}, accepted is {SYNCHRONOUS_FULL} (FULL)"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{Connection as _, SqliteConnection};

    #[tokio::test]
    async fn a_connection_that_may_lose_acknowledged_writes_is_refused() {
        use SqliteJournalMode::{Delete, Memory, Wal};
        use SqliteSynchronous::{Extra, Full, Normal, Off};
        let folder = std::env::temp_dir().join(format!("meter-store-{}", crate::random::id().unwrap()));
        std::fs::create_dir(&folder).unwrap();
        let cases = [
            (Wal, Full, None),
            (Wal, Extra, None),
            (Wal, Normal, Some("synchronous is 1")),
            (Wal, Off, Some("synchronous is 0")),
            (Memory, Full, Some("journal mode is memory")),
            (Delete, Full, Some("journal mode is delete")),
        ];
        for (number, (journal, synchronous, expected)) in cases.into_iter().enumerate() {
            let options = SqliteConnectOptions::new()
                .filename(folder.join(number.to_string()))
                .create_if_missing(true)
                .journal_mode(journal)
                .synchronous(synchronous);
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            let refused = refuse_unsafe(&mut connection).await.err().map(|error| error.to_string());
            match (&refused, expected) {
                (None, None) => {}
                (Some(error), Some(expected)) => assert!(error.contains(expected), "{error}"),
                (None, Some(_)) | (Some(_), None) => panic!("{number}: {refused:?}, expected {expected:?}"),
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn every_connection_of_an_opened_store_is_safe() {
        let folder = std::env::temp_dir().join(format!("meter-store-{}", crate::random::id().unwrap()));
        std::fs::create_dir(&folder).unwrap();
        let store = Store::open(&folder.join("m.db"), WhenMissing::Create).await.unwrap();
        refuse_unsafe(&mut store.writer.acquire().await.unwrap()).await.unwrap();
        let refused = sqlx::query("DELETE FROM setting").execute(&store.readers).await;
        assert!(refused.is_err(), "a reader must not write");
        store.close().await;
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
