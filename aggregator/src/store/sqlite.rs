//! The books in an SQLite file: how it is opened, checked, copied. Never without its log being synced.

use std::fs::{File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Connection as _, Row};

use super::{ACQUIRE_TIMEOUT, Connection, DbPool, Pools, StoreError, WhenMissing};

/// Enough for reports to run beside the writer; readers never block it.
const READERS_MAX: u32 = 4;

/// The value of `PRAGMA synchronous` that syncs the log at every commit.
const SYNCHRONOUS_FULL: i64 = 2;

/// Where a plain sync leaves data in the drive's cache (macOS), `fullfsync` asks for more. What is deleted is written over
/// (`secure_delete`), so that an erased person is not found in pages that are free. Foreign keys and a wait of five seconds
/// for other processes that write are the driver's defaults.
const SAFE: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA secure_delete = ON;";

/// The owner reads and writes, nobody else does anything.
const PRIVATE: u32 = 0o600;

/// What a path keeps in a URL.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// One connection that writes, so that writers queue here instead of meeting in the database, and a few
/// that only read.
pub(super) async fn open(path: &Path, missing: WhenMissing) -> Result<Pools, StoreError> {
    if missing == WhenMissing::Refuse && !path.exists() {
        return Err(StoreError::Missing(path.display().to_string()));
    }
    keep_private(path);
    let pool = |size| {
        AnyPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // SQLite itself takes a transaction back when the disk is full or fails. Then the driver cannot, goes on
            // counting one as open, and begins no other: only a new connection does.
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
    };
    let writer: DbPool = pool(1)
        .after_connect(|connection, _| {
            Box::pin(async move { sqlx::raw_sql(SAFE).execute(connection).await.map(drop) })
        })
        .connect_with(options(path, "rwc")?)
        .await?;
    refuse_unsafe(&mut *writer.acquire().await?).await?;
    let readers = pool(READERS_MAX)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(SAFE).execute(&mut *connection).await?;
                sqlx::raw_sql("PRAGMA query_only = ON").execute(connection).await.map(drop)
            })
        })
        .connect_lazy_with(options(path, "rw")?);
    Ok(Pools { writer, readers })
}

/// Takes the books from everybody but their owner. SQLite gives the files beside the database the rights that it has.
fn keep_private(path: &Path) {
    if let Err(error) = create_private(path)
        && error.kind() == ErrorKind::AlreadyExists
    {
        for suffix in ["", "-wal", "-shm"] {
            let mut file = path.as_os_str().to_owned();
            file.push(suffix);
            // Rights that somebody else set are kept by whoever may not change them.
            if let Err(error) = std::fs::set_permissions(&file, Permissions::from_mode(PRIVATE))
                && error.kind() != ErrorKind::NotFound
            {
                tracing::warn!(error = %error, "the database's files cannot be kept from other users");
            }
        }
    }
    // Where it cannot be made, the database says why.
}

/// Makes a file that nobody but its owner reads, where there is none.
pub(crate) fn create_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path)
}

fn options(path: &Path, mode: &str) -> Result<AnyConnectOptions, StoreError> {
    let path = std::path::absolute(path).map_err(sqlx::Error::Io)?;
    let path = percent_encode(path.as_os_str().as_encoded_bytes(), KEPT);
    Ok(format!("sqlite://{path}?mode={mode}").parse()?)
}

/// SQLite answers a setting that it cannot keep with the one it has, so what counts is what it answers.
async fn refuse_unsafe(connection: &mut Connection) -> Result<(), StoreError> {
    let journal: String = sqlx::query("PRAGMA journal_mode").fetch_one(&mut *connection).await?.try_get(0)?;
    if journal != "wal" {
        let advice = "acknowledged writes need wal; keep the file on a local disk";
        return Err(StoreError::Unsafe(format!("its journal mode is {journal}; {advice}")));
    }
    let synchronous: i64 = sqlx::query("PRAGMA synchronous").fetch_one(&mut *connection).await?.try_get(0)?;
    if synchronous < SYNCHRONOUS_FULL {
        return Err(StoreError::Unsafe(format!(
            "synchronous is {synchronous}, accepted is {SYNCHRONOUS_FULL} (FULL)"
        )));
    }
    Ok(())
}

/// Writes the books, as of one instant, into a file that is not there yet.
pub(super) async fn backup(writer: &DbPool, file: &Path) -> Result<(), StoreError> {
    // An empty file is written to, and keeps its rights.
    create_private(file).map_err(sqlx::Error::Io)?;
    let written = sqlx::query("VACUUM INTO $1").bind(file.display().to_string()).execute(writer).await;
    if let Err(error) = written {
        // What is there is no backup.
        std::fs::remove_file(file).map_err(sqlx::Error::Io)?;
        return Err(error.into());
    }
    Ok(())
}

/// Moves the log into the database and empties it, so that nothing is left in it of what was deleted before. False where
/// somebody reads for so long that it cannot be.
pub(super) async fn empty_log(writer: &DbPool) -> Result<bool, StoreError> {
    let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(writer).await?;
    Ok(row.try_get::<i64, _>("busy")? == 0)
}

