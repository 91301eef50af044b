//! Backups, and the offset of the clock in tests and demonstrations.

use std::path::Path;

use sqlx::Row;

use super::dialect::Dialect;
use super::{Store, StoreError, sqlite};

/// The name of the setting that holds how far the clock was moved.
const CLOCK_OFFSET: &str = "clock_offset_ms";

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
        let row = sqlx::query("SELECT value FROM setting WHERE name = $1")
            .bind(CLOCK_OFFSET)
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else { return Ok(0) };
        let stored: String = row.try_get("value")?;
        stored.parse().map_err(|_| StoreError::Unreadable { column: CLOCK_OFFSET, got: stored })
    }

    /// Moves the clock forward and says how far it is moved in all.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn advance_clock(&self, by_ms: u64) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let offset_ms = self.clock_offset_ms().await?.saturating_add(by_ms);
        sqlx::query(
            "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(CLOCK_OFFSET)
        .bind(offset_ms.to_string())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(offset_ms)
    }
}
