//! What one would write instead: one connection to the same database that commits each count, as durably.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use tests::clock;

/// Counts a second.
pub(crate) async fn sqlite(file: &Path, window: Duration) -> Result<f64> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let mut connection = options.connect().await?;
    sqlx::raw_sql("CREATE TABLE cell (agent TEXT PRIMARY KEY, units INTEGER NOT NULL) WITHOUT ROWID")
        .execute(&mut connection)
        .await?;
    let end = clock::now().plus_ms(u64::try_from(window.as_millis())?);
    let mut counted = 0_u64;
    while clock::now() < end {
        let agent = format!("bot-{}", counted.rem_euclid(1_000));
        sqlx::query("INSERT INTO cell VALUES ($1, 1) ON CONFLICT (agent) DO UPDATE SET units = units + 1")
            .bind(agent)
            .execute(&mut connection)
            .await?;
        counted = counted.saturating_add(1);
    }
    connection.close().await?;
    Ok(counted as f64 / window.as_secs_f64())
}
