//! Backups, and the offset of the clock in tests and demonstrations.

use std::net::SocketAddr;
use std::path::Path;

use shared::moved::Moved;
use shared::time::Timestamp;
use sqlx::Row;

use super::dialect::Dialect;
use super::{Connection, Store, StoreError, Work, sqlite};
use crate::access::trail::{Action, Deed};

/// The name of the setting that holds how far the clock was moved.
const CLOCK_OFFSET: &str = "clock_offset_ms";

/// How the names of settings begin that say how far each server has moved its own clock; where it listens follows.
const CLOCK_FOLLOWER: &str = "clock_follower ";

impl Store {
    /// Writes the books, as of one instant, into a file that is not there yet.
    ///
    /// # Errors
    /// When the store fails, the file is there, or the books are on a server.
    pub async fn backup(&self, file: &Path) -> Result<(), StoreError> {
        match self.dialect {
            Dialect::Sqlite => sqlite::backup(&self.writer, file).await,
            Dialect::Postgres => Err(StoreError::NotOnPostgres(
                "copy them with `pg_dump --format=custom`, or archive the server's log for any instant",
            )),
        }
    }

    /// Takes what was deleted out of the database's log, too, where that is ours to do; false where it could not be done
    /// now, and happens when the database is closed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_deleted(&self) -> Result<bool, StoreError> {
        match self.dialect {
            Dialect::Sqlite => sqlite::empty_log(&self.writer).await,
            // Its log is archived and replayed by others; how long they keep it is theirs to say.
            Dialect::Postgres => Ok(true),
        }
    }

    /// Checks that a file is a whole database of a meter.
    ///
    /// # Errors
    /// When it is not.
    pub async fn check_backup(file: &Path) -> Result<(), StoreError> {
        sqlx::any::install_default_drivers();
        sqlite::check_backup(file).await
    }

    /// How far the clock was moved forward, in milliseconds.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn clock_offset_ms(&self) -> Result<u64, StoreError> {
        clock_offset_ms(&mut *self.readers.acquire().await?).await
    }

    /// Notes how far the server that listens at `address` has moved its clock.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn follow_clock(&self, address: SocketAddr, offset_ms: u64) -> Result<(), StoreError> {
        let name = format!("{CLOCK_FOLLOWER}{address}");
        let mut work = self.begin().await?;
        set(&mut work.tx, &name, &offset_ms.to_string()).await?;
        work.commit().await
    }

    /// The servers that may still run, and how far each has moved its clock.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn clock_followers(&self) -> Result<Vec<(SocketAddr, u64)>, StoreError> {
        let rows = sqlx::query("SELECT name, value FROM setting WHERE name LIKE $1 ORDER BY name")
            .bind(format!("{CLOCK_FOLLOWER}%"))
            .fetch_all(&mut *self.readers.acquire().await?)
            .await?;
        rows.iter()
            .map(|row| {
                let (name, value): (String, String) = (row.try_get("name")?, row.try_get("value")?);
                let address = name.strip_prefix(CLOCK_FOLLOWER).and_then(|address| address.parse().ok());
                let read = address.zip(value.parse().ok());
                read.ok_or(StoreError::Unreadable {
                    column: "clock_follower",
                    got: format!("{name}: {value}"),
                })
            })
            .collect()
    }

    /// Forgets a server that does not run any more; one that does notes itself again.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_clock_follower(&self, address: SocketAddr) -> Result<(), StoreError> {
        let name = format!("{CLOCK_FOLLOWER}{address}");
        let mut work = self.begin().await?;
        sqlx::query("DELETE FROM setting WHERE name = $1").bind(&name).execute(&mut *work.tx).await?;
        work.commit().await
    }

    /// Moves the clock forward and says how far it is moved in all.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn advance_clock(&self, by_ms: u64, now: Timestamp) -> Result<u64, StoreError> {
        self.change(async |work| work.advance_clock(by_ms, now).await).await
    }
}

impl Work {
    /// As [`Store::advance_clock`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn advance_clock(&mut self, by_ms: u64, now: Timestamp) -> Result<u64, StoreError> {
        let before_ms = clock_offset_ms(&mut self.tx).await?;
        let offset_ms = before_ms.saturating_add(by_ms).min(Moved::MS_MAX);
        set(&mut self.tx, CLOCK_OFFSET, &offset_ms.to_string()).await?;
        let deed = Deed::apart(Action::ClockMoved, "clock");
        self.note(&deed.was(&before_ms).became(&offset_ms), now).await?;
        Ok(offset_ms)
    }
}

async fn set(connection: &mut Connection, name: &str, value: &str) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(name)
    .bind(value)
    .execute(connection)
    .await?;
    Ok(())
}

async fn clock_offset_ms(connection: &mut Connection) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT value FROM setting WHERE name = $1")
        .bind(CLOCK_OFFSET)
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(0) };
    let stored: String = row.try_get("value")?;
    stored.parse().map_err(|_| StoreError::Unreadable { column: CLOCK_OFFSET, got: stored })
}
