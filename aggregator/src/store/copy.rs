//! The books of an SQLite file, copied whole into an empty Postgres database: one transaction, which fails whole.
//!
//! Which tables and columns there are is asked of the file itself, so that a new migration is copied like the others.

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Row};

use super::database::PostgresUrl;
use super::dialect::Dialect;
use super::{
    Connection, Database, DbQuery, DbRow, Pools, Store, StoreError, WhenMissing, migrations, postgres,
};

/// What one statement may have of parameters: Postgres takes 65,535.
const PARAMETERS_MAX: usize = 30_000;

/// How many rows one statement may insert: some megabytes, whatever they hold.
const ROWS_MAX: usize = 1_000;

/// The table of what has been migrated; the target has its own.
const MIGRATIONS: &str = "migration";

/// A table that was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its name.
    pub table: String,
    /// How many rows it has, here and there.
    pub rows: u64,
}

/// Why nothing was copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There are books already.
    #[error("{0} has books already, and nothing is written over; name an empty database")]
    NotEmpty(String),
    /// A table has fewer or more rows there than here.
    #[error("the table {table} has {there} rows there and {here} here; nothing was copied")]
    Differs {
        /// Which.
        table: String,
        /// How many were read.
        here: u64,
        /// How many are there now.
        there: u64,
    },
    /// A database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for CopyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Copies every row of the books in a file to an empty database, or nothing.
///
/// # Errors
/// When there is no file, the target has books, or a database fails.
pub async fn copy(from: &Path, to: &PostgresUrl) -> Result<Vec<Copied>, CopyError> {
    sqlx::any::install_default_drivers();
    match postgres::open(to, WhenMissing::Refuse).await {
        Err(StoreError::Missing(_)) => {}
        Err(error) => return Err(error.into()),
        Ok(_) => return Err(CopyError::NotEmpty(to.to_string())),
    }
    // Opening it brings it up to this release, which is what the target will have.
    let source = Store::open(&Database::Sqlite(from.to_path_buf()), WhenMissing::Refuse).await?;
    let Pools { writer, readers } = postgres::open(to, WhenMissing::Create).await?;
    let mut target = writer.begin_with(Dialect::Postgres.begin_write()).await?;
    migrations::apply(&mut target).await?;
    // Nobody writes while we read: what is copied is one state of the books, and the last.
    let mut rows = source.write().await?;
    let mut copied = Vec::new();
    for table in tables(&mut rows).await? {
        copied.push(copy_table(&mut rows, &mut target, table).await?);
    }
    target.commit().await?;
    drop(rows);
    source.close().await;
    readers.close().await;
    writer.close().await;
    Ok(copied)
}

