//! `meter mcp`, asked by the official client of the Model Context Protocol.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::backend;
use crate::cli::{Process, meter, stdout};
use crate::support::Folder;

/// What the client prints of the server that this command starts.
fn asked(server: &Command, calls: &Value) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/mcp/ask.py");
    let mut command = Command::new(backend::mcp_python());
    command.arg(script).arg(calls.to_string()).arg(server.get_program()).args(server.get_args()).env_clear();
    command.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.current_dir(server.get_current_dir().unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// An answer's text, and whether it is a refusal.
fn said(answer: &Value) -> (String, bool) {
    (answer["content"][0]["text"].as_str().unwrap_or_default().to_owned(), answer["isError"] == json!(true))
}

fn told(answer: &Value) -> Value {
    let (text, refused) = said(answer);
    assert!(!refused, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_model_asks_what_a_person_asks_on_the_books_and_changes_nothing() {
    let folder = Folder::new();
    stdout(&folder, "project create demo --plan pro");
    let draft = json!({
        "projects": "demo", "from": "2026-10", "to": "2026-10", "volume": 25000, "tiers": "300", "minimum": 5000,
        "base_fee": 6000,
    });
    let before = stdout(&folder, "audit --json");
    let came = asked(
        &meter(&folder, "mcp"),
        &json!([
            ["projects", {}],
            ["usage", { "project": "demo", "from": "2026-10-01", "to": "2026-10-31" }],
            ["overview", { "project": "demo" }],
            ["why_denied", { "project": "demo" }],
            ["plans", { "project": "demo" }],
            ["what_if", { "project": "demo", "units": 30000 }],
            ["contract_what_if", draft],
            ["invoices", { "project": "demo" }],
            ["usage", { "project": "demo", "from": "2026-10-01", "to": "yesterday" }],
            ["why_denied", { "project": "strange" }],
            ["usage", { "format": "csv" }],
            ["project_delete", { "project": "demo" }],
        ]),
    );
    assert_eq!(came["server"]["serverInfo"]["name"], "meter");
    let tools = came["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["projects", "usage", "overview", "why_denied", "plans", "what_if", "contract_what_if", "invoices"]
    );
    assert!(tools.iter().all(|tool| tool["annotations"]["readOnlyHint"] == true), "{tools:?}");
    let usage = &tools[1]["inputSchema"];
    assert_eq!(usage["required"], json!(["from", "to"]), "{usage}");
    let answers = came["answers"].as_array().unwrap();
    assert_eq!(told(&answers[0])["projects"][0]["id"], "demo");
    assert_eq!(told(&answers[1])["total"], 0);
    assert_eq!(told(&answers[2])["project"], "demo");
    assert_eq!(told(&answers[3])["now"]["verdict"], json!({ "served": 10_000 }));
    assert!(told(&answers[4])["plans"].as_array().is_some_and(|plans| plans.len() == 4), "{}", answers[4]);
    assert_eq!(told(&answers[5])["units"], 30_000);
    let ranges = told(&answers[6])["break_even"]["ranges"].clone();
    assert_eq!(ranges[1], json!({ "from": 11_834, "to": null, "draft": "cheaper" }));
    assert!(told(&answers[7])["invoices"].is_array());
    for (answer, expected) in [(8, "to"), (9, "`meter project list`"), (10, "format: an unknown argument")] {
        let (text, refused) = said(&answers[answer]);
        assert!(refused && text.contains(expected), "{answer}: {text}");
    }
    assert!(answers[11]["refused"].as_str().unwrap().contains("there is no tool"), "{}", answers[11]);
    assert_eq!(stdout(&folder, "audit --json"), before, "nothing was changed");
}

#[test]
fn at_a_server_a_model_has_the_rights_of_its_token() {
    let folder = Folder::new();
    stdout(&folder, "project create demo --plan pro");
    stdout(&folder, "project create other --plan pro");
    let token = stdout(&folder, "token create --project demo --role viewer");
    let server = Process::serve(&folder);
    let mut mcp = meter(&folder, "mcp");
    mcp.env("METER_URL", format!("http://{}", server.address)).env("METER_TOKEN", token.trim());
    mcp.env("DATABASE_URL", "sqlite://nowhere.db");
    let came = asked(
        &mcp,
        &json!([
            ["why_denied", {}],
            ["projects", {}],
            ["overview", { "project": "other" }],
        ]),
    );
    let answers = came["answers"].as_array().unwrap();
    assert_eq!(told(&answers[0])["project"], "demo", "its own where none is named");
    for answer in &answers[1..] {
        assert!(said(answer).1, "{answer}");
    }
    server.kill();
}
