//! `GET /metrics`: what this isolate has answered and refused, in Prometheus' text format. It names no project, and
//! nothing that strangers send makes it longer.

use shared::denials::DenialReason;
use shared::json;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::contract::Answers;
use crate::trip::queue;
use crate::{config, isolate};

/// Paths that are answered, beside those of the routes.
const PATHS: [&str; 5] = ["/healthz", "/v1/check", "/v1/quota", "/v1/observe", "/metrics"];

/// What the refusal of a key is counted as that is of no project.
const UNKNOWN_KEY: &str = "unknown_key";

/// The paths that answers are counted by; whatever is below one is of it.
#[wasm_bindgen(js_name = countedPaths)]
#[must_use]
pub fn counted_paths() -> Vec<String> {
    let mut paths: Vec<String> = PATHS.map(ToString::to_string).into();
    config::with(|config| paths.extend(config.routes.prefixes().map(ToString::to_string)));
    // The longest that matches decides.
    paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
    paths
}

/// The text, with the answers that were counted, as a list of `Answers` in JSON.
#[wasm_bindgen]
#[must_use]
pub fn metrics(answers: &str) -> String {
    let (denials, unknown_keys, isolate) = isolate::with(|isolate| isolate.refused());
    let reasons = DenialReason::ALL.map(|reason| (reason.as_str(), denials.get(reason)));
    let mut text =
        head("meter_edge_denied_requests_total", "Requests that were refused, by the code of the answer.");
    for (reason, count) in reasons.into_iter().chain([(UNKNOWN_KEY, unknown_keys)]) {
        text += &format!(
            "meter_edge_denied_requests_total{{isolate=\"{isolate}\",reason=\"{reason}\"}} {count}\n"
        );
    }
    text += &head("meter_edge_answers_total", "Answers, by path and status.");
    for Answers { path, status, count } in json::read::<Vec<Answers>>(answers).unwrap_or_default() {
        let path = path.replace('\\', "\\\\").replace('"', "\\\"");
        text += &format!(
            "meter_edge_answers_total{{isolate=\"{isolate}\",path=\"{path}\",status=\"{status}\"}} {count}\n"
        );
    }
    let queue::Counts { trips, conflicts, questions } = queue::counts();
    for (name, help, count) in [
        ("trips", "Connections to a Redis, each for all questions to a home that waited.", trips),
        (
            "conflicts",
            "Writes to a Redis that others had come before, and that were decided anew.",
            conflicts,
        ),
        (
            "questions",
            "Contacts, decisions and observations that homes in a Redis have replied to.",
            questions,
        ),
    ] {
        let name = format!("meter_edge_redis_{name}_total");
        text += &head(&name, help);
        text += &format!("{name}{{isolate=\"{isolate}\"}} {count}\n");
    }
    text
}

fn head(name: &str, help: &str) -> String {
    format!("# HELP {name} {help}\n# TYPE {name} counter\n")
}
