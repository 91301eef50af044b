//! `meter leases`: who has what of a project's units, as the homes tell it now.

use clap::Args;
use serde_json::Value;
use shared::ids::ProjectId;

use super::call::Call;
use super::place::Place;
use super::print::{self, Column, Format, cell, table};
use super::project;

const HOMES: &[Column] = &[
    ("KEYS", "/mode"),
    ("LIMIT", "/home/limit"),
    ("LEFT", "/home/left"),
    ("SETTLED", "/home/settled"),
    ("ANSWERING", "/home/answering"),
    ("OUT", "/home/out"),
    ("STRANDED", "/home/stranded"),
    ("VOID", "/home/void"),
    ("OVERSHOOT", "/home/overshoot"),
    ("REFUSED WRONGLY", "/wrong_denials/known"),
    ("REFUSED, UNPROVEN", "/wrong_denials/unproven"),
];

const HOLDERS: &[Column] = &[
    ("HOLDER", "/holder"),
    ("OF", "/of"),
    ("OUT", "/out"),
    ("SILENT MS", "/silent_ms"),
    ("LIVES", "/live"),
    ("STOCK", "/stock"),
    ("STRANDED", "/stranded"),
];

#[derive(Debug, Args)]
pub(super) struct Leases {
    /// The project
    project: ProjectId,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn show(leases: Leases, place: Place) -> anyhow::Result<()> {
    let Leases { project, format } = leases;
    let path = project::path(&project);
    let map = place.ask(&Call::get(&[&path[..], &["leases"]].concat())).await?;
    if let Some(why) = map.pointer("/unreachable").and_then(Value::as_str) {
        print::warning(&format!("the homes could not be asked: {why}; what follows is what the books know"));
    }
    print::result(format, &map, text)
}

fn text(map: &Value) -> String {
    let empty = Vec::new();
    let modes = map.pointer("/modes").and_then(Value::as_array).unwrap_or(&empty);
    let mut parts = vec![
        format!("as of {}", cell(map.pointer("/as_of").unwrap_or(&Value::Null))),
        table(&Value::Array(modes.clone()), HOMES),
    ];
    let holders: Vec<Value> = modes.iter().flat_map(holders).collect();
    parts.push(table(&Value::Array(holders), HOLDERS));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

/// The holders of a home, and below each sub-home its own.
fn holders(mode: &Value) -> Vec<Value> {
    let told =
        |of: &Value| of.pointer("/holders/told").and_then(Value::as_array).cloned().unwrap_or_default();
    let name = cell(mode.pointer("/mode").unwrap_or(&Value::Null));
    let subs = mode.pointer("/sub_homes").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for held in told(mode.pointer("/home").unwrap_or(&Value::Null)) {
        let sub = subs.iter().find(|sub| sub.pointer("/holder") == held.pointer("/holder"));
        lines.push(line(held, &format!("home of {name} keys"), sub));
        for isolate in sub.map(told).unwrap_or_default() {
            let of = sub.and_then(|sub| sub.pointer("/name")).unwrap_or(&Value::Null);
            lines.push(line(isolate, &cell(of), None));
        }
    }
    lines
}

fn line(mut held: Value, of: &str, sub: Option<&Value>) -> Value {
    if let Some(fields) = held.as_object_mut() {
        fields.insert("of".to_owned(), of.into());
        for name in ["stock", "stranded"] {
            let of_sub_home = sub.and_then(|sub| sub.get(name)).cloned();
            fields.insert(name.to_owned(), of_sub_home.unwrap_or_default());
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn isolates_stand_below_their_sub_home() {
        let held = |holder: &str, out| json!({"holder": holder, "out": out, "silent_ms": 5, "live": true});
        let map = json!({"as_of": "2026-11-23T12:00:00Z", "modes": [{"mode": "live",
            "home": {"limit": 100, "out": 9, "overshoot": 0, "holders": {"told": [held("aa", 5), held("bb", 4)]}},
            "sub_homes": [{"name": "demo/live/eu/0", "holder": "aa", "stock": 2, "stranded": 1,
                "holders": {"told": [held("cc", 3)]}}],
            "wrong_denials": {"known": 0, "unproven": 2}}]});
        let said = text(&map);
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].contains("12:00:00") && lines[3].starts_with("live"), "{said}");
        let at = |holder: &str| lines.iter().position(|line| line.starts_with(holder)).unwrap();
        assert!(at("aa") < at("cc") && at("cc") < at("bb"), "{said}");
        assert!(lines[at("cc")].contains("demo/live/eu/0"), "{said}");
    }
}
