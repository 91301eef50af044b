//! The data folder: an SQLite file with the home's rows, every report that was ever made, and what was last heard.
//! All SQL of the reporter is here.
//!
//! What was committed survives `kill -9` and power loss. One process writes; others may look.

mod pruned;
mod schema;

use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::home::Row as HomeRow;
use shared::time::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use crate::named::Named;

/// The file within the folder.
const FILE: &str = "reporter.db";

/// How long a look waits for a writer.
const BUSY: Duration = Duration::from_secs(5);

/// What can go wrong with the folder.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be read or written.
    #[error("the data folder failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A stored value is not what it must be; somebody else wrote there.
    #[error("the data folder holds {what}, which this release cannot read")]
    Unreadable {
        /// What is there.
        what: String,
    },
    /// There is no such folder, or nothing was ever counted in it.
    #[error("{} holds no reporter's data; METER_REPORTER_DATA names another folder", .0.display())]
    Missing(PathBuf),
}

/// A report that was frozen: its body never changes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// The life of the folder that it was made in.
    pub incarnation: String,
    /// Its number in that life.
    pub seq: u64,
    /// The flush of the home that it carries; zero carries nothing.
    pub home_seq: u64,
    /// The exact body.
    pub body: String,
    /// When it was made.
    pub built_ms: u64,
    /// The signature that it was last sent or exported under.
    pub signature: Option<String>,
    /// When that was.
    pub sent_ms: Option<u64>,
    /// How often it was sent.
    pub attempts: u64,
    /// When its receipt came.
    pub acked_ms: Option<u64>,
}

/// One change of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Rows of the home.
    Home(Vec<HomeRow>),
    /// A new report.
    Freeze(Frozen),
    /// A report is about to leave.
    Leave {
        /// Which.
        incarnation: String,
        /// Which of that life.
        seq: u64,
        /// Under which signature.
        signature: String,
        /// When.
        at_ms: u64,
    },
    /// A report was acknowledged.
    Acknowledge {
        /// Which.
        incarnation: String,
        /// Which of that life, with all before it.
        seq: u64,
        /// When.
        at_ms: u64,
    },
    /// A count that its sender has named.
    Name(Named),
    /// Names that are not needed any more.
    Forget(Vec<String>),
    /// Something that is known; `None` forgets it.
    Fact {
        /// What it is called.
        name: &'static str,
        /// What it is.
        value: Option<String>,
    },
}

/// The open folder.
#[derive(Debug)]
pub struct Store {
    connection: SqliteConnection,
}

impl Store {
    /// Opens the folder for the one process that writes; it is made where there is none.
    ///
    /// # Errors
    /// When that is not possible.
    pub async fn open(folder: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(folder.join(FILE))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Each commit is on the disk before it is answered for.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .disable_statement_logging();
        let mut store = Self { connection: options.connect().await? };
        schema::apply(&mut store.connection).await?;
        Ok(store)
    }

    /// Opens the folder to look at, beside a process that writes.
    ///
    /// # Errors
    /// When there is nothing to look at.
    pub async fn look(folder: &Path) -> Result<Self, StoreError> {
        let file = folder.join(FILE);
        if !file.is_file() {
            return Err(StoreError::Missing(folder.to_path_buf()));
        }
        let options =
            SqliteConnectOptions::new().filename(file).busy_timeout(BUSY).disable_statement_logging();
        let mut store = Self { connection: options.connect().await? };
        schema::check(&mut store.connection).await?;
        // Whoever only looks must not be able to write.
        sqlx::query("PRAGMA query_only = ON").execute(&mut store.connection).await?;
        Ok(store)
    }

    /// Writes all of it, or nothing.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn commit(&mut self, mut writes: Vec<Write>) -> Result<(), StoreError> {
        // What comes most often is one statement, which is whole by itself and needs no word before and after it.
        if let [Write::Home(rows)] = writes.as_mut_slice()
            && rows.iter().all(|row| row.value.is_some())
        {
            return home(&mut self.connection, std::mem::take(rows)).await;
        }
        let mut tx = self.connection.begin().await?;
        for write in writes {
            apply(&mut tx, write).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Every row of the home.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn home_rows(&mut self) -> Result<Vec<(String, String)>, StoreError> {
        let rows = sqlx::query("SELECT key, value FROM home_row").fetch_all(&mut self.connection).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// What is known by that name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn fact(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        let query = sqlx::query("SELECT value FROM fact WHERE name = $1").bind(name.to_owned());
        let row = query.fetch_optional(&mut self.connection).await?;
        row.map(|row| Ok(row.try_get(0)?)).transpose()
    }

    /// Counts that their senders have named, the oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn names(&mut self) -> Result<Vec<Named>, StoreError> {
        let query = sqlx::query("SELECT * FROM named ORDER BY at_ms, name");
        let rows = query.fetch_all(&mut self.connection).await?;
        let named = |row: &SqliteRow| {
            Ok(Named {
                name: row.try_get("name")?,
                hash: row.try_get("hash")?,
                units: unsigned(row, "units")?,
                at: Timestamp::from_ms(unsigned(row, "at_ms")?),
            })
        };
        rows.iter().map(named).collect()
    }

