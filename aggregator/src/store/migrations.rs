//! Numbered migrations, forward only. A released migration must never be edited: its hash is locked
//! here by a test and in every database that ran it.

use sha2::{Digest, Sha256};
use sqlx::Row;

use super::dialect::Dialect;
use super::{Connection, StoreError};

/// One step of the schema, as each database spells it.
struct Migration {
    number: i64,
    #[cfg(test)]
    file: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

impl Migration {
    fn sql(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }
}

/// The migration of that number and file name, from both folders.
macro_rules! migration {
    ($number:literal, $file:literal) => {
        Migration {
            number: $number,
            #[cfg(test)]
            file: $file,
            sqlite: include_str!(concat!("migrations/sqlite/", $file)),
            postgres: include_str!(concat!("migrations/postgres/", $file)),
        }
    };
}

const MIGRATIONS: [Migration; 26] = [
    migration!(1, "0001_first_light.sql"),
    migration!(2, "0002_ledger.sql"),
    migration!(3, "0003_rollups.sql"),
    migration!(4, "0004_plans.sql"),
    migration!(5, "0005_webhooks.sql"),
    migration!(6, "0006_admin.sql"),
    migration!(7, "0007_stripe.sql"),
    migration!(17, "0017_policy_turn.sql"),
    migration!(20, "0020_cells_stamp.sql"),
    migration!(21, "0021_auto_top_up.sql"),
    migration!(24, "0024_denials.sql"),
    migration!(30, "0030_stripe_waiting.sql"),
    migration!(31, "0031_overdue.sql"),
    migration!(40, "0040_accounts.sql"),
    migration!(50, "0050_contracts.sql"),
    migration!(51, "0051_reports.sql"),
    migration!(52, "0052_contract_documents.sql"),
    migration!(60, "0060_stranded.sql"),
    migration!(70, "0070_identities.sql"),
    migration!(80, "0080_cloud_events.sql"),
    migration!(91, "0091_contract_invoices.sql"),
    migration!(100, "0100_payers.sql"),
    migration!(110, "0110_quarters.sql"),
    migration!(120, "0120_homes.sql"),
    migration!(130, "0130_told_permits.sql"),
    migration!(140, "0140_would_deny.sql"),
];

/// Runs what has not run yet, all in one transaction, which is the caller's to commit.
pub(super) async fn apply(tx: &mut Connection) -> Result<(), StoreError> {
    create_table(tx).await?;
    let applied = applied(tx).await?;
    let newest = MIGRATIONS.iter().map(|migration| migration.number).max().unwrap_or_default();
    // Numbers have gaps: one that is not known here need not be beyond the newest.
    let is_known = |number: i64| MIGRATIONS.iter().any(|migration| migration.number == number);
    if let Some((number, _)) = applied.iter().find(|(number, _)| !is_known(*number)) {
        return Err(StoreError::Migration(format!(
            "the database was made by a newer release (it has migration {number}, this release knows {newest}); start that release"
        )));
    }
    for migration in MIGRATIONS {
        let (number, sql) = (migration.number, migration.sql(Dialect::of(tx)));
        let hash = hash(sql);
        match applied.iter().find(|(done, _)| *done == number) {
            Some((_, stored)) if *stored == hash => {}
            Some(_) => {
                return Err(StoreError::Migration(format!(
                    "migration {number} is not the one that made this database; start the release that made it"
                )));
            }
            None => {
                sqlx::raw_sql(sql).execute(&mut *tx).await?;
                record(tx, number, &hash).await?;
            }
        }
    }
    Ok(())
}

fn hash(sql: &str) -> String {
    base16ct::lower::encode_string(&Sha256::digest(sql))
}

async fn create_table(connection: &mut Connection) -> Result<(), StoreError> {
    let sql = match Dialect::of(connection) {
        Dialect::Sqlite => {
            "CREATE TABLE IF NOT EXISTS migration (
                 number INTEGER NOT NULL PRIMARY KEY,
                 sha256 TEXT    NOT NULL
             ) STRICT"
        }
        Dialect::Postgres => {
            "CREATE TABLE IF NOT EXISTS migration (
                 number BIGINT NOT NULL PRIMARY KEY,
                 sha256 TEXT   NOT NULL
             )"
        }
    };
    sqlx::query(sql).execute(connection).await?;
    Ok(())
}

async fn applied(connection: &mut Connection) -> Result<Vec<(i64, String)>, StoreError> {
    let rows =
        sqlx::query("SELECT number, sha256 FROM migration ORDER BY number").fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get("number")?, row.try_get("sha256")?))).collect()
}

async fn record(connection: &mut Connection, number: i64, hash: &str) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO migration (number, sha256) VALUES ($1, $2)")
        .bind(number)
        .bind(hash)
        .execute(connection)
        .await?;
    Ok(())
}

