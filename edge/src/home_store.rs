//! The home's rows in its Durable Object's SQLite. All SQL of the worker is here.

use serde::Deserialize;
use shared::home::Row;
use worker::{Result, SqlStorage, SqlStorageValue};

/// SQLite accepts more parameters, but the platform's limit is 100 in one statement.
const ROWS_PER_STATEMENT_MAX: usize = 50;

#[derive(Deserialize)]
struct Stored {
    key: String,
    value: String,
}

/// Reads every row. An object that never stored anything stays without a table.
pub(crate) fn load(sql: &SqlStorage) -> Result<Vec<(String, String)>> {
    let tables = sql.exec(
        "SELECT name AS key, '' AS value FROM sqlite_master WHERE type = 'table' AND name = 'home_row'",
        None,
    )?;
    if tables.to_array::<Stored>()?.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sql.exec("SELECT key, value FROM home_row", None)?.to_array::<Stored>()?;
    Ok(rows.into_iter().map(|row| (row.key, row.value)).collect())
}

/// Writes the changed rows. The platform commits everything that one turn writes at once, and holds
/// back every answer until that commit is durable.
pub(crate) fn save(sql: &SqlStorage, rows: &[Row]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sql.exec(
        "CREATE TABLE IF NOT EXISTS home_row (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        None,
    )?;
    let changed: Vec<(&str, &str)> =
        rows.iter().filter_map(|row| row.value.as_deref().map(|value| (row.key.as_str(), value))).collect();
    for rows in changed.chunks(ROWS_PER_STATEMENT_MAX) {
        let places = vec!["(?, ?)"; rows.len()].join(", ");
        let statement = format!(
            "INSERT INTO home_row (key, value) VALUES {places} ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        );
        let values =
            rows.iter().flat_map(|(key, value)| [SqlStorageValue::from(*key), SqlStorageValue::from(*value)]);
        sql.exec(&statement, values.collect::<Vec<_>>())?;
    }
    for row in rows.iter().filter(|row| row.value.is_none()) {
        sql.exec("DELETE FROM home_row WHERE key = ?", vec![SqlStorageValue::from(row.key.as_str())])?;
    }
    Ok(())
}
