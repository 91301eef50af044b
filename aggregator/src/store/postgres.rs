//! The books on a Postgres server: how it is connected to and checked. Never to one that may lose commits.

use std::time::Duration;

use sqlx::Row;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};

use super::database::PostgresUrl;
use super::{ACQUIRE_TIMEOUT, Connection, DbPool, Pools, StoreError, WhenMissing};

/// Connections that write. Writers of one project wait for each other anyway; this many projects do not.
const WRITERS_MAX: u32 = 8;

/// Connections that only read: together with those that write, six servers fit into Postgres' default of 100.
const READERS_MAX: u32 = 8;

/// How long a connection may be idle before it is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Nobody waits for a lock longer than a request waits for a connection, and a server that vanished in the
/// middle of a transaction does not keep its locks. No statement is compiled to machine code, and none is read by several
/// processes: of a report by agents either took longer than its reading.
const SESSION: &str =
    "SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '30s'; SET jit = off;
     SET max_parallel_workers_per_gather = 0";

/// A report of ten thousand agents is sorted in memory: by default it would go to the disk.
const READ_ONLY: &str = "SET default_transaction_read_only = on; SET work_mem = '16MB'";

/// Fails in a transaction that failed, and is nothing in one that is open: whoever was to end it is gone. It must be asked as a
/// simple query: of a prepared one Postgres reads the clock at each of its messages, and both instants are never the same.
const OUTSIDE_TRANSACTIONS: &str = "SELECT 1 WHERE transaction_timestamp() = statement_timestamp()";

/// Several connections that write and several that only read, all of them safe.
pub(super) async fn open(url: &PostgresUrl, missing: WhenMissing) -> Result<Pools, StoreError> {
    let options: AnyConnectOptions = url.expose().parse()?;
    let pool = |size| {
        AnyPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(IDLE_TIMEOUT)
            // A transaction whose beginning failed is one to the server and none to the driver, which never ends it.
            // The question is also what tells that the server is there.
            .test_before_acquire(false)
            .before_acquire(|connection, _| {
                Box::pin(async move {
                    Ok(sqlx::raw_sql(OUTSIDE_TRANSACTIONS).fetch_optional(connection).await?.is_some())
                })
            })
    };
    // By itself, because a pool would try an unsafe server again and again and not say why.
    let first: DbPool = pool(1).connect_with(options.clone()).await?;
    let checked = check(&first, missing, url).await;
    first.close().await;
    checked?;
    let writer = pool(WRITERS_MAX)
        .after_connect(|connection, _| Box::pin(async move { prepare(connection).await.map(drop) }))
        .connect_lazy_with(options.clone());
    let readers = pool(READERS_MAX)
        .after_connect(|connection, _| {
            Box::pin(async move {
                let connection = prepare(connection).await?;
                sqlx::raw_sql(READ_ONLY).execute(connection).await.map(drop)
            })
        })
        .connect_lazy_with(options);
    Ok(Pools { writer, readers })
}

async fn check(pool: &DbPool, missing: WhenMissing, url: &PostgresUrl) -> Result<(), StoreError> {
    let mut connection = pool.acquire().await?;
    refuse_unsafe(&mut connection).await?;
    let books: Option<String> = sqlx::query("SELECT CAST(to_regclass('migration') AS TEXT)")
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    match (books, missing) {
        (None, WhenMissing::Refuse) => Err(StoreError::Missing(url.to_string())),
        (Some(_), _) | (None, WhenMissing::Create) => Ok(()),
    }
}

/// Settings may have changed since the last connection, so each is checked.
pub(super) async fn prepare(connection: &mut Connection) -> Result<&mut Connection, sqlx::Error> {
    sqlx::raw_sql(SESSION).execute(&mut *connection).await?;
    match refuse_unsafe(connection).await {
        Ok(()) => Ok(connection),
        Err(StoreError::Database(error)) => Err(error),
        Err(error) => Err(sqlx::Error::Configuration(Box::new(error))),
    }
}

/// Refuses a server or a session whose commits may be lost, and an encoding that cannot hold all text.
async fn refuse_unsafe(connection: &mut Connection) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
                current_setting('synchronous_commit') AS synchronous_commit,
                current_setting('server_encoding') AS server_encoding",
    )
    .fetch_one(connection)
    .await?;
    for (name, accepted) in [
        ("fsync", &["on"][..]),
        ("full_page_writes", &["on"]),
        ("synchronous_commit", &["on", "local", "remote_write", "remote_apply"]),
        ("server_encoding", &["UTF8"]),
    ] {
        let value: String = row.try_get(name)?;
        if !accepted.contains(&value.as_str()) {
            return Err(StoreError::Unsafe(format!(
                "{name} is {value}, accepted is {}",
                accepted.join(", ")
            )));
        }
    }
    Ok(())
}
