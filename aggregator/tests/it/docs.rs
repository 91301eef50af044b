//! The documentation as the server answers it: the pages that problems name, and every link of the book.
//!
//! Without `cargo xtask docs` a binary has the pages of errors alone, and says how to get the others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use shared::problem::ErrorCode;
use url::Url;

use crate::support::{Answer, Meter};

async fn get(meter: &Meter, path: &str) -> Answer {
    meter.send("GET", path, &[("accept", "text/html")], "").await
}

/// Whether this binary has the book.
async fn is_built(meter: &Meter) -> bool {
    get(meter, "/docs/").await.header("content-type") == Some("text/html; charset=utf-8")
}

#[tokio::test]
async fn every_code_has_its_page_where_problems_say_it_is() {
    let meter = Meter::start().await;
    for code in ErrorCode::ALL {
        let page = get(&meter, &format!("/docs/errors/{}", code.as_str())).await;
        assert_eq!(page.status, 200, "{code:?}");
        assert!(
            page.body.contains(code.title()) && page.body.contains(&code.status().to_string()),
            "{code:?}"
        );
    }
    let problem = get(&meter, "/nowhere").await;
    let link = problem.header("link").unwrap();
    assert_eq!(link, "</docs/errors/not_found>; rel=\"help\"");
    let path = link.trim_start_matches('<').split('>').next().unwrap();
    assert!(problem.field("type").ends_with(path.trim_start_matches("/docs")), "{problem:?}");
    assert!(get(&meter, path).await.body.contains("not_found"));
    get(&meter, "/docs/errors/no_such_code").await.is_problem("not_found", "a code that is none");
}

#[tokio::test]
async fn no_link_of_the_book_leads_nowhere() {
    let meter = Meter::start().await;
    let first = get(&meter, "/docs").await;
    if !is_built(&meter).await {
        assert!(first.body.contains("cargo xtask docs"), "{first:?}");
        return;
    }
    assert_eq!((first.status, first.header("location")), (308, Some("/docs/")));
    let base = Url::parse("http://meter/docs/").unwrap();
    let mut waiting = vec![base.clone(), base.join("toc.html").unwrap()];
    let mut pages: BTreeMap<String, String> = BTreeMap::new();
    let mut anchors: BTreeSet<(String, String, String)> = BTreeSet::new();
    while let Some(address) = waiting.pop() {
        let path = address.path().to_owned();
        if pages.contains_key(&path) {
            continue;
        }
        // What is no text cannot be told from a head without its body.
        let head = meter.send("HEAD", &path, &[], "").await;
        assert_eq!(head.status, 200, "{path}");
        if head.header("content-type") != Some("text/html; charset=utf-8") {
            pages.insert(path, String::new());
            continue;
        }
        let body = get(&meter, &path).await.body;
        for link in links(&body).filter_map(|link| address.join(link).ok()) {
            if link.host_str() != Some("meter") {
                continue;
            }
            if let Some(anchor) = link.fragment().filter(|anchor| !anchor.is_empty()) {
                anchors.insert((path.clone(), link.path().to_owned(), anchor.to_owned()));
            }
            waiting.push(link);
        }
        pages.insert(path, body);
    }
    assert!(pages.len() > ErrorCode::ALL.len(), "the book has pages: {:?}", pages.keys());
    for (from, to, anchor) in anchors {
        assert!(
            pages[&to].contains(&format!("id=\"{anchor}\"")),
            "{from} leads to #{anchor} of {to}, which is not there"
        );
    }
    for path in ["/docs/runbook/ledger-imbalance", "/docs/operations", "/docs/protocol.md"] {
        assert_eq!(get(&meter, path).await.status, 200, "{path}");
    }
    assert_eq!(get(&meter, "/docs/runbook").await.header("location"), Some("/docs/runbook/"));
    get(&meter, "/docs/nowhere").await.is_problem("not_found", "a page that is not there");
}

/// What a page links to and loads.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let of = |name: &'static str| page.split(name).skip(1).filter_map(|rest| rest.split('"').next());
    of(" href=\"").chain(of(" src=\""))
}

#[tokio::test]
async fn pages_run_their_own_scripts_and_language_models_are_told_of_all_of_them() {
    let meter = Meter::start().await;
    if !is_built(&meter).await {
        return;
    }
    for path in
        ["/docs/", "/docs/protocol", "/docs/errors/quota_exhausted", "/docs/runbook/", "/docs/toc.html"]
    {
        let page = get(&meter, path).await;
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        for script in page.body.split("<script>").skip(1).filter_map(|rest| rest.split("</script>").next()) {
            let hash = STANDARD.encode(Sha256::digest(script));
            assert!(policy.contains(&format!("'sha256-{hash}'")), "{path}: {script}");
        }
        for refused in [" onclick=", " onload=", " style=\"", "<style"] {
            assert!(!page.body.contains(refused), "{path} has {refused}, which its policy refuses");
        }
    }
    let list = get(&meter, "/llms.txt").await;
    assert_eq!(list.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(list.body.starts_with("# Palveron Meter\n\n> "), "{}", list.body);
    let pages: Vec<&str> = list.body.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(pages.len() > ErrorCode::ALL.len());
    for page in pages {
        let answer = get(&meter, page).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("text/markdown; charset=utf-8")),
            "{page}"
        );
    }
}

#[test]
fn every_page_is_in_the_summary_and_every_code_in_the_list_of_errors() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let read = |name: &str| std::fs::read_to_string(docs.join(name)).unwrap();
    let (summary, errors) = (read("SUMMARY.md"), read("errors.md"));
    for folder in ["", "errors/", "runbook/"] {
        for entry in std::fs::read_dir(docs.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_page = name.ends_with(".md") && name != "SUMMARY.md";
            assert!(
                !is_page || summary.contains(&format!("]({folder}{name})")),
                "{folder}{name} is not in it"
            );
        }
    }
    for code in ErrorCode::ALL {
        let (name, status, title) = (code.as_str(), code.status(), code.title());
        assert!(errors.contains(&format!("| [{name}](errors/{name}.md) | {status} | {title} |")), "{name}");
    }
}
