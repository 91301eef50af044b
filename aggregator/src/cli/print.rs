//! What commands say: results on standard output, remarks and errors on standard error.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value;

/// How a result is printed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Format {
    /// Print JSON, for programs
    #[arg(long)]
    pub(super) json: bool,
}

/// A column of a table: its head, and where its values stand in each line, as a JSON pointer.
pub(super) type Column = (&'static str, &'static str);

/// What stands in a cell without a value.
const NOTHING: &str = "-";

/// Prints a result: as JSON if that was asked for, else as `text` says it.
pub(super) fn result<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let line = if format.json { serde_json::to_string(value)? } else { text(value) };
    // A table without lines is nothing, and no empty line either.
    if line.is_empty() { Ok(()) } else { self::text(&(line + "\n")) }
}

/// Prints one thing, or a list of things, as a table.
pub(super) fn rows(format: Format, value: &Value, columns: &[Column]) -> anyhow::Result<()> {
    result(format, value, |value| table(value, columns))
}

/// The table of one thing, or of a list of things; nothing for none.
pub(super) fn table(value: &Value, columns: &[Column]) -> String {
    let lines = match value {
        Value::Array(lines) => lines.as_slice(),
        Value::Null => &[],
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            std::slice::from_ref(value)
        }
    };
    if lines.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(columns.iter().map(|(head, _)| *head));
    for line in lines {
        table.add_row(columns.iter().map(|(_, place)| cell(line.pointer(place).unwrap_or(&Value::Null))));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// A value in a cell.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => NOTHING.to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.is_empty() => NOTHING.to_owned(),
        // What others wrote must not steer a terminal.
        Value::String(text) => text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
        Value::Array(values) if values.is_empty() => NOTHING.to_owned(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(","),
        Value::Object(fields) => {
            money(value).unwrap_or_else(|| fields.keys().cloned().collect::<Vec<_>>().join(","))
        }
    }
}

/// An amount such as `49.00 eur`, from minor units.
fn money(value: &Value) -> Option<String> {
    let minor: i128 = value.pointer("/minor")?.as_str()?.parse().ok()?;
    let currency = value.pointer("/currency")?.as_str()?;
    Some(amount(minor, currency))
}

/// Currencies of which we know that they have two digits behind the point.
const HUNDREDTHS: [&str; 4] = ["eur", "usd", "gbp", "chf"];

/// An amount of minor units.
pub(super) fn amount(minor: i128, currency: &str) -> String {
    if !HUNDREDTHS.contains(&currency) {
        return format!("{minor} {currency} (minor units)");
    }
    let sign = if minor < 0 { "-" } else { "" };
    let minor = minor.unsigned_abs();
    format!("{sign}{}.{:02} {currency}", minor.div_euclid(100), minor.rem_euclid(100))
}

/// Prints a text as it is.
pub(super) fn text(text: &str) -> anyhow::Result<()> {
    match write!(io::stdout().lock(), "{text}") {
        // Whoever read our output has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// Says something to a person that is no part of the result.
pub(super) fn remark(format: Format, text: &str) {
    if !format.json {
        say(text);
    }
}

/// Says that something is not as it seems, whoever reads it.
pub(super) fn warning(text: &str) {
    say(&format!("warning: {text}"));
}

/// Says why a command failed.
pub(super) fn error(error: &anyhow::Error) {
    say(&format!("error: {error:#}"));
}

fn say(text: &str) {
    // There is nowhere left to say that standard error is closed.
    drop(writeln!(io::stderr().lock(), "{text}"));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_has_a_head_and_a_line_for_each_thing() {
        let columns: &[Column] = &[("ID", "/id"), ("OWN", "/own/rpm"), ("ON", "/on"), ("TOTAL", "/total")];
        let total = json!({ "minor": "-4905", "currency": "eur" });
        let lines =
            json!([{ "id": "a\u{1b}[2J", "own": { "rpm": 7 }, "on": true, "total": total }, { "id": "" }]);
        assert_eq!(
            table(&lines, columns),
            "ID     OWN  ON   TOTAL\na\u{fffd}[2J  7    yes  -49.05 eur\n-      -    -    -"
        );
        assert_eq!(table(&json!([]), columns), "");
        assert_eq!(table(&json!({ "id": 1 }), &columns[..1]), "ID\n1");
    }
}