/// Empty books in memory, for tests of statements.
#[cfg(test)]
pub(super) async fn in_memory() -> Connection {
    use sqlx::Connection as _;
    sqlx::any::install_default_drivers();
    let mut connection = Connection::connect("sqlite::memory:").await.unwrap();
    apply(&mut connection).await.unwrap();
    connection
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;
    use crate::store::{Database, Store, WhenMissing};

    /// A released migration's line here never changes; `sha256sum sqlite/* postgres/*` writes the others.
    const LOCKED: &str = include_str!("migrations/SHA256SUMS");

    #[test]
    fn released_migrations_are_as_they_were_released() {
        let lines = |dialect: Dialect, folder: &str| {
            let lines = MIGRATIONS
                .map(|migration| format!("{}  {folder}/{}\n", hash(migration.sql(dialect)), migration.file));
            lines.concat()
        };
        let got = lines(Dialect::Sqlite, "sqlite") + &lines(Dialect::Postgres, "postgres");
        assert_eq!(got, LOCKED, "add a migration with the next number instead of editing one");
    }

    async fn memory() -> Connection {
        sqlx::any::install_default_drivers();
        Connection::connect("sqlite::memory:").await.unwrap()
    }

    #[tokio::test]
    async fn applying_twice_changes_nothing() {
        let mut connection = memory().await;
        apply(&mut connection).await.unwrap();
        apply(&mut connection).await.unwrap();
        assert_eq!(applied(&mut connection).await.unwrap().len(), MIGRATIONS.len());
    }

    #[tokio::test]
    async fn projects_and_cells_of_the_release_before_get_ledgers_and_sums() {
        let folder = std::env::temp_dir().join(format!("meter-upgrade-{}", crate::random::id().unwrap()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("meter.db");
        sqlx::any::install_default_drivers();
        let mut old = Connection::connect(&format!("sqlite://{}?mode=rwc", path.display())).await.unwrap();
        create_table(&mut old).await.unwrap();
        sqlx::raw_sql(MIGRATIONS[0].sqlite).execute(&mut old).await.unwrap();
        record(&mut old, 1, &hash(MIGRATIONS[0].sqlite)).await.unwrap();
        // Made on 2026-11-23; 20,759 is 2026-11-02, 20,788 is 2026-12-01.
        sqlx::raw_sql(
            "INSERT INTO project VALUES ('demo', 'pro', NULL, 70, 1, 0, 600, 4, 1795435200000);
             INSERT INTO cell VALUES ('demo', 'live', 20759, 'a', 'verify', 'home', 'aaaaaaaa', 5, 0, 0, 1),
                                     ('demo', 'live', 20787, 'b', 'verify', 'home', 'aaaaaaaa', 6, 0, 0, 0),
                                     ('demo', 'test', 20787, 'b', 'verify', 'home', 'aaaaaaaa', 9, 0, 0, 0),
                                     ('demo', 'live', 20788, 'b', 'verify', 'home', 'aaaaaaaa', 7, 0, 0, 0);",
        )
        .execute(&mut old)
        .await
        .unwrap();
        old.close().await.unwrap();
        for opened in 0..2 {
            let store = Store::open(&Database::Sqlite(path.clone()), WhenMissing::Refuse).await.unwrap();
            let demo = shared::ids::ProjectId::parse("demo").unwrap();
            let lines = store.ledger_as_text(&demo).await.unwrap();
            assert_eq!(lines.len(), 5, "{lines:?}");
            assert!(lines[0].contains("\"opened\"") && lines[0].contains("\"included\":70"), "{lines:?}");
            assert!(lines[1].contains("suspended"), "{lines:?}");
            assert_eq!(
                lines[2..],
                [
                    "usage live 2026-11 units=11 anchors=1",
                    "usage live 2026-12 units=7 anchors=0",
                    "usage test 2026-11 units=9 anchors=0",
                ]
            );
            assert_eq!(store.audit(&demo).await.unwrap(), Some(vec![]));
            // The parts of three months are summed once, wherever that was broken off.
            let mut months = 0;
            while store.sum_parts().await.unwrap() {
                months += 1;
                assert_eq!(store.audit(&demo).await.unwrap(), Some(vec![]));
            }
            assert_eq!(months, if opened == 0 { 3 } else { 0 });
            store.close().await;
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn a_database_of_another_history_is_refused() {
        for (number, hash, expected) in [
            (1, "other", "is not the one that made"),
            (99, "x", "newer release"),
            (999, "x", "newer release"),
        ] {
            let mut connection = memory().await;
            create_table(&mut connection).await.unwrap();
            record(&mut connection, number, hash).await.unwrap();
            let error = apply(&mut connection).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
