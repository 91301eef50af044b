//! `meter copy`: a file's books on Postgres, whole or not at all.

use aggregator::clock::Clock;

use crate::backend;
use crate::cli::{Process, meter, stderr};
use crate::support::{Folder, raw, request, sign};

/// What a command says on these books.
fn told(folder: &Folder, url: &str, words: &str) -> serde_json::Value {
    let output = meter(folder, words).env("DATABASE_URL", url).output().unwrap();
    assert!(output.status.success(), "{words}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or(serde_json::Value::Null)
}

/// Books in a file, with projects, units, credits, keys, tokens and a webhook.
async fn books(folder: &Folder) -> String {
    let url = format!("sqlite://{}", folder.path().join("from.db").display());
    for words in [
        "project create demo --plan pro --json",
        "project create small --plan community --json",
        "key create --project demo --json",
        "token create --operator --json",
        "member add --project demo --name ada --role owner --json",
        "webhooks create --project demo --url https://example.com/ --json",
        "credit give --project demo --units 500 --reason outage --json",
    ] {
        told(folder, &url, words);
    }
    let server = Process::spawn(meter(folder, "serve").env("DATABASE_URL", &url));
    let now = Clock::system().now();
    let cells: Vec<String> = (0..40)
        .map(|agent| {
            format!(r#"{{"day":"{}","kind":"verify","agent":"agent-{agent}","units":300}}"#, now.day())
        })
        .collect();
    let body = format!(
        r#"{{"project":"demo","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":1,"cells":[{}]}}"#,
        cells.join(",")
    );
    let signature = sign("/ingest", &body, now);
    let headers = [("palveron-signature", signature.as_str()), ("content-type", "application/json")];
    assert_eq!(raw(server.address, request("POST", "/ingest", &headers, &body).as_bytes()).await.status, 200);
    assert!(server.terminate().0);
    url
}

#[tokio::test]
async fn bills_are_the_same_after_the_books_are_copied_to_postgres() {
    if backend::server().is_none() {
        return;
    }
    // The folder's own database, on the server, is the empty target.
    let folder = Folder::new();
    let from = books(&folder).await;
    let to = folder.database_url().to_owned();
    let questions = [
        "project list --json",
        "invoices --project demo --json",
        "explain --project demo --json",
        "usage --project demo --json",
        "usage --project demo --by agent --json",
        "key list --project demo --json",
        "token list --json",
        "member list --project demo --json",
        "webhooks list --project demo --json",
        "audit --json",
        "invoices --project small --json",
        "plans show --json",
    ];
    let before = questions.map(|words| told(&folder, &from, words));
    assert_eq!(before[1]["invoices"][0]["units"], 12_000);
    let tables = told(&folder, &from, &format!("copy --from {from} --to {to} --json"));
    let tables = tables.as_array().unwrap();
    assert!(
        tables.len() > 25 && tables.iter().any(|one| one["table"] == "cell" && one["rows"] == 40),
        "{tables:?}"
    );
    for (words, before) in questions.into_iter().zip(before) {
        assert_eq!(told(&folder, &to, words), before, "{words}");
    }
    // What goes on from there is counted on.
    told(&folder, &to, "credit give --project demo --units 1 --reason after --json");
    let last = |url| told(&folder, url, "audit --limit 1 --json")[0]["number"].as_u64().unwrap();
    assert_eq!(last(&to), last(&from) + 1);
    let again = meter(&folder, &format!("copy --from {from} --to {to}")).output().unwrap();
    assert!(stderr(&again).contains("has books already"), "{again:?}");
}

#[tokio::test]
async fn a_copy_that_fails_leaves_nothing() {
    if backend::server().is_none() {
        return;
    }
    let folder = Folder::new();
    let from = books(&folder).await;
    backend::spoil(&from).await;
    let copied =
        meter(&folder, &format!("copy --from {from} --to {}", folder.database_url())).output().unwrap();
    assert!(stderr(&copied).contains("nothing was copied"), "{copied:?}");
    let left = meter(&folder, "project list").output().unwrap();
    assert!(stderr(&left).contains("there is no database"), "{left:?}");
    let missing =
        meter(&folder, &format!("copy --from sqlite:nowhere.db --to {}", folder.database_url())).output();
    assert!(stderr(&missing.unwrap()).contains("there is no database at nowhere.db"));
    assert!(!folder.path().join("nowhere.db.lock").exists());
}
