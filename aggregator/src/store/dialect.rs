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

    /// How many transactions of flushes are worth running at once; half of the connections that write.
    pub(super) fn merges_max(self) -> usize {
        match self {
            Self::Sqlite => 1,
            Self::Postgres => 4,
        }
    }

    /// How many exports run at once: half of the connections that read.
    pub(super) fn exports_max(self) -> usize {
        match self {
            Self::Sqlite => 2,
            Self::Postgres => 4,
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

    /// The parameter of that number. SQLite's are those of the order in the text: it looks up each number in a list of
    /// all, which takes long where there are thousands.
    pub(super) fn parameter(self, number: usize) -> String {
        match self {
            Self::Sqlite => "?".to_owned(),
            Self::Postgres => format!("${number}"),
        }
    }
}
