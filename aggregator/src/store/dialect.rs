//! Where SQLite and Postgres are spoken to differently. Everything else is one statement for both.

use super::Connection;

/// The transactions' lock of the whole store: "meter" in ASCII, which nobody else takes by chance.
macro_rules! whole_store {
    () => {
        "469853562226"
    };
}

/// Which of the two a connection leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// One file, one writer at a time.
    Sqlite,
    /// A server with many writers.
    Postgres,
}

/// The type of a column of rows that are handed over as one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Int,
    Text,
}

impl Dialect {
    pub(super) fn of(connection: &Connection) -> Self {
        match connection.backend_name() {
            "PostgreSQL" => Self::Postgres,
            _ => Self::Sqlite,
        }
    }

    /// Begins a transaction that no other writer runs beside.
    pub(super) fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => concat!("BEGIN; SELECT pg_advisory_xact_lock(", whole_store!(), ")"),
        }
    }

    /// Begins a transaction that runs beside those of other projects, and that must lock its own next.
    pub(super) fn begin_projects(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => concat!("BEGIN; SELECT pg_advisory_xact_lock_shared(", whole_store!(), ")"),
        }
    }

    /// Begins a transaction that sees one state of the books.
    pub(super) fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// The function that gives the greatest of its arguments.
    pub(super) fn greatest(self) -> &'static str {
        match self {
            Self::Sqlite => "max",
            Self::Postgres => "greatest",
        }
    }

    /// Ends a SELECT of work to do, so that rows another server is taking are passed over.
    pub(super) fn skip_locked(self) -> &'static str {
        match self {
            // There is one writer, and it holds the lock.
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE SKIP LOCKED",
        }
    }

    /// Locks the projects whose ids, parted by spaces, are its parameter; always in the same order, so that
    /// two transactions never wait for each other.
    pub(super) fn lock_projects(self) -> Option<&'static str> {
        match self {
            // Its transactions have locked everything at their beginning.
            Self::Sqlite => None,
            // Weaker than FOR UPDATE: rows that refer to the project may be inserted meanwhile.
            Self::Postgres => Some(
                "SELECT id FROM project WHERE id = ANY (string_to_array($1, ' ')) ORDER BY id FOR NO KEY UPDATE",
            ),
        }
    }

    /// A table of the rows in a text parameter, a JSON array of one array for each row.
    ///
    /// One parameter whatever the number of rows: neither database's limit of parameters matters, and the
    /// statement is the same for every number, so that it is prepared once.
    pub(super) fn rows(self, parameter: &str, columns: &[(&str, Type)]) -> String {
        let columns = columns.iter().enumerate().map(|(place, (name, kind))| match (self, kind) {
            (Self::Sqlite, _) => format!("value ->> {place} AS {name}"),
            (Self::Postgres, Type::Int) => format!("CAST(value ->> {place} AS BIGINT) AS {name}"),
            (Self::Postgres, Type::Text) => format!("value ->> {place} AS {name}"),
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        let source = match self {
            Self::Sqlite => format!("json_each(jsonb({parameter}))"),
            Self::Postgres => format!("jsonb_array_elements(CAST({parameter} AS JSONB))"),
        };
        format!("(SELECT {columns} FROM {source})")
    }
}
