//! The books: all SQL of the aggregator, one function per statement, the same for SQLite and Postgres.
//!
//! An acknowledged write must survive `kill -9` and power loss: the store refuses to open a database
//! in any other state. What the two databases do differently is in `dialect`, `sqlite` and `postgres`.

mod accounts;
mod agent_sums;
mod billing;
mod bind_rows;
mod catalogues;
mod cells;
mod cloud_events;
mod contract_invoices;
mod contract_months;
mod contracts;
mod copy;
mod database;
mod deliveries;
mod denials;
mod dialect;
mod erasure;
mod events;
mod export;
mod homes;
mod identities;
mod intake;
mod invitations;
mod keys;
mod ledger;
mod members;
mod memory;
mod merge;
mod migrations;
mod other_incarnations;
mod outbox;
mod overview;
mod payers;
mod payments;
mod postgres;
mod projects;
mod quarantine;
mod rehearsal;
mod reporters;
mod reports;
mod retry;
mod rollups;
mod rows;
mod sessions;
mod silences;
mod sqlite;
mod standings;
mod stream;
mod tokens;
mod trail;
mod turns;
mod upkeep;
mod usage;
mod webhooks;
mod work;

use std::sync::Arc;
use std::time::Duration;

use sqlx::Any;
use sqlx::postgres::PgDatabaseError;
use tokio::sync::{Notify, Semaphore};

pub use accounts::{Known, NewAccount};
pub use billing::{Corrected, Correction, Credit, Credited, Post, Posted};
pub use catalogues::Applied;
pub use cells::SourceState;
pub use cloud_events::{Counted, Reported};
pub use contract_invoices::ContractInvoice;
pub use contract_months::Waived;
pub use contracts::ContractKept;
pub use copy::{Copied, CopyError, copy};
pub use database::{Database, PostgresUrl};
pub use deliveries::{Attempt, Attempted, Claim, Delivery, Due, Lane, Page};
pub use erasure::Erased;
pub use export::{Exported, Piece};
pub use intake::{Intake, IntakeError};
pub use invitations::{Invitation, Invited};
pub use keys::{KeyCreated, KeyRotated};
pub use members::MemberKept;
pub use merge::Merged;
pub use other_incarnations::Asking;
pub use outbox::DuePush;
pub use payments::{
    Began, Begin, Drift, Event, EventState, Outcome, Settled, Settlement, ShownIntent, ShownOrder,
    StripeCustomer, StripePrice,
};
pub use projects::Changed;
pub use quarantine::{Decided, Quarantined};
pub use rehearsal::{Change, Columns, Glance, Rehearsal};
pub use reporters::{ReporterKept, ReporterKeyMade};
pub use reports::{Arrived, Receipt, RefusedBecause, Taken};
pub use retry::TRIES_MAX;
pub use sessions::{Attempting, SignedIn};
#[cfg(feature = "server")]
pub(crate) use sqlite::create_private;
pub use stream::Shown;
pub use tokens::Token;
pub use trail::{Noted, TrailQuery};
pub use webhooks::{Asked, EndpointCreated, NewEndpoint};
pub use work::{Begun, Work};

use shared::ids::ProjectId;

use crate::access::trail::Actor;
use crate::ledger::refusal::Refusal;
use crate::random::NoRandomness;

use dialect::Dialect;
use memory::Memory;
use retry::again;

/// How long a request waits for a connection before it is answered 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The database. The store's files name only these seven, so that what is behind them may change.
///
/// Values are bound and read as `i64`, text, bytes and options of these: all databases have them.
type Db = Any;

/// What is bound to a statement.
type DbArguments = <Db as sqlx::Database>::Arguments;

/// A statement with what is bound to it.
type DbQuery<'q> = sqlx::query::Query<'q, Db, DbArguments>;

/// One row of an answer.
type DbRow = <Db as sqlx::Database>::Row;

/// A connection, or what a transaction is to the statements in it.
type Connection = <Db as sqlx::Database>::Connection;

/// Some connections.
type DbPool = sqlx::Pool<Db>;

