//! Variables that nobody reads: a mistyped name must not look like a setting.

use crate::Row;

/// How alike two whole names must be for one to be meant by the other, of 1.
const ALIKE: f64 = 0.85;

/// A refusal for each of the names that can only be meant for this program, by how it begins, and is read by nobody.
pub fn refusals(
    program: &str,
    beginnings: &[&str],
    rows: &[&Row],
    names: impl Iterator<Item = String>,
) -> Vec<String> {
    let is_ours = |name: &String| beginnings.iter().any(|beginning| name.starts_with(beginning));
    let is_known = |name: &String| rows.iter().any(|row| row.name == name);
    let mut unknown: Vec<String> = names.filter(|name| is_ours(name) && !is_known(name)).collect();
    unknown.sort();
    unknown.iter().map(|name| refusal((program, ""), name, rows)).collect()
}

/// The refusal of a name that is none of a row, where names are compared behind what most begin with.
pub(crate) fn refusal((program, beginning): (&str, &str), name: &str, rows: &[&Row]) -> String {
    match meant(name, rows.iter().map(|row| row.name), beginning, ALIKE) {
        Some(other) => format!("{name}: nothing reads it; did you mean {other}?"),
        None => format!("{name}: nothing reads it; `{program} --help` lists what is read"),
    }
}

/// Which of the names that are read somebody may have meant: at least that alike, behind what all begin with.
pub fn meant<'a>(
    name: &str,
    known: impl Iterator<Item = &'a str>,
    beginning: &str,
    alike: f64,
) -> Option<&'a str> {
    let rest = |name: &str| name.strip_prefix(beginning).unwrap_or(name).to_owned();
    let all = known.map(|other| (strsim::jaro_winkler(&rest(name), &rest(other)), other));
    let near = all.filter(|(how, _)| *how >= alike);
    near.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, other)| other)
}
