//! Variables that nobody reads: a mistyped name must not look like a setting.

use super::ROWS;

/// What names begin with that can only be meant for this program.
const OURS: [&str; 2] = ["TELEMETRY_", "METER_REPORTER_"];

/// How alike two names must be for one to be meant by the other, of 1.
const ALIKE: f64 = 0.85;

/// A refusal for each of those names that is ours by its beginning and is read by nobody.
pub(super) fn refusals(names: impl Iterator<Item = String>) -> Vec<String> {
    let is_ours = |name: &String| OURS.iter().any(|beginning| name.starts_with(beginning));
    let is_known = |name: &String| ROWS.iter().any(|row| row.name == name);
    let mut unknown: Vec<String> = names.filter(|name| is_ours(name) && !is_known(name)).collect();
    unknown.sort();
    unknown.iter().map(|name| refusal(name)).collect()
}

fn refusal(name: &str) -> String {
    let alike = ROWS.iter().map(|row| (strsim::jaro_winkler(name, row.name), row.name));
    let nearest = alike.filter(|(alike, _)| *alike >= ALIKE).max_by(|one, other| one.0.total_cmp(&other.0));
    match nearest {
        Some((_, other)) => format!("{name}: nothing reads it; did you mean {other}?"),
        None => format!("{name}: nothing reads it; `meter-reporter --help` lists what is read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_variable_is_refused_with_the_one_that_was_meant() {
        for (name, expected) in [
            ("TELEMETRY_ENDPOIN", "did you mean TELEMETRY_ENDPOINT?"),
            ("TELEMETRY_INTERVAL", "did you mean TELEMETRY_INTERVAL_SECONDS?"),
            ("METER_REPORTER_LISTN", "did you mean METER_REPORTER_LISTEN?"),
            ("TELEMETRY_XYZZY_PLUGH", ""),
        ] {
            let refusals = refusals(std::iter::once(name.to_owned()));
            assert!(refusals.len() == 1 && refusals[0].contains(expected), "{name}: {refusals:?}");
        }
        for name in ["TELEMETRY_ENDPOINT", "METER_LISTEN", "PATH"] {
            assert!(refusals(std::iter::once(name.to_owned())).is_empty(), "{name}");
        }
    }
}
