//! Between columns and types: what is stored is checked again when it is read.

use shared::ids::IdError;
use shared::time::{Day, Timestamp};
use shared::units::Units;
use shared::wire::Flush;
use sqlx::Row;

use super::{DbQuery, DbRow, StoreError};

/// Names a life of a source by a statement's next four parameters: project, mode, source and incarnation.
pub(super) fn of_life<'q>(query: DbQuery<'q>, life: &'q Flush) -> DbQuery<'q> {
    let query = query.bind(life.project.as_str()).bind(life.mode.as_str());
    query.bind(life.source.as_str()).bind(life.incarnation.as_str())
}

/// A number as databases store it; ours are below 2^53 and always fit.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn ms(at: Timestamp) -> i64 {
    int(at.as_ms())
}

pub(super) fn number(row: &DbRow, column: &'static str) -> Result<u64, StoreError> {
    let stored: i64 = row.try_get(column)?;
    u64::try_from(stored).map_err(|_| StoreError::Unreadable { column, got: stored.to_string() })
}

pub(super) fn small(row: &DbRow, column: &'static str) -> Result<u32, StoreError> {
    let stored = number(row, column)?;
    u32::try_from(stored).map_err(|_| StoreError::Unreadable { column, got: stored.to_string() })
}

pub(super) fn units(row: &DbRow, column: &'static str) -> Result<Units, StoreError> {
    number(row, column).map(Units::new)
}

pub(super) fn day(row: &DbRow, column: &'static str) -> Result<Day, StoreError> {
    let stored = small(row, column)?;
    Day::from_number(stored).ok_or_else(|| StoreError::Unreadable { column, got: stored.to_string() })
}

pub(super) fn instant(row: &DbRow, column: &'static str) -> Result<Timestamp, StoreError> {
    number(row, column).map(Timestamp::from_ms)
}

/// A column that may be empty, read by one of the functions above.
pub(super) fn optional<T>(
    row: &DbRow,
    column: &'static str,
    read: fn(&DbRow, &'static str) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let stored: Option<i64> = row.try_get(column)?;
    stored.map(|_| read(row, column)).transpose()
}

pub(super) fn flag(row: &DbRow, column: &'static str) -> Result<bool, StoreError> {
    number(row, column).map(|stored| stored != 0)
}

/// A text column that is an identifier.
pub(super) fn id<T>(
    row: &DbRow,
    column: &'static str,
    parse: fn(&str) -> Result<T, IdError>,
) -> Result<T, StoreError> {
    let stored: String = row.try_get(column)?;
    parse(&stored).map_err(|error| StoreError::Unreadable { column, got: error.got })
}

/// A text column that is one of a few names.
pub(super) fn name<T>(
    row: &DbRow,
    column: &'static str,
    parse: fn(&str) -> Option<T>,
) -> Result<T, StoreError> {
    let stored: String = row.try_get(column)?;
    parse(&stored).ok_or_else(|| StoreError::Unreadable { column, got: stored })
}