/// Checks that a file is a whole database of a meter.
pub(super) async fn check_backup(file: &Path) -> Result<(), StoreError> {
    let mut connection = Connection::connect_with(&options(file, "ro")?).await?;
    let answer: String =
        sqlx::query("PRAGMA integrity_check").fetch_one(&mut connection).await?.try_get(0)?;
    if answer != "ok" {
        return Err(StoreError::Unsafe(answer));
    }
    sqlx::query("SELECT number FROM migration LIMIT 1").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn folder() -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("meter store 50%25 {}", crate::random::id().unwrap()));
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    #[tokio::test]
    async fn a_connection_that_may_lose_acknowledged_writes_is_refused() {
        sqlx::any::install_default_drivers();
        let folder = folder();
        let cases = [
            ("wal", "full", None),
            ("wal", "extra", None),
            ("wal", "normal", Some("synchronous is 1")),
            ("wal", "off", Some("synchronous is 0")),
            ("memory", "full", Some("journal mode is memory")),
            ("delete", "full", Some("journal mode is delete")),
        ];
        for (number, (journal, synchronous, expected)) in cases.into_iter().enumerate() {
            let options = options(&folder.join(number.to_string()), "rwc").unwrap();
            let mut connection = Connection::connect_with(&options).await.unwrap();
            let settings = format!("PRAGMA journal_mode = {journal}; PRAGMA synchronous = {synchronous}");
            sqlx::raw_sql(sqlx::AssertSqlSafe(settings)).execute(&mut connection).await.unwrap();
            let refused = refuse_unsafe(&mut connection).await.err().map(|error| error.to_string());
            match (&refused, expected) {
                (None, None) => {}
                (Some(error), Some(expected)) => assert!(error.contains(expected), "{error}"),
                (None, Some(_)) | (Some(_), None) => panic!("{number}: {refused:?}, expected {expected:?}"),
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn nobody_but_their_owner_reads_the_books_and_their_backups() {
        sqlx::any::install_default_drivers();
        let folder = folder();
        let file = folder.join("m.db");
        let rights = |name: &str| folder.join(name).metadata().unwrap().permissions().mode() & 0o777;
        for before in [None, Some(0o644)] {
            if let Some(before) = before {
                std::fs::set_permissions(&file, Permissions::from_mode(before)).unwrap();
            }
            let Pools { writer, readers } = open(&file, WhenMissing::Create).await.unwrap();
            sqlx::raw_sql("CREATE TABLE IF NOT EXISTS t (x INTEGER)").execute(&writer).await.unwrap();
            let copy = format!("copy {before:?}");
            backup(&writer, &folder.join(&copy)).await.unwrap();
            assert!(backup(&writer, &folder.join(&copy)).await.is_err(), "a backup is never overwritten");
            for name in ["m.db", "m.db-wal", "m.db-shm", &copy] {
                assert_eq!(rights(name), PRIVATE, "{name}");
            }
            readers.close().await;
            writer.close().await;
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn every_connection_of_an_opened_store_is_safe() {
        sqlx::any::install_default_drivers();
        let folder = folder();
        let file = folder.join("m.db");
        let Pools { writer, readers } = open(&file, WhenMissing::Create).await.unwrap();
        assert!(file.exists(), "the file has the name that it was given");
        sqlx::raw_sql("CREATE TABLE t (x INTEGER)").execute(&writer).await.unwrap();
        refuse_unsafe(&mut writer.acquire().await.unwrap()).await.unwrap();
        refuse_unsafe(&mut readers.acquire().await.unwrap()).await.unwrap();
        let refused = sqlx::query("DELETE FROM t").execute(&readers).await;
        assert!(refused.is_err(), "a reader must not write");
        readers.close().await;
        writer.close().await;
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// Writes until the store takes no more, and says how it refused.
    async fn fill(store: &Store) -> StoreError {
        // The limit stands for a full disk: it is of the one connection that writes, like the disk's error.
        sqlx::raw_sql("PRAGMA max_page_count = 1").execute(&store.writer).await.unwrap();
        for number in 0..10_000 {
            if let Err(error) = write(store, number).await {
                return error;
            }
        }
        panic!("the limit is kept")
    }

    async fn write(store: &Store, number: u32) -> Result<(), StoreError> {
        let mut tx = store.write().await?;
        sqlx::query("INSERT INTO setting (name, value) VALUES ($1, $2)")
            .bind(format!("n{number}"))
            .bind("x".repeat(2_000))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    #[tokio::test]
    async fn a_disk_that_was_full_stops_no_write_after_it_has_room_again() {
        let folder = folder();
        let database = crate::store::Database::Sqlite(folder.join("m.db"));
        let store = Store::open(&database, WhenMissing::Create).await.unwrap();
        let refused = fill(&store).await;
        assert!(refused.is_passing(), "{refused}");
        // The connection whose transaction broke is gone, and its limit with it.
        write(&store, 20_000).await.unwrap();
        store.check_writable().await.unwrap();
        store.close().await;
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn a_connection_left_in_a_transaction_is_replaced_before_anybody_gets_it() {
        let folder = folder();
        let database = crate::store::Database::Sqlite(folder.join("m.db"));
        let store = Store::open(&database, WhenMissing::Create).await.unwrap();
        for pool in [&store.writer, &store.readers] {
            // What SQLite does by itself when it cannot go on: the driver's count still says that one is open.
            let mut tx = pool.begin_with("BEGIN").await.unwrap();
            sqlx::raw_sql("ROLLBACK").execute(&mut *tx).await.unwrap();
            drop(tx);
        }
        store.write().await.unwrap().commit().await.unwrap();
        store.read().await.unwrap().commit().await.unwrap();
        store.close().await;
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
