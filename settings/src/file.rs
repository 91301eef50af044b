//! A file of settings: TOML, whose keys are the variables' own names, so that a setting has one name wherever it is set.
//!
//! It must never repeat a value that it refuses: it may be a secret.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::Error;
use toml::{Table, Value};

use crate::unknown::refusal;
use crate::{ConfigError, Row};

/// The longest line of an example, in characters.
const LINE_CHARS_MAX: usize = 100;

/// What a file says.
#[derive(Clone, Default)]
pub struct File(BTreeMap<String, String>);

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl File {
    /// Reads the file at `path`, whose keys are names of `rows`; `program` is who lists them, and what most begin with.
    ///
    /// # Errors
    /// Says all that is wrong with it, a line each.
    pub fn read(path: &Path, program: (&str, &str), rows: &[&Row]) -> Result<Self, ConfigError> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError(vec![format!("{shown}: cannot be read: {error}")]))?;
        Self::parse(&text, program, rows)
            .map_err(|all| ConfigError(all.iter().map(|why| format!("{shown}: {why}")).collect()))
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// As [`File::read`], without the file's name.
    pub fn parse(text: &str, program: (&str, &str), rows: &[&Row]) -> Result<Self, Vec<String>> {
        let table: Table = text.parse().map_err(|error| vec![unreadable(text, &error)])?;
        let (mut values, mut problems) = (BTreeMap::new(), Vec::new());
        for (name, value) in table {
            if !rows.iter().any(|row| row.name == name) {
                problems.push(refusal(program, &name, rows));
                continue;
            }
            match text_of(&value) {
                Some(text) => drop(values.insert(name, text)),
                None => problems.push(format!(
                    "{name}: got a value of type {}, accepted are a text, a whole number, true and false",
                    value.type_str()
                )),
            }
        }
        if problems.is_empty() { Ok(Self(values)) } else { Err(problems) }
    }

    /// What it says of a setting.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// What is wrong with a text that is no TOML, and where; without the line itself.
fn unreadable(text: &str, error: &Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count().saturating_add(1);
    format!("line {line} is no TOML: {}", error.message())
}

/// A value as the variable would say it.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(is) => Some(u8::from(*is).to_string()),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

/// A file with every setting, each as it is without being set, commented out under what is said of it.
#[must_use]
pub fn example(head: &str, rows: &[&Row]) -> String {
    let mut text = wrapped(head);
    for Row { name, default, meaning, says, .. } in rows.iter().copied() {
        let without = meaning.map_or_else(|| format!("`{default}`"), str::to_owned);
        text.push('\n');
        text.push_str(&wrapped(&format!("{}. Without it: {without}.", capitalised(says))));
        text.push_str(&format!("#{name} = {}\n", literal(default)));
    }
    text
}

/// A text as TOML has it, as far as defaults go; whole numbers are bare.
fn literal(text: &str) -> String {
    let is_number = text == "0" || (!text.starts_with('0') && text.parse::<u32>().is_ok());
    if is_number { text.to_owned() } else { format!("{text:?}") }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Comment lines.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    for paragraph in text.lines() {
        let mut line = "#".to_owned();
        for word in paragraph.split_whitespace() {
            if line.chars().count().saturating_add(word.chars().count()) >= LINE_CHARS_MAX && line.len() > 1 {
                lines.push_str(&line);
                lines.push('\n');
                "#".clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switch;

    #[expect(unreachable_pub, reason = "programs show their rows to others")]
    mod settings {
        crate::settings! {
            LISTEN: String = "METER_LISTEN" "127.0.0.1:8080", |text| Ok(text.to_owned()), "where it listens";
            TEST: bool = "METER_TEST" "0", super::switch, "`1` moves the clock";
            SECRET: String = "METER_SECRET" "" ("none"), |text| Ok(text.to_owned()), "a secret";
        }
    }

    const METER: (&str, &str) = ("meter", "METER_");

    fn parse(text: &str) -> Result<File, Vec<String>> {
        File::parse(text, METER, settings::ROWS)
    }

    #[test]
    fn texts_numbers_and_switches_are_what_the_variables_would_say() {
        let file = parse("METER_LISTEN = \"[::1]:1\"\nMETER_TEST = true\n").unwrap();
        assert_eq!((file.get("METER_LISTEN"), file.get("METER_TEST")), (Some("[::1]:1"), Some("1")));
        assert_eq!(parse("METER_TEST = 0").unwrap().get("METER_TEST"), Some("0"));
        assert_eq!((file.get("METER_SECRET"), settings::ROWS.len()), (None, 3));
        for setting in [&settings::LISTEN, &settings::SECRET] {
            assert!((setting.parse)("x").is_ok());
        }
        assert_eq!((settings::TEST.parse)("1"), Ok(true));
    }

    #[test]
    fn what_is_refused_is_told_by_name_or_line_and_never_repeated() {
        let cases = [
            ("METER_LISTN = \"hunter2\"", "METER_LISTN: nothing reads it; did you mean METER_LISTEN?"),
            ("METER_TOAST = 1", "METER_TOAST: nothing reads it; `meter --help` lists what is read"),
            ("COLOUR = \"hunter2\"", "COLOUR: nothing reads it; `meter --help` lists what is read"),
            ("METER_SECRET = [\"hunter2\"]", "METER_SECRET: got a value of type array, accepted are"),
            ("[METER_SECRET]\nhunter2 = 1", "METER_SECRET: got a value of type table, accepted are"),
            ("METER_SECRET = 1.5", "METER_SECRET: got a value of type float, accepted are"),
            ("\nMETER_SECRET = hunter2", "line 2 is no TOML: "),
            ("METER_SECRET = \"hunter2", "line 1 is no TOML: "),
            ("METER_TEST = 1\nMETER_TEST = 1", "line 2 is no TOML: "),
        ];
        for (text, expected) in cases {
            let refused = parse(text).unwrap_err().join("\n");
            assert!(refused.starts_with(expected) && !refused.contains("hunter2"), "{text}: {refused}");
        }
        let two = parse("METER_LISTN = 1\nMETER_SECRETS = 1").unwrap_err();
        assert_eq!(two.len(), 2, "all is told at once: {two:?}");
        let missing = File::read(Path::new("/nowhere/meter.toml"), METER, settings::ROWS).unwrap_err();
        assert!(missing.to_string().starts_with("/nowhere/meter.toml: cannot be read: "), "{missing}");
        assert!(!format!("{:?}", parse("METER_SECRET = \"hunter2\"").unwrap()).contains("hunter2"));
    }

    #[test]
    fn an_example_says_every_setting_once_and_is_a_file_when_it_is_uncommented() {
        let example = example("Settings.", settings::ROWS);
        assert_eq!(
            example,
            "# Settings.\n\
             \n# Where it listens. Without it: `127.0.0.1:8080`.\n#METER_LISTEN = \"127.0.0.1:8080\"\n\
             \n# `1` moves the clock. Without it: `0`.\n#METER_TEST = 0\n\
             \n# A secret. Without it: none.\n#METER_SECRET = \"\"\n"
        );
        let long = wrapped(&"word ".repeat(60));
        assert!(long.lines().count() == 4 && long.lines().all(|line| line.len() <= LINE_CHARS_MAX), "{long}");
    }
}
