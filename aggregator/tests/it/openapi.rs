//! The OpenAPI document: as the repository has it, complete, and served.

use std::collections::BTreeSet;
use std::path::Path;

use aggregator::http::{document, routes};
use serde_json::Value;
use shared::problem::ErrorCode;

use crate::support::Meter;

fn parsed() -> Value {
    serde_json::from_str(&document()).unwrap()
}

#[test]
fn the_document_is_the_one_in_the_repository() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == document(),
        "the interface differs from docs/openapi.json; if that is meant: cargo run -p aggregator -- openapi > docs/openapi.json"
    );
}

#[test]
fn every_route_and_no_other_is_described_under_a_name_of_its_own() {
    let document = parsed();
    let described: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| format!("{method} {path}"))
        })
        .collect();
    let routes = routes();
    let expected: BTreeSet<String> = routes
        .iter()
        .map(|route| format!("{} {}", route.method.as_str().to_lowercase(), route.path))
        .collect();
    assert_eq!(described, expected);
    let names: BTreeSet<&str> = routes.iter().map(|route| route.summary).collect();
    assert_eq!(names.len(), routes.len(), "two routes have the same summary");
    for route in &routes {
        assert!(!route.answers.is_empty(), "{route:?} answers nothing");
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_code_is_listed() {
    let document = parsed();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
    let listed: BTreeSet<&str> = document["components"]["schemas"]["ErrorCode"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap())
        .collect();
    assert_eq!(listed, ErrorCode::ALL.iter().map(|code| code.as_str()).collect());
}

#[tokio::test]
async fn the_document_and_the_pages_of_its_codes_are_served() {
    let meter = Meter::start().await;
    let served = meter.send("GET", "/openapi.json", &[], "").await;
    assert_eq!((served.status, served.header("content-type")), (200, Some("application/json")));
    assert_eq!(served.value(), parsed());
    for code in ErrorCode::ALL {
        let page = meter.send("GET", &format!("/errors/{}", code.as_str()), &[], "").await;
        assert_eq!(page.status, 200);
        assert!(page.body.starts_with(&format!("# {}\n", code.as_str())), "{page:?}");
    }
    meter.send("GET", "/errors/nothing", &[], "").await.is_problem("not_found", "no such code");
}
