//! Numbered migrations, forward only. A released migration must never be edited: its hash is locked
//! here by a test and in every database that ran it.

use sha2::{Digest, Sha256};
use sqlx::Row;

use super::{BEGIN_WRITE, Connection, DbPool, StoreError};

/// One step of the schema.
struct Migration {
    number: i64,
    sql: &'static str,
}

const MIGRATIONS: [Migration; 4] = [
    Migration { number: 1, sql: include_str!("migrations/sqlite/0001_first_light.sql") },
    Migration { number: 2, sql: include_str!("migrations/sqlite/0002_ledger.sql") },
    Migration { number: 4, sql: include_str!("migrations/sqlite/0004_plans.sql") },
    Migration { number: 6, sql: include_str!("migrations/sqlite/0006_admin.sql") },
];

/// Runs what has not run yet, all in one transaction.
pub(super) async fn apply(pool: &DbPool) -> Result<(), StoreError> {
    let mut tx = pool.begin_with(BEGIN_WRITE).await?;
    create_table(&mut tx).await?;
    let applied = applied(&mut tx).await?;
    let newest = MIGRATIONS.iter().map(|migration| migration.number).max().unwrap_or_default();
    if let Some((number, _)) = applied.iter().find(|(number, _)| *number > newest) {
        return Err(StoreError::Migration(format!(
            "the database was made by a newer release (it has migration {number}, this release knows {newest}); start that release"
        )));
    }
    for Migration { number, sql } in MIGRATIONS {
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
                record(&mut tx, number, &hash).await?;
            }
        }
    }
    tx.commit().await?;
    Ok(())
}

fn hash(sql: &str) -> String {
    base16ct::lower::encode_string(&Sha256::digest(sql))
}

async fn create_table(connection: &mut Connection) -> Result<(), StoreError> {
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS migration (
             number INTEGER NOT NULL PRIMARY KEY,
             sha256 TEXT    NOT NULL
         ) STRICT",
    )
    .execute(connection)
    .await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::sqlite::SqlitePoolOptions;

    /// A released migration's line here never changes.
    const LOCKED: [(i64, &str); 3] = [
        (1, "527bd0f5167c77624005e4a4d267d4ef3d3260fdc4f89112e7de0637a7ba2a6c"),
        (2, "48ada289b151ba9e1ef7bbcc56bcffe498c57e0cca5ad7148cb61039979a93bf"),
        (4, "1bacd24d9bdfbf1b4ba4fd17f592c605594cc6070423f1e958a462e2a70a40e2"),
    ];

    #[test]
    fn released_migrations_are_as_they_were_released() {
        let got: Vec<_> =
            MIGRATIONS.iter().map(|migration| (migration.number, hash(migration.sql))).collect();
        let locked: Vec<_> = LOCKED.iter().map(|(number, hash)| (*number, (*hash).to_owned())).collect();
        assert_eq!(got, locked, "add a migration with the next number instead of editing one");
    }

    async fn pool() -> DbPool {
        SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap()
    }

    #[tokio::test]
    async fn applying_twice_changes_nothing() {
        let pool = pool().await;
        apply(&pool).await.unwrap();
        apply(&pool).await.unwrap();
        let applied = applied(&mut pool.acquire().await.unwrap()).await.unwrap();
        assert_eq!(applied.len(), MIGRATIONS.len());
    }

    #[tokio::test]
    async fn projects_and_cells_of_the_release_before_get_ledgers_and_sums() {
        let folder = std::env::temp_dir().join(format!("meter-upgrade-{}", crate::random::id().unwrap()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("meter.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let old = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        let mut connection = old.acquire().await.unwrap();
        create_table(&mut connection).await.unwrap();
        sqlx::raw_sql(MIGRATIONS[0].sql).execute(&mut *connection).await.unwrap();
        record(&mut connection, 1, &hash(MIGRATIONS[0].sql)).await.unwrap();
        // Made on 2026-11-23; 20,759 is 2026-11-02, 20,788 is 2026-12-01.
        sqlx::raw_sql(
            "INSERT INTO project VALUES ('demo', 'pro', NULL, 70, 1, 0, 600, 4, 1795435200000);
             INSERT INTO cell VALUES ('demo', 'live', 20759, 'a', 'verify', 'home', 'aaaaaaaa', 5, 0, 0, 1),
                                     ('demo', 'live', 20787, 'b', 'verify', 'home', 'aaaaaaaa', 6, 0, 0, 0),
                                     ('demo', 'test', 20787, 'b', 'verify', 'home', 'aaaaaaaa', 9, 0, 0, 0),
                                     ('demo', 'live', 20788, 'b', 'verify', 'home', 'aaaaaaaa', 7, 0, 0, 0);",
        )
        .execute(&mut *connection)
        .await
        .unwrap();
        drop(connection);
        old.close().await;
        for _ in 0..2 {
            let store = crate::store::Store::open(&path, crate::store::WhenMissing::Refuse).await.unwrap();
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
            store.close().await;
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn a_database_of_another_history_is_refused() {
        for (number, hash, expected) in [(1, "other", "is not the one that made"), (99, "x", "newer release")]
        {
            let pool = pool().await;
            let mut connection = pool.acquire().await.unwrap();
            create_table(&mut connection).await.unwrap();
            record(&mut connection, number, hash).await.unwrap();
            drop(connection);
            let error = apply(&pool).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
