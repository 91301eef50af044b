//! The tables, and how far they are.

use sqlx::{Row as _, SqliteConnection};

use super::StoreError;

/// Each step from nothing to what this release reads; never edited, only added to.
const STEPS: &[&str] = &["
CREATE TABLE home_row (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE report (
    id INTEGER PRIMARY KEY,
    incarnation TEXT NOT NULL,
    seq INTEGER NOT NULL,
    home_seq INTEGER NOT NULL,
    body TEXT NOT NULL,
    built_ms INTEGER NOT NULL,
    signature TEXT,
    sent_ms INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    acked_ms INTEGER,
    UNIQUE (incarnation, seq)
);
CREATE INDEX report_open ON report (incarnation, seq) WHERE acked_ms IS NULL;
", "
CREATE TABLE named (name TEXT PRIMARY KEY, hash TEXT NOT NULL, units INTEGER NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID;
", "
CREATE TABLE pruned (incarnation TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash TEXT NOT NULL) WITHOUT ROWID;
"];

/// Brings the tables to what this release reads.
pub(super) async fn apply(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let done = done(connection).await?;
    for (index, step) in STEPS.iter().enumerate().skip(done) {
        // One transaction a step, so that a crash leaves either nothing or all of it.
        let version = index.saturating_add(1);
        let script = format!("BEGIN IMMEDIATE;{step}PRAGMA user_version = {version};COMMIT;");
        sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Refuses tables that this release cannot read.
pub(super) async fn check(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let done = done(connection).await?;
    if done == STEPS.len() {
        return Ok(());
    }
    Err(StoreError::Unreadable {
        what: format!("tables of version {done}; start the reporter of this release once"),
    })
}

async fn done(connection: &mut SqliteConnection) -> Result<usize, StoreError> {
    let row = sqlx::query("PRAGMA user_version").fetch_one(&mut *connection).await?;
    let version: i64 = row.try_get(0)?;
    let known = usize::try_from(version).ok().filter(|version| *version <= STEPS.len());
    known.ok_or_else(|| StoreError::Unreadable {
        what: format!("tables of version {version}, of a newer release"),
    })
}
