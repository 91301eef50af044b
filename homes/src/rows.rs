//! The home's rows in its Durable Object's SQLite. All SQL of the worker is here.

use std::mem::replace;

use shared::home::Row;

use crate::sql::Sql;

/// SQLite accepts more parameters, but the platform's limit is 100 in one statement.
const ROWS_PER_STATEMENT_MAX: usize = 50;

/// Reads every row. An object that never stored anything stays without a table.
pub(crate) fn load(sql: &Sql) -> Result<Vec<(String, String)>, String> {
    let tables =
        sql.run("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'home_row'", Vec::new())?;
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let mut texts = sql.run("SELECT key, value FROM home_row", Vec::new())?.into_iter();
    Ok(std::iter::from_fn(|| texts.next().zip(texts.next())).collect())
}

/// Writes the changed rows. The platform commits everything that one turn writes at once, and holds
/// back every answer until that commit is durable.
pub(crate) fn save(sql: &Sql, rows: Vec<Row>) -> Result<(), String> {
    if rows.is_empty() {
        return Ok(());
    }
    sql.run(
        "CREATE TABLE IF NOT EXISTS home_row (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        Vec::new(),
    )?;
    let (mut changed, mut deleted) = (Vec::new(), Vec::new());
    for Row { key, value } in rows {
        match value {
            Some(value) => changed.push([key, value]),
            None => deleted.push(key),
        }
    }
    while !changed.is_empty() {
        let later = changed.split_off(changed.len().min(ROWS_PER_STATEMENT_MAX));
        let rows = replace(&mut changed, later);
        let places = "(?, ?), ".repeat(rows.len());
        let places = places.strip_suffix(", ").unwrap_or_default();
        let statement = format!(
            "INSERT INTO home_row (key, value) VALUES {places} ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        );
        sql.run(&statement, rows.into_iter().flatten().collect())?;
    }
    for key in deleted {
        sql.run("DELETE FROM home_row WHERE key = ?", vec![key])?;
    }
    Ok(())
}
