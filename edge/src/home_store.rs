//! The home's rows in its Durable Object's SQLite. All SQL of the worker is here.

use alloc::string::String;
use alloc::vec::Vec;

use shared::home::Row;

use crate::platform::Sql;

/// SQLite accepts more parameters, but the platform's limit is 100 in one statement.
const ROWS_PER_STATEMENT_MAX: usize = 50;

/// Reads every row. An object that never stored anything stays without a table.
pub(crate) fn load(sql: &Sql) -> Result<Vec<(String, String)>, String> {
    let tables =
        sql.pairs("SELECT name, '' FROM sqlite_master WHERE type = 'table' AND name = 'home_row'")?;
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    sql.pairs("SELECT key, value FROM home_row")
}

/// Writes the changed rows. The platform commits everything that one turn writes at once, and holds
/// back every answer until that commit is durable.
pub(crate) fn save(sql: &Sql, rows: &[Row]) -> Result<(), String> {
    if rows.is_empty() {
        return Ok(());
    }
    sql.run(
        "CREATE TABLE IF NOT EXISTS home_row (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        &[],
    )?;
    let changed: Vec<[&str; 2]> =
        rows.iter().filter_map(|row| row.value.as_deref().map(|value| [row.key.as_str(), value])).collect();
    for rows in changed.chunks(ROWS_PER_STATEMENT_MAX) {
        let places = "(?, ?), ".repeat(rows.len());
        let places = places.strip_suffix(", ").unwrap_or_default();
        let statement = format!(
            "INSERT INTO home_row (key, value) VALUES {places} ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        );
        sql.run(&statement, rows.as_flattened())?;
    }
    for row in rows.iter().filter(|row| row.value.is_none()) {
        sql.run("DELETE FROM home_row WHERE key = ?", &[row.key.as_str()])?;
    }
    Ok(())
}
