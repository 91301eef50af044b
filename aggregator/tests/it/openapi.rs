//! The OpenAPI document: as the repository has it, complete, and served.

use std::collections::BTreeSet;
use std::path::Path;

use aggregator::http::{document, routes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
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
    let ids: BTreeSet<&str> =
        operations(&document).map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), routes.len(), "two operations have the same id");
    assert!(!ids.contains(""), "an operation has no id: aggregator/src/http/openapi/ids.rs needs a line");
    for route in &routes {
        assert!(!route.answers.is_empty(), "{route:?} answers nothing");
    }
}

fn operations(document: &Value) -> impl Iterator<Item = &Value> {
    document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values())
}

/// Programs that were made from an older document call functions of these names.
#[test]
fn operations_are_called_as_they_always_were() {
    let document = parsed();
    for line in include_str!("operation_ids.txt").lines() {
        let (id, operation) = line.split_once(' ').unwrap();
        let (method, path) = operation.split_once(' ').unwrap();
        assert_eq!(document["paths"][path][method.to_lowercase()]["operationId"], id, "{operation}");
    }
}

/// Each of these made common makers of clients, or linters, give up.
#[test]
fn schemas_are_written_so_that_makers_of_clients_understand_them() {
    fn look(value: &Value, place: &str) {
        match value {
            Value::Object(object) => {
                for (name, inner) in object {
                    let here = format!("{place}/{name}");
                    let is_schema = ["schema", "items", "body"].contains(&name.as_str());
                    assert!(!(is_schema && inner.is_boolean()), "{here} is a boolean schema");
                    look(inner, &here);
                }
                for choices in ["oneOf", "anyOf"].map(|name| object.get(name).and_then(Value::as_array)) {
                    let words = choices.into_iter().flatten().filter(|choice| {
                        choice["type"] == "string"
                            && (choice.get("const").is_some() || choice.get("enum").is_some())
                    });
                    assert!(words.count() < 2, "{place}: words are one enumeration");
                }
            }
            Value::Array(array) => array.iter().for_each(|inner| look(inner, place)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    look(&parsed(), "");
}

#[test]
fn refusals_are_described_by_their_own_codes() {
    let document = parsed();
    for route in routes() {
        let answers = &document["paths"][route.path][route.method.as_str().to_lowercase()]["responses"];
        for code in route.codes() {
            let says = answers[code.status().to_string()]["description"].as_str().unwrap();
            assert!(
                says.contains(&format!("`{}`: {}", code.as_str(), code.title())),
                "{}: {says}",
                route.path
            );
        }
        for (status, answer) in answers.as_object().unwrap() {
            let codes = answer["x-codes"].as_array().into_iter().flatten();
            for code in codes.map(|code| ErrorCode::parse(code.as_str().unwrap()).unwrap()) {
                assert!(route.codes().contains(&code), "{} {status} names {code:?}", route.path);
            }
        }
    }
}

#[tokio::test]
async fn the_first_page_leads_on_and_loads_nothing() {
    let meter = Meter::start().await;
    // Browsers are shown the dashboard instead, where this binary has it.
    let page = meter.send("GET", "/", &[("accept", "*/*")], "").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let style = page.body.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>")).unwrap().0;
    let hash = STANDARD.encode(Sha256::digest(style));
    assert!(policy.contains(&format!("'sha256-{hash}'")), "{policy} does not let in {hash}");
    assert!(!page.body.contains("<script") && !page.body.contains(" src=") && !page.body.contains(" style="));
    for link in page.body.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        if link.starts_with('/') {
            assert_eq!(meter.send("GET", link, &[], "").await.status, 200, "{link}");
        }
    }
    assert!(page.body.contains("curl meter/api/v1/admin/projects"), "it shows the host that was asked");
    let odd = meter.raw(b"GET / HTTP/1.1\r\nhost: <b>\r\nconnection: close\r\n\r\n").await;
    assert!(!odd.body.contains("<b>"), "{odd:?}");
    let json = meter.send("GET", "/", &[("accept", "application/json")], "").await;
    assert_eq!(json.header("content-type"), Some("application/json"));
    assert_eq!(json.value()["openapi"], "/openapi.json");
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
    let edge = meter.send("GET", "/openapi-edge.json", &[], "").await;
    assert_eq!(edge.value()["info"]["title"], "Palveron Meter: the edge");
    for code in ErrorCode::ALL {
        let page = meter.send("GET", &format!("/errors/{}", code.as_str()), &[], "").await;
        assert_eq!(page.status, 200);
        assert!(page.body.starts_with(&format!("# {}\n", code.as_str())), "{page:?}");
    }
    meter.send("GET", "/errors/nothing", &[], "").await.is_problem("not_found", "no such code");
}
