//! What one would write instead: one connection that merges a batch in one statement and commits, in a loop,
//! with the same table, the same keys and the same durability.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection};
use tokio::time::Instant;

use crate::ours::{CELLS, agent, kind};

const INSERT: &str = "INSERT INTO cell (project, mode, source, incarnation, day, kind, agent, units, tokens_in, tokens_out, anchors) ";

/// Rows in one statement, below SQLite's limit of parameters.
const ROWS: usize = 500;

fn create(text: &str, after: &str) -> String {
    format!(
        "CREATE TABLE cell (
             project {text} NOT NULL, mode {text} NOT NULL, day BIGINT NOT NULL, agent {text} NOT NULL,
             kind {text} NOT NULL, source {text} NOT NULL, incarnation {text} NOT NULL,
             units BIGINT NOT NULL, tokens_in BIGINT NOT NULL, tokens_out BIGINT NOT NULL, anchors BIGINT NOT NULL,
             PRIMARY KEY (project, mode, day, agent, kind, source, incarnation)
         ) {after}"
    )
}

fn on_conflict(greatest: &str) -> String {
    let sets = ["units", "tokens_in", "tokens_out", "anchors"]
        .map(|column| format!("{column} = {greatest}(cell.{column}, excluded.{column})"))
        .join(", ");
    format!(" ON CONFLICT (project, mode, day, agent, kind, source, incarnation) DO UPDATE SET {sets}")
}

/// A new SQLite file, as durable as that of the books.
pub(crate) async fn new_file(file: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    Ok(SqliteConnection::connect_with(&options).await?)
}

/// How many turns a second come one after the other; each gets its number, from one.
pub(crate) async fn turns(seconds: u64, mut turn: impl AsyncFnMut(i64) -> Result<()>) -> Result<f64> {
    let (start, mut turns) = (Instant::now(), 0_i64);
    while start.elapsed() < Duration::from_secs(seconds) {
        turns += 1;
        turn(turns).await?;
    }
    Ok(turns as f64 / start.elapsed().as_secs_f64())
}

/// Cells per second into an SQLite file.
pub(crate) async fn sqlite(file: &Path, seconds: u64) -> Result<f64> {
    let mut connection = new_file(file).await?;
    sqlx::raw_sql(AssertSqlSafe(create("TEXT", "WITHOUT ROWID"))).execute(&mut connection).await?;
    let rows = vec!["(?,?,?,?,?,?,?,?,?,?,?)"; ROWS].join(",");
    let sql = format!("{INSERT} VALUES {rows} {}", on_conflict("max"));
    let batches = turns(seconds, async |batches| {
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        for first in (0..CELLS).step_by(ROWS) {
            let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
            for place in first..(first + ROWS) {
                query = query.bind("demo").bind("live").bind("home").bind("aaaaaaaa").bind(20_759_i64);
                query = query.bind(kind(place)).bind(agent(place)).bind(batches);
                query = query.bind(batches).bind(batches).bind(0_i64);
            }
            query.execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    })
    .await?;
    connection.close().await?;
    Ok(batches * CELLS as f64)
}

/// Cells per second into a Postgres database.
pub(crate) async fn postgres(url: &str, seconds: u64) -> Result<f64> {
    let mut connection = PgConnection::connect(url).await?;
    let table = create("TEXT COLLATE \"C\"", "WITH (fillfactor = 70)");
    sqlx::raw_sql(AssertSqlSafe(table)).execute(&mut connection).await?;
    let sql = format!(
        "{INSERT} SELECT 'demo', 'live', 'home', 'aaaaaaaa', * FROM unnest($1::bigint[], $2::text[], $3::text[],
             $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[]) {}",
        on_conflict("greatest")
    );
    let kinds: Vec<&str> = (0..CELLS).map(kind).collect();
    let agents: Vec<String> = (0..CELLS).map(agent).collect();
    let batches = turns(seconds, async |batches| {
        let counts = vec![batches; CELLS];
        let mut tx = connection.begin().await?;
        sqlx::query(AssertSqlSafe(sql.clone()))
            .bind(vec![20_759_i64; CELLS])
            .bind(&kinds)
            .bind(&agents)
            .bind(&counts)
            .bind(&counts)
            .bind(&counts)
            .bind(vec![0_i64; CELLS])
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    })
    .await?;
    Ok(batches * CELLS as f64)
}
