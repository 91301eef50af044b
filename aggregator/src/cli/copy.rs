//! `meter copy`: the books of an SQLite file into an empty Postgres database.

use std::path::Path;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use super::lock;
use super::print::{self, Column, Format};
use crate::store::{Database, StoreError, copy};

const COLUMNS: &[Column] = &[("TABLE", "/table"), ("ROWS", "/rows")];

#[derive(Debug, Args)]
pub(super) struct Copy {
    /// The file, such as sqlite://meter.db; no server may use it meanwhile
    #[arg(long, value_name = "URL", value_parser = Database::parse)]
    from: Database,
    /// The empty database, such as postgres://user:password@host:5432/meter
    #[arg(long, value_name = "URL", value_parser = Database::parse)]
    to: Database,
    #[command(flatten)]
    format: Format,
}

/// Copies everything, or nothing.
pub(super) async fn run(Copy { from, to, format }: Copy) -> anyhow::Result<()> {
    let (Database::Sqlite(file), Database::Postgres(url)) = (&from, &to) else {
        bail!(
            "got {from} and {to}, accepted is from sqlite:… to postgres:…; `meter backup` copies a file, and \
             `pg_dump` with `pg_restore` a Postgres database"
        );
    };
    exists(file)?;
    let _lock = lock::take(&from)?;
    let copied = copy(file, url).await.with_context(|| format!("nothing was copied to {to}"))?;
    let rows: Vec<Value> = copied.iter().map(|one| json!({ "table": one.table, "rows": one.rows })).collect();
    print::remark(
        format,
        "Everything was copied, and every table has as many rows there. Next: start `meter serve` with DATABASE_URL at \
         the new database, and never again with the file.",
    );
    print::rows(format, &Value::Array(rows), COLUMNS)
}

/// A mistyped path gets no lock beside it.
fn exists(file: &Path) -> Result<(), StoreError> {
    if file.exists() { Ok(()) } else { Err(StoreError::Missing(file.display().to_string())) }
}