/// Every table, those that others refer to before these.
async fn tables(source: &mut Connection) -> Result<Vec<String>, StoreError> {
    let names = sqlx::query(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )
    .fetch_all(&mut *source)
    .await?;
    let mut left: Vec<(String, BTreeSet<String>)> = Vec::new();
    for name in &names {
        let name: String = name.try_get(0)?;
        if name == MIGRATIONS {
            continue;
        }
        let parents = sqlx::query("SELECT DISTINCT \"table\" FROM pragma_foreign_key_list($1)")
            .bind(&name)
            .fetch_all(&mut *source)
            .await?;
        let parents: Result<BTreeSet<String>, sqlx::Error> =
            parents.iter().map(|row| row.try_get(0)).collect();
        left.push((name, parents?));
    }
    let mut ordered: Vec<String> = Vec::new();
    while !left.is_empty() {
        let is_free = |(name, parents): &(String, BTreeSet<String>)| {
            parents.iter().all(|parent| parent == name || ordered.contains(parent))
        };
        let (free, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(is_free);
        if free.is_empty() {
            let names: Vec<String> = rest.into_iter().map(|(name, _)| name).collect();
            return Err(StoreError::Migration(format!(
                "tables refer to each other in a circle: {}",
                names.join(", ")
            )));
        }
        ordered.extend(free.into_iter().map(|(name, _)| name));
        left = rest;
    }
    Ok(ordered)
}

async fn copy_table(
    source: &mut Connection,
    target: &mut Connection,
    table: String,
) -> Result<Copied, CopyError> {
    let columns = sqlx::query("SELECT name, type FROM pragma_table_info($1) ORDER BY cid")
        .bind(&table)
        .fetch_all(&mut *source)
        .await?;
    let columns: Result<Vec<(String, String)>, sqlx::Error> =
        columns.iter().map(|row| Ok((row.try_get("name")?, row.try_get("type")?))).collect();
    let columns = columns?;
    let names: Vec<String> = columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let names = names.join(", ");
    let select = format!("SELECT {names} FROM \"{table}\"");
    let rows_max = PARAMETERS_MAX.checked_div(columns.len()).unwrap_or(1).clamp(1, ROWS_MAX);
    let (mut here, mut piece) = (0_u64, Vec::new());
    let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut *source);
    while let Some(row) = rows.try_next().await? {
        here = here.saturating_add(1);
        piece.push(row);
        if piece.len() >= rows_max {
            insert(target, (&table, &names), &piece, &columns).await?;
            piece.clear();
        }
    }
    drop(rows);
    insert(target, (&table, &names), &piece, &columns).await?;
    go_on_counting(target, &table).await?;
    let there =
        sqlx::query(AssertSqlSafe(format!("SELECT COUNT(*) FROM \"{table}\""))).fetch_one(target).await?;
    let there = u64::try_from(there.try_get::<i64, _>(0)?).unwrap_or_default();
    if here != there {
        return Err(CopyError::Differs { table, here, there });
    }
    Ok(Copied { table, rows: there })
}

async fn insert(
    target: &mut Connection,
    (table, names): (&str, &str),
    rows: &[DbRow],
    columns: &[(String, String)],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut number = 0_usize;
    let mut tuples = Vec::new();
    for _ in rows {
        let tuple = columns.iter().map(|_| {
            number = number.saturating_add(1);
            format!("${number}")
        });
        tuples.push(format!("({})", tuple.collect::<Vec<_>>().join(",")));
    }
    // Numbers that the database gives by itself are kept as they are.
    let sql =
        format!("INSERT INTO \"{table}\" ({names}) OVERRIDING SYSTEM VALUE VALUES {}", tuples.join(","));
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for row in rows {
        for (at, (name, kind)) in columns.iter().enumerate() {
            query = bind(query, row, at, (name, kind))?;
        }
    }
    query.persistent(false).execute(target).await?;
    Ok(())
}

/// Binds a value as its column is declared, which is how it is without one too.
fn bind<'q>(
    query: DbQuery<'q>,
    row: &DbRow,
    at: usize,
    (name, kind): (&str, &str),
) -> Result<DbQuery<'q>, StoreError> {
    Ok(match kind {
        "INTEGER" => query.bind(row.try_get::<Option<i64>, _>(at)?),
        "TEXT" => query.bind(row.try_get::<Option<String>, _>(at)?),
        "BLOB" => query.bind(row.try_get::<Option<Vec<u8>>, _>(at)?),
        _ => return Err(StoreError::Migration(format!("the column {name} is of the unknown type {kind}"))),
    })
}

/// Lets a number that the database gives by itself go on after those that were copied.
async fn go_on_counting(target: &mut Connection, table: &str) -> Result<(), StoreError> {
    let own = sqlx::query(
        "SELECT CAST(column_name AS TEXT) FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = $1 AND is_identity = 'YES'",
    )
    .bind(table)
    .fetch_optional(&mut *target)
    .await?;
    let Some(own) = own else { return Ok(()) };
    let column: String = own.try_get(0)?;
    let sql = format!(
        "SELECT setval(pg_get_serial_sequence('{table}', '{column}'), MAX(\"{column}\")) FROM \"{table}\" HAVING COUNT(*) > 0"
    );
    sqlx::query(AssertSqlSafe(sql)).fetch_optional(target).await?;
    Ok(())
}