    /// The newest report of a life.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn newest(&mut self, incarnation: &str) -> Result<Option<Frozen>, StoreError> {
        let query = sqlx::query("SELECT * FROM report WHERE incarnation = $1 ORDER BY seq DESC LIMIT 1");
        let row = query.bind(incarnation.to_owned()).fetch_optional(&mut self.connection).await?;
        row.as_ref().map(frozen).transpose()
    }

    /// The reports of a life that were not acknowledged, the oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn unacknowledged(&mut self, incarnation: &str) -> Result<Vec<Frozen>, StoreError> {
        let query =
            sqlx::query("SELECT * FROM report WHERE incarnation = $1 AND acked_ms IS NULL ORDER BY seq");
        let rows = query.bind(incarnation.to_owned()).fetch_all(&mut self.connection).await?;
        rows.iter().map(frozen).collect()
    }

    /// All reports after the first so many, in the order in which they were made; at most `limit`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn reports(&mut self, after: u64, limit: u32) -> Result<Vec<(u64, Frozen)>, StoreError> {
        let query = sqlx::query("SELECT * FROM report WHERE id > $1 ORDER BY id LIMIT $2");
        let rows = query.bind(number(after)).bind(i64::from(limit)).fetch_all(&mut self.connection).await?;
        rows.iter().map(|row| Ok((unsigned(row, "id")?, frozen(row)?))).collect()
    }
}

async fn apply(tx: &mut SqliteConnection, write: Write) -> Result<(), StoreError> {
    match write {
        Write::Home(rows) => return home(tx, rows).await,
        Write::Freeze(frozen) => sqlx::query(
            "INSERT INTO report (incarnation, seq, home_seq, body, built_ms) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(frozen.incarnation)
        .bind(number(frozen.seq))
        .bind(number(frozen.home_seq))
        .bind(frozen.body)
        .bind(number(frozen.built_ms)),
        Write::Leave { incarnation, seq, signature, at_ms } => sqlx::query(
            "UPDATE report SET signature = $3, sent_ms = $4, attempts = attempts + 1 WHERE incarnation = $1 AND seq = $2",
        )
        .bind(incarnation)
        .bind(number(seq))
        .bind(signature)
        .bind(number(at_ms)),
        Write::Acknowledge { incarnation, seq, at_ms } => sqlx::query(
            "UPDATE report SET acked_ms = $3 WHERE incarnation = $1 AND seq <= $2 AND acked_ms IS NULL",
        )
        .bind(incarnation)
        .bind(number(seq))
        .bind(number(at_ms)),
        Write::Name(Named { name, hash, units, at }) => sqlx::query(
            "INSERT INTO named (name, hash, units, at_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .bind(hash)
        .bind(number(units))
        .bind(number(at.as_ms())),
        Write::Forget(names) => {
            sqlx::query("DELETE FROM named WHERE name IN (SELECT value FROM json_each($1))")
                .bind(shared::json::write(&names))
        }
        Write::Fact { name, value: Some(value) } => sqlx::query(
            "INSERT INTO fact (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(value),
        Write::Fact { name, value: None } => sqlx::query("DELETE FROM fact WHERE name = $1").bind(name),
    }
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes rows of the home in one statement, however many there are: they travel as one text.
async fn home(tx: &mut SqliteConnection, rows: Vec<HomeRow>) -> Result<(), StoreError> {
    let (mut changed, mut deleted) = (Vec::new(), Vec::new());
    for HomeRow { key, value } in rows {
        match value {
            Some(value) => changed.push([key, value]),
            None => deleted.push(key),
        }
    }
    if !changed.is_empty() {
        sqlx::query(
            "INSERT INTO home_row (key, value) SELECT value ->> 0, value ->> 1 FROM json_each($1) WHERE true \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(shared::json::write(&changed))
        .execute(&mut *tx)
        .await?;
    }
    if !deleted.is_empty() {
        sqlx::query("DELETE FROM home_row WHERE key IN (SELECT value FROM json_each($1))")
            .bind(shared::json::write(&deleted))
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

fn frozen(row: &SqliteRow) -> Result<Frozen, StoreError> {
    let optional = |column: &'static str| -> Result<Option<u64>, StoreError> {
        let value: Option<i64> = row.try_get(column)?;
        value.map(|value| u64::try_from(value).map_err(|_| unreadable(column, value))).transpose()
    };
    Ok(Frozen {
        incarnation: row.try_get("incarnation")?,
        seq: unsigned(row, "seq")?,
        home_seq: unsigned(row, "home_seq")?,
        body: row.try_get("body")?,
        built_ms: unsigned(row, "built_ms")?,
        signature: row.try_get("signature")?,
        sent_ms: optional("sent_ms")?,
        attempts: unsigned(row, "attempts")?,
        acked_ms: optional("acked_ms")?,
    })
}

fn unsigned(row: &SqliteRow, column: &'static str) -> Result<u64, StoreError> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|_| unreadable(column, value))
}

fn unreadable(column: &str, value: i64) -> StoreError {
    StoreError::Unreadable { what: format!("{column} = {value}") }
}

/// SQLite's integers have a sign; no number here is anywhere near it.
fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