/// A transaction; dropped without a commit it changes nothing.
type Tx = sqlx::Transaction<'static, Db>;

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
    #[error("there is no database at {0}; set DATABASE_URL to the right one, or make it with `meter serve`")]
    Missing(String),
    /// What is done to a file cannot be done to a server.
    #[error("the books are on Postgres: {0}")]
    NotOnPostgres(&'static str),
    /// A new id could not be drawn.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl StoreError {
    /// Whether the same call may succeed later without anybody changing anything in our code.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            // The pool is closed only while we are stopping; a connection that broke is replaced by the next call.
            Self::Database(
                sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::Io(_)
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::BeginFailed
                | sqlx::Error::InvalidSavePointStatement,
            ) => true,
            Self::Database(sqlx::Error::Database(error)) => database::is_passing(&**error),
            Self::Database(_)
            | Self::Unreadable { .. }
            | Self::Unsafe(_)
            | Self::Refused(_)
            | Self::Unwritable(_)
            | Self::Migration(_)
            | Self::Missing(_)
            | Self::NotOnPostgres(_)
            | Self::NoRandomness(_) => false,
        }
    }

    /// Whether the database took back a transaction so that another could go on: the same again may pass.
    #[must_use]
    pub fn is_taken_back(&self) -> bool {
        // Serialization failure and deadlock.
        let Self::Database(sqlx::Error::Database(error)) = self else { return false };
        let error = error.try_downcast_ref::<PgDatabaseError>();
        error.is_some_and(|error| ["40001", "40P01"].contains(&error.code()))
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

/// The connections to a database.
struct Pools {
    writer: DbPool,
    readers: DbPool,
}

/// The books.
#[derive(Debug, Clone)]
pub struct Store {
    dialect: Dialect,
    writer: DbPool,
    readers: DbPool,
    policy_changed: Arc<Notify>,
    deliveries_due: Arc<Notify>,
    /// Places of exports, each of which has a connection for long.
    exports: Arc<Semaphore>,
    /// Places of rehearsals.
    rehearsals: Arc<Semaphore>,
    /// Cells that this process wrote last.
    memory: Memory,
    /// The projects that this handle's rehearsal concerns, where it is one's.
    rehearsed: Option<rehearsal::Concerned>,
    /// On whose behalf this handle changes the books.
    actor: Arc<Actor>,
}

impl Store {
    /// Opens the database, brings it up to this release, and checks that it is safe.
    ///
    /// # Errors
    /// When it cannot be opened, is unsafe, or belongs to a newer release.
    pub async fn open(database: &Database, missing: WhenMissing) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let (dialect, Pools { writer, readers }) = match database {
            Database::Sqlite(path) => (Dialect::Sqlite, sqlite::open(path, missing).await?),
            Database::Postgres(url) => (Dialect::Postgres, postgres::open(url, missing).await?),
        };
        let store = Self {
            dialect,
            writer,
            readers,
            policy_changed: Arc::default(),
            deliveries_due: Arc::default(),
            exports: Arc::new(Semaphore::new(dialect.exports_max())),
            rehearsals: Arc::new(Semaphore::new(rehearsal::REHEARSALS_MAX)),
            memory: Memory::default(),
            rehearsed: None,
            actor: Arc::new(Actor::Job("meter")),
        };
        let mut tx = store.write().await?;
        migrations::apply(&mut tx).await?;
        catalogues::seed(&mut tx).await?;
        tx.commit().await?;
        store.open_missing_ledgers().await?;
        Ok(store)
    }

    /// Waits until this process raised a policy's version; changes of other processes are not seen.
    pub async fn policy_changed(&self) {
        self.policy_changed.notified().await;
    }

    /// Writes, in a transaction as changes are written, to learn whether the store takes a write now.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        let mut tx = self.writer.begin_with(self.dialect.begin_projects()).await?;
        // SQLite writes nothing where nothing changes, and would say on a full disk that it could.
        sqlx::query(
            "INSERT INTO setting (name, value) VALUES ('written', 'yes')
             ON CONFLICT (name) DO UPDATE SET value = CASE setting.value WHEN 'yes' THEN 'again' ELSE 'yes' END",
        )
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Closes the database; what was acknowledged is durable without it.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// A transaction that no other writer of the books runs beside, from its beginning, so that what it
    /// reads stays true and it never fails in its middle.
    ///
    /// On Postgres it holds the whole store's lock, which [`Store::write_projects`] shares.
    async fn write(&self) -> Result<Tx, StoreError> {
        self.begun(&self.writer, self.dialect.begin_write()).await
    }

    /// As [`Store::write`], but only against writers of the same project: it must write nothing of others.
    async fn write_project(&self, project: &ProjectId) -> Result<Tx, StoreError> {
        self.write_projects([project]).await
    }

    /// As [`Store::write_project`], for several.
    async fn write_projects<'a>(
        &self,
        projects: impl IntoIterator<Item = &'a ProjectId>,
    ) -> Result<Tx, StoreError> {
        let projects: Vec<&ProjectId> = projects.into_iter().collect();
        projects.iter().for_each(|project| self.concerns(project));
        let ids: Vec<&str> = projects.iter().map(|project| project.as_str()).collect();
        let mut tx = self.begun(&self.writer, self.dialect.begin_projects()).await?;
        if let Some(lock) = self.dialect.lock_projects() {
            sqlx::query(lock).bind(ids.join(" ")).fetch_all(&mut *tx).await?;
        }
        Ok(tx)
    }

    /// A transaction that sees one state of the books.
    async fn read(&self) -> Result<Tx, StoreError> {
        self.begun(&self.readers, self.dialect.begin_read()).await
    }

    /// A transaction begun by that statement; in a rehearsal a part of its own.
    async fn begun(&self, pool: &DbPool, statement: &'static str) -> Result<Tx, StoreError> {
        Ok(match self.rehearsed {
            None => pool.begin_with(statement).await?,
            Some(_) => pool.begin().await?,
        })
    }

    /// Commits a change that raised a policy's version and wakes the jobs that tell the edge and customers.
    async fn commit_policy_change(&self, tx: Tx) -> Result<(), StoreError> {
        tx.commit().await?;
        self.policy_changed.notify_one();
        self.deliveries_due.notify_one();
        Ok(())
    }
}
