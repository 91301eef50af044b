//! Backups, and the offset of the clock in tests and demonstrations.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Row, SqliteConnection};

use super::{Store, StoreError};

/// The name of the setting that holds how far the clock was moved.
const CLOCK_OFFSET: &str = "clock_offset_ms";

impl Store {
    /// Writes the books, as of one instant, into a file that is not there yet.
    ///
    /// # Errors
    /// When the store fails or the file is there.
    pub async fn backup(&self, file: &Path) -> Result<(), StoreError> {
        sqlx::query("VACUUM INTO $1").bind(file.display().to_string()).execute(&self.writer).await?;
        Ok(())
    }

    /// Checks that a file is a whole database of a meter.
    ///
    /// # Errors
    /// When it is not.
    pub async fn check_backup(file: &Path) -> Result<(), StoreError> {
        let options = SqliteConnectOptions::new().filename(file).read_only(true);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let answer: String =
            sqlx::query("PRAGMA integrity_check").fetch_one(&mut connection).await?.try_get(0)?;
        if answer != "ok" {
            return Err(StoreError::Unsafe(answer));
        }
        sqlx::query("SELECT number FROM migration LIMIT 1").fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(())
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
