//! Which database the suite runs on: an SQLite file for each test, or, where `METER_TEST_POSTGRES` names a
//! server, a Postgres database for each. `cargo xtask test` runs the suite on both.

use std::path::Path;

use aggregator::store::Database;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, PgConnection, Row as _};

/// A Python that has the rules of electronic invoices.
#[expect(clippy::disallowed_methods, reason = "`cargo xtask test` says where its tools are")]
pub(crate) fn e_invoice_python() -> String {
    std::env::var("METER_TEST_EINVOICE")
        .expect("METER_TEST_EINVOICE is not set: run the tests through `cargo xtask test`, which sets it")
}

/// A Python that has the official validator of FOCUS.
#[expect(clippy::disallowed_methods, reason = "`cargo xtask test` says where its tools are")]
pub(crate) fn focus_python() -> String {
    std::env::var("METER_TEST_FOCUS")
        .expect("METER_TEST_FOCUS is not set: run the tests through `cargo xtask test`, which sets it")
}

/// A Python that has the official client of the Model Context Protocol.
#[expect(clippy::disallowed_methods, reason = "`cargo xtask test` says where its tools are")]
pub(crate) fn mcp_python() -> String {
    std::env::var("METER_TEST_MCP")
        .expect("METER_TEST_MCP is not set: run the tests through `cargo xtask test`, which sets it")
}

/// The server's own database, or nothing if the suite runs on SQLite.
#[expect(clippy::disallowed_methods, reason = "this is what chooses the suite's database")]
pub(crate) fn server() -> Option<String> {
    std::env::var("METER_TEST_POSTGRES").ok().filter(|url| !url.is_empty())
}

/// The URL of a database for one test, in `folder` or on the server.
pub(crate) fn create(folder: &Path, name: &str) -> String {
    let Some(server) = server() else { return format!("sqlite://{}", folder.join("meter.db").display()) };
    run(&server, format!("CREATE DATABASE \"{name}\""));
    let (host, _) = server.rsplit_once('/').unwrap();
    format!("{host}/{name}")
}

/// Removes the database of that name from the server.
pub(crate) fn remove(name: &str) {
    if let Some(server) = server() {
        run(&server, format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"));
    }
}

pub(crate) fn parse(url: &str) -> Database {
    Database::parse(url).unwrap()
}

/// Changes the books behind the meter's back, on either database.
pub(crate) async fn tamper(url: &str, statement: &'static str) {
    let mut connection = AnyConnection::connect(url).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Puts a row into books in a file that Postgres does not take: a text with a zero byte.
pub(crate) async fn spoil(url: &str) {
    sqlx::any::install_default_drivers();
    tamper(url, "INSERT INTO setting (name, value) VALUES ('z', CAST(x'6100' AS TEXT))").await;
}

/// Makes the books of the project `demo` as they are where two months were summed before there were parts of months.
pub(crate) async fn without_parts(url: &str) {
    tamper(
        url,
        "UPDATE usage_quarter SET part_2_1 = 0, part_2_2 = 3, part_2_3 = 0, part_2_4 = 0, part_2_5 = 0;
         INSERT INTO usage_coarse (project, mode, period) VALUES ('demo', 'live', '2026-08'), ('demo', 'live', '2026-11')",
    )
    .await;
}

/// Runs a statement from whatever a test is in: a thread of its own may wait.
pub(crate) fn run(url: &str, statement: String) {
    let url = url.to_owned();
    let done = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        });
    });
    done.join().unwrap();
}

/// How many rows of the books name a person by that text.
pub(crate) async fn named(url: &str, text: &str) -> i64 {
    sqlx::any::install_default_drivers();
    let mut books = AnyConnection::connect(url).await.unwrap();
    let mut sum = 0;
    for (table, column) in [
        ("account", "email"),
        ("account", "name"),
        ("member", "name"),
        ("invitation", "email"),
        ("identity", "subject"),
        ("trail", "was"),
        ("trail", "became"),
        ("trail", "actor"),
        ("trail", "target"),
    ] {
        let sql = format!("SELECT COUNT(*) AS rows FROM {table} WHERE {column} LIKE '%{text}%'");
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut books).await.unwrap();
        sum += row.get::<i64, _>("rows");
    }
    books.close().await.unwrap();
    sum
}

/// The sessions that others have with a Postgres database.
pub(crate) async fn sessions(url: &str) -> Vec<i32> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let others =
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                  AND backend_type = 'client backend'";
    let rows = sqlx::query(others).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}
