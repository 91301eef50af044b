//! docs/egress.md: every field that can leave, made from the types that leave. A test keeps the page equal to this.

use serde_json::Value;
use shared::cell::{Cell, CellKey, Counts};
use shared::denials::{DenialReason, Denials};
use shared::ids::{AgentId, IdError, Incarnation, SourceId};
use shared::json;
use shared::kind::Kind;
use shared::report::{Environment, REPORT_CELLS_MAX, REPORT_SCHEMA, Report};
use shared::time::Timestamp;
use shared::units::Units;

use crate::outbox::NO_BODY;

/// Every field, where it is, of which form, and what it is for. Lists are written `[]`.
pub const FIELDS: &[(&str, &str, &str)] = &[
    ("schema", "the number 1", "which form of report this is"),
    ("source", "1 to 48 of a-z, 0-9, -", "which reporter; the name is in its key, and we gave it"),
    ("incarnation", "32 hex digits", "which life of the data folder; random"),
    ("seq", "a whole number", "rises by one with each report of that life"),
    ("previous", "64 hex digits", "SHA-256 of the body before it, so that neither side can leave one out"),
    ("environment", "production or development", "as METER_REPORTER_ENVIRONMENT says"),
    ("cells[].day", "a date", "the day in UTC"),
    ("cells[].kind", "verify, mcp_tool_call or extension_event", "what was governed"),
    (
        "cells[].agent",
        "1 to 128 visible ASCII characters",
        "the agent's name, or 32 hex digits where METER_REPORTER_AGENT_SALT is set; ~none and ~other are ours",
    ),
    ("cells[].units", "a whole number", "requests so far on that day"),
    ("cells[].tokens_in", "a whole number", "LLM tokens read, as far as they were told here"),
    ("cells[].tokens_out", "a whole number", "LLM tokens written, likewise"),
    ("cells[].anchors", "a whole number", "blockchain anchors, likewise"),
    (
        "cells[].denials.unauthorized",
        "a whole number",
        "requests refused so far, by the code of the answer; left out where none was",
    ),
    ("cells[].denials.quota_exhausted", "a whole number", "likewise"),
    ("cells[].denials.project_suspended", "a whole number", "likewise"),
    ("cells[].denials.agent_limit", "a whole number", "likewise"),
    ("cells[].denials.rate_limited", "a whole number", "likewise"),
    ("cells[].denials.quota_contended", "a whole number", "likewise"),
    ("cells[].denials.home_unavailable", "a whole number", "likewise"),
    (
        "cells[].denials.shadow_quota_exhausted",
        "a whole number",
        "requests served so far that METER_SHADOW let through, by the code that would have refused them; left out where none was",
    ),
    ("cells[].denials.shadow_agent_limit", "a whole number", "likewise"),
    ("cells[].denials.shadow_rate_limited", "a whole number", "likewise"),
    ("cells[].denials.shadow_quota_contended", "a whole number", "likewise"),
    ("cells[].denials.shadow_home_unavailable", "a whole number", "likewise"),
];

/// A report that has every field there is. Whoever adds one to a type must say here what it is.
///
/// # Errors
/// Never.
pub fn example() -> Result<Report, IdError> {
    let mut denials = Denials::NONE;
    for reason in DenialReason::ALL {
        denials.add(reason, 1);
    }
    for reason in DenialReason::SHADOWED {
        denials = denials.plus(Denials::shadowed(reason, 1));
    }
    let key = CellKey {
        day: Timestamp::parse("2026-11-23").unwrap_or_default().day(),
        kind: Kind::Verify,
        agent: AgentId::parse("support-bot")?,
    };
    let counts = Counts {
        units: Units::new(1_204),
        tokens_in: Units::new(88_100),
        tokens_out: Units::new(20_310),
        anchors: Units::new(2),
    };
    Ok(Report {
        schema: REPORT_SCHEMA,
        source: SourceId::parse("plant-7")?,
        incarnation: Incarnation::parse("5f0c9a1be27d4c3388aa01d2c4e6f790")?,
        seq: 412,
        previous: NO_BODY.to_owned(),
        environment: Environment::Production,
        cells: vec![Cell { key, counts, denials }],
    })
}

/// The paths of all values in a body, each with what is there.
#[must_use]
pub fn paths(value: &Value) -> Vec<(String, &Value)> {
    fn walk<'v>(path: String, value: &'v Value, found: &mut Vec<(String, &'v Value)>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(path, value, found);
                }
            }
            Value::Array(items) => {
                items.iter().for_each(|item| walk(format!("{path}[]"), item, found));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => found.push((path, value)),
        }
    }
    let mut found = Vec::new();
    walk(String::new(), value, &mut found);
    found
}

/// The page.
///
/// # Errors
/// Never.
pub fn page() -> Result<String, IdError> {
    let body = json::write(&example()?);
    let value: Value = json::read(&body).unwrap_or_default();
    let found = paths(&value);
    let row = |(path, form, says): &(&str, &str, &str)| {
        let example = found.iter().find(|(name, _)| name == path).map(|(_, value)| value.to_string());
        format!("| `{path}` | {form} | `{}` | {says} |\n", example.unwrap_or_default())
    };
    let rows: String = FIELDS.iter().map(row).collect();
    let size = REPORT_CELLS_MAX.to_string();
    Ok(include_str!("egress/page.md")
        .replace("{rows}", &rows)
        .replace("{body}", &body)
        .replace("{cells}", &size))
}

#[cfg(test)]
mod tests;
