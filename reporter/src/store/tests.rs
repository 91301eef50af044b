//! What the folder keeps.

use super::*;

/// Has a folder refuse every row of the home from now on, as a full disk does, or take them again.
pub(crate) async fn disk_is_full(folder: &Path, full: bool) {
    let options = SqliteConnectOptions::new().filename(folder.join(FILE));
    let statement = if full {
        "CREATE TRIGGER full BEFORE INSERT ON home_row BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    } else {
        "DROP TRIGGER full"
    };
    let mut beside = options.connect().await.unwrap();
    sqlx::query(statement).execute(&mut beside).await.unwrap();
}

pub(crate) async fn store() -> Store {
    let mut store = Store { connection: SqliteConnectOptions::new().connect().await.unwrap() };
    schema::apply(&mut store.connection).await.unwrap();
    store
}

pub(crate) fn frozen(seq: u64) -> Frozen {
    Frozen {
        incarnation: "abcdefgh".to_owned(),
        seq,
        home_seq: 1,
        body: format!("{{\"seq\":{seq}}}"),
        built_ms: 5,
        signature: None,
        sent_ms: None,
        attempts: 0,
        acked_ms: None,
    }
}

fn row(key: &str, value: Option<&str>) -> HomeRow {
    HomeRow { key: key.to_owned(), value: value.map(str::to_owned) }
}

#[tokio::test]
async fn rows_are_written_replaced_and_deleted_as_they_are() {
    let mut store = store().await;
    let odd = r#"{"agent":"it's \"odd\" \\ ~"}"#;
    store.commit(vec![Write::Home(vec![row("a", Some("1")), row("cell/x/ö%20", Some(odd))])]).await.unwrap();
    store.commit(vec![Write::Home(vec![row("a", None), row("b", Some("2"))])]).await.unwrap();
    let rows = store.home_rows().await.unwrap();
    assert_eq!(rows, [("b".to_owned(), "2".to_owned()), ("cell/x/ö%20".to_owned(), odd.to_owned())]);
}

#[tokio::test]
async fn a_commit_is_whole_or_nothing() {
    let mut store = store().await;
    store.commit(vec![Write::Freeze(frozen(1))]).await.unwrap();
    let twice = vec![Write::Home(vec![row("a", Some("1"))]), Write::Freeze(frozen(1))];
    assert!(store.commit(twice).await.is_err(), "a report's number is taken once");
    assert!(store.home_rows().await.unwrap().is_empty());
}

#[tokio::test]
async fn reports_wait_until_they_are_acknowledged_and_stay_for_ever() {
    let mut store = store().await;
    store.commit((1..=3).map(|seq| Write::Freeze(frozen(seq))).collect()).await.unwrap();
    let leave =
        |seq| Write::Leave { incarnation: "abcdefgh".to_owned(), seq, signature: "s".to_owned(), at_ms: 7 };
    store.commit(vec![leave(1), leave(1)]).await.unwrap();
    let acknowledge = Write::Acknowledge { incarnation: "abcdefgh".to_owned(), seq: 2, at_ms: 9 };
    store.commit(vec![acknowledge]).await.unwrap();
    let open = store.unacknowledged("abcdefgh").await.unwrap();
    assert_eq!(open.iter().map(|frozen| frozen.seq).collect::<Vec<_>>(), [3]);
    let all = store.reports(0, 10).await.unwrap();
    assert_eq!((all.len(), all[0].1.attempts, all[0].1.acked_ms), (3, 2, Some(9)));
    assert_eq!(store.newest("abcdefgh").await.unwrap().map(|frozen| frozen.seq), Some(3));
    assert!(store.reports(all[1].0, 10).await.unwrap().len() == 1);
}

#[tokio::test]
async fn facts_are_remembered_and_forgotten() {
    let mut store = store().await;
    let write = |value: Option<&str>| Write::Fact { name: "x", value: value.map(str::to_owned) };
    store.commit(vec![write(Some("1")), write(Some("2"))]).await.unwrap();
    assert_eq!(store.fact("x").await.unwrap().as_deref(), Some("2"));
    store.commit(vec![write(None)]).await.unwrap();
    assert_eq!(store.fact("x").await.unwrap(), None);
}
