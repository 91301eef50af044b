//! Rows that are handed to a statement: as a list of values to SQLite, as one array for each column to Postgres.
//! Both measured twice as fast as one JSON array for all rows, which each database has to take apart row by row.

use std::borrow::Cow;
use std::ops::Range;

use super::DbQuery;
use super::dialect::Dialect;

/// The most rows in one statement for SQLite: eight columns are well below its limit of 32,766 parameters.
const ROWS_MAX: usize = 512;

/// The values of one column.
#[derive(Debug)]
enum Values<'a> {
    Int(Vec<i64>),
    Text(Vec<Cow<'a, str>>),
}

/// Rows, by column.
#[derive(Debug, Default)]
pub(super) struct BoundRows<'a> {
    rows: usize,
    columns: Vec<(&'static str, Values<'a>)>,
}

impl<'a> BoundRows<'a> {
    /// A column of numbers; every column has as many values.
    pub(super) fn ints(mut self, name: &'static str, values: impl Iterator<Item = i64>) -> Self {
        let values: Vec<i64> = values.collect();
        self.rows = values.len();
        self.columns.push((name, Values::Int(values)));
        self
    }

    /// A column of texts; every column has as many values.
    pub(super) fn texts<T: Into<Cow<'a, str>>>(
        mut self,
        name: &'static str,
        values: impl Iterator<Item = T>,
    ) -> Self {
        let values: Vec<Cow<'a, str>> = values.map(Into::into).collect();
        self.rows = values.len();
        self.columns.push((name, Values::Text(values)));
        self
    }

    /// Which rows go into one statement each.
    ///
    /// For SQLite each number of rows is a statement of its own, so that only powers of two are used: what is
    /// prepared stays few.
    pub(super) fn pieces(&self, dialect: Dialect) -> Vec<Range<usize>> {
        let mut pieces = Vec::new();
        let mut first = 0;
        while first < self.rows {
            let left = self.rows.saturating_sub(first);
            let rows = match dialect {
                Dialect::Sqlite => left.min(ROWS_MAX).checked_ilog2().map_or(1, |power| 1 << power),
                Dialect::Postgres => left,
            };
            let end = first.saturating_add(rows);
            pieces.push(first..end);
            first = end;
        }
        pieces
    }

    /// A table of as many rows, whose parameters follow `before` others.
    pub(super) fn table(&self, dialect: Dialect, rows: usize, before: usize) -> String {
        let places = 1..=self.columns.len();
        match dialect {
            Dialect::Sqlite => {
                let row = format!("({})", vec!["?"; self.columns.len()].join(","));
                let names =
                    places.zip(&self.columns).map(|(place, (name, _))| format!("column{place} AS {name}"));
                let (names, values) = (names.collect::<Vec<_>>().join(", "), vec![row; rows].join(","));
                format!("(SELECT {names} FROM (VALUES {values}))")
            }
            Dialect::Postgres => {
                let array = |(place, (_, values)): (usize, &(&str, Values<'_>))| {
                    let of = match values {
                        Values::Int(_) => "BIGINT",
                        Values::Text(_) => "TEXT",
                    };
                    format!("CAST(${} AS {of}[])", place.saturating_add(before))
                };
                let arrays: Vec<String> = places.zip(&self.columns).map(array).collect();
                let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
                format!("(SELECT * FROM unnest({}) AS given ({}))", arrays.join(", "), names.join(", "))
            }
        }
    }

    /// How many parameters its rows are.
    pub(super) fn parameters(&self, dialect: Dialect, rows: usize) -> usize {
        match dialect {
            Dialect::Sqlite => self.columns.len().saturating_mul(rows),
            Dialect::Postgres => self.columns.len(),
        }
    }

    /// Binds rows where the table is.
    pub(super) fn bind<'q>(
        &self,
        mut query: DbQuery<'q>,
        dialect: Dialect,
        rows: &Range<usize>,
    ) -> DbQuery<'q> {
        match dialect {
            Dialect::Sqlite => {
                for row in rows.clone() {
                    for (_, values) in &self.columns {
                        query = match values {
                            Values::Int(values) => query.bind(values.get(row).copied()),
                            Values::Text(values) => query.bind(values.get(row).map(AsRef::as_ref)),
                        };
                    }
                }
            }
            Dialect::Postgres => {
                for (_, values) in &self.columns {
                    query = query.bind(match values {
                        Values::Int(values) => array(values.get(rows.clone()), i64::to_string),
                        Values::Text(values) => array(values.get(rows.clone()), |text| quoted(text)),
                    });
                }
            }
        }
        query
    }
}

/// The literal of a Postgres array.
fn array<T>(values: Option<&[T]>, text: impl Fn(&T) -> String) -> String {
    let values: Vec<String> = values.unwrap_or_default().iter().map(text).collect();
    format!("{{{}}}", values.join(","))
}

/// An element of the literal of a Postgres array.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len().saturating_add(2));
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: u32) -> BoundRows<'static> {
        BoundRows::default().ints("n", (0..rows).map(i64::from)).texts("t", (0..rows).map(|n| n.to_string()))
    }

    #[test]
    fn every_row_is_in_one_piece_and_sqlites_pieces_are_few_sizes() {
        for rows in [0_u32, 1, 2, 3, 334, 511, 512, 513, 1_000] {
            let given = of(rows);
            for dialect in [Dialect::Sqlite, Dialect::Postgres] {
                let pieces = given.pieces(dialect);
                let all: Vec<usize> = pieces.iter().cloned().flatten().collect();
                assert_eq!(
                    all,
                    (0..usize::try_from(rows).unwrap()).collect::<Vec<_>>(),
                    "{rows} {dialect:?}"
                );
                let sized = |piece: &Range<usize>| piece.len() <= ROWS_MAX && piece.len().is_power_of_two();
                assert!(dialect == Dialect::Postgres || pieces.iter().all(sized), "{pieces:?}");
            }
        }
    }

    #[test]
    fn tables_are_written_as_each_database_reads_them() {
        assert_eq!(
            of(2).table(Dialect::Sqlite, 2, 4),
            "(SELECT column1 AS n, column2 AS t FROM (VALUES (?,?),(?,?)))"
        );
        assert_eq!(
            of(2).table(Dialect::Postgres, 2, 4),
            "(SELECT * FROM unnest(CAST($5 AS BIGINT[]), CAST($6 AS TEXT[])) AS given (n, t))"
        );
        assert_eq!(
            array(Some(&["a", "\"b\\", "NULL", "{,}"]), |text| quoted(text)),
            r#"{"a","\"b\\","NULL","{,}"}"#
        );
        assert_eq!(array(Some(&[1_i64, -2]), i64::to_string), "{1,-2}");
    }
}
