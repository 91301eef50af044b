//! Where the books are. What it shows never holds a password.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgSeverity};

/// Where the books are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// In an SQLite file.
    Sqlite(PathBuf),
    /// On a Postgres server.
    Postgres(PostgresUrl),
}

/// A URL of a Postgres database; shown, it is only where that is.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    whole: String,
    shown: String,
}

impl PostgresUrl {
    /// The whole URL, which may hold a password.
    pub(super) fn expose(&self) -> &str {
        &self.whole
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({})", self.shown)
    }
}

impl Database {
    /// Reads `sqlite://meter.db` or `postgres://user:password@host:5432/meter`.
    ///
    /// # Errors
    /// Says what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")) {
            return sqlite(path);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return postgres(text);
        }
        // A database's URL may hold a password, so only its scheme is repeated.
        let scheme = text.split_once(':').map_or("none", |(scheme, _)| scheme);
        Err(format!("got the scheme {scheme:?}, {ACCEPTED}"))
    }
}

const ACCEPTED: &str = "accepted is a file such as sqlite://meter.db or a server such as postgres://user:password@host:5432/meter";

fn sqlite(path: &str) -> Result<Database, String> {
    if path.is_empty() || path.contains(":memory:") {
        return Err(format!("a database in memory loses what it acknowledged, {ACCEPTED}"));
    }
    if path.contains('?') {
        return Err(format!("settings after ? could make it unsafe, {ACCEPTED}"));
    }
    Ok(Database::Sqlite(Path::new(path).to_path_buf()))
}

fn postgres(text: &str) -> Result<Database, String> {
    // What the driver says may repeat the password.
    let options = PgConnectOptions::from_str(text).map_err(|_| format!("this is no URL, {ACCEPTED}"))?;
    let Some(database) = options.get_database() else {
        return Err(format!("it names no database, {ACCEPTED}"));
    };
    let shown = format!("postgres://{}:{}/{database}", options.get_host(), options.get_port());
    Ok(Database::Postgres(PostgresUrl { whole: text.to_owned(), shown }))
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

/// Whether the database may take later what it refuses now.
pub(super) fn is_passing(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    let postgres = error.try_downcast_ref::<PgDatabaseError>();
    // A server without room for files of its own ends a session that begins, and names no state for it.
    let ends_session =
        postgres.is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic));
    (ends_session && code == "XX000") || is_passing_code(postgres.is_some(), &code)
}

/// The same, by the code alone.
fn is_passing_code(is_postgres: bool, code: &str) -> bool {
    // SQLite's primary result codes: busy, locked, out of memory, I/O error, disk full, cannot open.
    const SQLITE: [u32; 6] = [5, 6, 7, 10, 13, 14];
    // Postgres' classes: connection, transaction taken back, resources, lock or state, intervention, system.
    const POSTGRES: [&str; 6] = ["08", "40", "53", "55", "57", "58"];
    // A server that is a standby now, and a transaction that waited too long for us.
    const POSTGRES_STATES: [&str; 2] = ["25006", "25P03"];
    if is_postgres {
        return POSTGRES.iter().any(|class| code.starts_with(class)) || POSTGRES_STATES.contains(&code);
    }
    // The low byte of an extended code is its primary code.
    code.parse::<u32>().is_ok_and(|code| SQLITE.contains(&(code & 0xff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_database_may_take_later_is_told_from_what_it_never_takes() {
        // database, code: what it is => whether it passes
        let table = "
            sqlite   5     busy                              => yes
            sqlite   261   busy while the log is recovered   => yes
            sqlite   6     locked                            => yes
            sqlite   7     out of memory                     => yes
            sqlite   10    I/O error                         => yes
            sqlite   778   I/O error of a write              => yes
            sqlite   13    disk full                         => yes
            sqlite   14    cannot open                       => yes
            sqlite   1     an error in the statement         => no
            sqlite   19    a constraint                      => no
            sqlite   2067  a key that is there already       => no
            sqlite   11    the file is damaged               => no
            postgres 53100 disk full                         => yes
            postgres 53200 out of memory                     => yes
            postgres 53300 too many connections              => yes
            postgres 58030 I/O error                         => yes
            postgres 40001 taken back between strangers      => yes
            postgres 55P03 locked                            => yes
            postgres 57P01 shut down by its operator         => yes
            postgres 08006 the connection broke              => yes
            postgres 25006 a standby                         => yes
            postgres 25P03 we took too long                  => yes
            postgres 25P02 the transaction failed already    => no
            postgres 23505 a key that is there already       => no
            postgres 42601 an error in the statement         => no
        ";
        for case in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (error, passes) = case.split_once("=>").unwrap();
            let mut words = error.split_whitespace();
            let (database, code) = (words.next().unwrap(), words.next().unwrap());
            assert_eq!(is_passing_code(database == "postgres", code), passes.trim() == "yes", "{case}");
        }
    }

    #[test]
    fn a_shown_database_keeps_its_password() {
        for (text, shown) in [
            ("sqlite://meter.db", "sqlite://meter.db"),
            ("sqlite:a b.db", "sqlite://a b.db"),
            ("postgres://user:hunter2@db:5433/books?sslmode=require", "postgres://db:5433/books"),
            ("postgresql://user@db/books?password=hunter2", "postgres://db:5432/books"),
        ] {
            let database = Database::parse(text).unwrap();
            assert_eq!(database.to_string(), shown);
            assert!(!format!("{database:?}").contains("hunter2"), "{database:?}");
        }
    }

    #[test]
    fn what_is_no_safe_database_is_refused_without_its_password() {
        for (text, why) in [
            ("sqlite::memory:", "loses what it acknowledged"),
            ("sqlite://", "loses what it acknowledged"),
            ("sqlite://x.db?mode=memory", "could make it unsafe"),
            ("mysql://user:hunter2@db/books", "the scheme \"mysql\""),
            ("postgres://user:hunter2@db:port/books", "no URL"),
            ("postgres://user:hunter2@db", "names no database"),
        ] {
            let error = Database::parse(text).unwrap_err();
            assert!(error.contains(why) && error.contains("accepted is"), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
