//! What was acknowledged survives `kill -9` of the server, again and again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aggregator::access::Scope;
use aggregator::access::token::TokenText;
use aggregator::clock::Clock;
use aggregator::projects::project::{NewProject, Setting};
use aggregator::store::{Store, WhenMissing};
use shared::plan::Plan;
use shared::time::Day;
use tokio::task::JoinSet;

use crate::backend;
use crate::cli::Process;
use crate::support::{Answer, Folder, project_id, raw, request, sign};

const ROUNDS: usize = 10;
const HOMES: usize = 8;

/// Flushes a growing cell until the server is gone; says what was acknowledged last.
async fn home(
    address: SocketAddr,
    incarnation: String,
    mut units: u64,
    day: Day,
    acks: Arc<AtomicUsize>,
) -> (String, u64) {
    let mut acknowledged = units;
    loop {
        units += 1;
        let now = Clock::system().now();
        let body = format!(
            r#"{{"project":"demo","mode":"live","source":"home","incarnation":"{incarnation}","seq":{units},"cells":[{{"day":"{day}","kind":"verify","agent":"bot","units":{units}}}]}}"#
        );
        let signature = sign("/ingest", &body, now);
        let headers = [("palveron-signature", signature.as_str()), ("content-type", "application/json")];
        match try_raw(address, &request("POST", "/ingest", &headers, &body)).await {
            Some(answer) if answer.status == 200 => {
                assert_eq!(answer.field("watermark"), units.to_string());
                acknowledged = units;
                acks.fetch_add(1, Ordering::SeqCst);
            }
            Some(_) | None => return (incarnation, acknowledged),
        }
    }
}

/// An answer, unless the server is gone or dies over it.
pub(crate) async fn try_raw(address: SocketAddr, bytes: &str) -> Option<Answer> {
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    tokio::io::AsyncWriteExt::write_all(&mut stream, bytes.as_bytes()).await.ok()?;
    let answer = crate::support::read_answer(&mut stream).await;
    // An answer that was cut off is none.
    (answer.status != 0 && answer.body.ends_with('}')).then_some(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_flushes_survive_kill_9() {
    let folder = Folder::new();
    let store = Store::open(&folder.database(), WhenMissing::Create).await.unwrap();
    let new = NewProject {
        id: project_id("demo"),
        plan: Plan::Enterprise,
        rpm: Setting::Plan,
        included: Setting::Plan,
    };
    store.create_project(new, Clock::system().now()).await.unwrap().unwrap();
    store.close().await;
    // A cell is of one day, also while that turns.
    let day = Clock::system().now().day();
    let mut books: BTreeMap<String, u64> = (0..HOMES).map(|home| (format!("aaaaaaa{home}"), 0)).collect();
    for round in 1..=ROUNDS {
        let server = Process::serve(&folder);
        let acks = Arc::new(AtomicUsize::new(0));
        let mut homes = JoinSet::new();
        for (incarnation, units) in &books {
            homes.spawn(home(server.address, incarnation.clone(), *units, day, Arc::clone(&acks)));
        }
        let enough = 20 + 7 * round;
        crate::support::until("enough flushes are acknowledged", async || {
            acks.load(Ordering::SeqCst) >= enough
        })
        .await;
        server.kill();
        books.extend(homes.join_all().await);
        let store = Store::open(&folder.database(), WhenMissing::Refuse).await.unwrap();
        let cells = store.cells_as_text(&project_id("demo")).await.unwrap();
        for (incarnation, acknowledged) in &mut books {
            let cell = cells.iter().find(|cell| cell.contains(incarnation.as_str())).unwrap();
            let stored = cell.split("units=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
            let stored: u64 = stored.parse().unwrap();
            assert!(stored >= *acknowledged, "round {round}: {acknowledged} were acknowledged: {cell}");
            // The flush in flight may have been merged although its answer was lost.
            assert!(stored <= *acknowledged + 1, "round {round}: nobody sent more: {cell}");
            *acknowledged = stored;
        }
        let findings = store.audit(&project_id("demo")).await.unwrap().unwrap();
        assert!(findings.is_empty(), "round {round}: {findings:?}");
        store.close().await;
    }
}

#[tokio::test]
async fn an_acknowledged_change_survives_kill_9_together_with_its_push() {
    let folder = Folder::new();
    let store = Store::open(&folder.database(), WhenMissing::Create).await.unwrap();
    let text = TokenText::generate(&Scope::Operator).unwrap();
    store.create_token(Scope::Operator, &text.hash(), Clock::system().now()).await.unwrap();
    store.close().await;
    for number in 0..5 {
        let server = Process::serve(&folder);
        let authorization = format!("Bearer {}", text.expose());
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let body = format!(r#"{{"id":"p{number}","plan":"pro"}}"#);
        let answer =
            raw(server.address, request("POST", "/api/v1/admin/projects", &headers, &body).as_bytes()).await;
        server.kill();
        assert_eq!(answer.status, 201, "{answer:?}");
        let store = Store::open(&folder.database(), WhenMissing::Refuse).await.unwrap();
        assert!(store.project(&project_id(&format!("p{number}"))).await.unwrap().is_some());
        assert_eq!(store.waiting_pushes().await.unwrap().len(), number + 1, "no edge has taken any");
        store.close().await;
    }
}

#[tokio::test]
async fn a_postgres_that_may_lose_commits_is_refused_and_says_which_setting() {
    // The same of SQLite, whose settings are its connections', is tested where it is opened.
    if backend::server().is_none() {
        return;
    }
    let folder = Folder::new();
    let name = folder.database_url().rsplit('/').next().unwrap();
    for (value, safe) in [("off", false), ("on", true), ("remote_write", true)] {
        backend::run(
            folder.database_url(),
            format!("ALTER DATABASE \"{name}\" SET synchronous_commit = {value}"),
        );
        match Store::open(&folder.database(), WhenMissing::Create).await {
            Ok(store) => {
                assert!(safe, "{value}");
                store.close().await;
            }
            Err(error) => {
                let said = error.to_string();
                assert!(!safe && said.contains("synchronous_commit is off"), "{value}: {said}");
            }
        }
    }
}
