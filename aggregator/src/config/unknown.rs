//! Variables that nobody reads: a mistyped name must not look like a setting.

use std::collections::BTreeSet;

use super::ROWS;

/// What names begin with that can only be meant for us.
const OURS: &str = "METER_";

/// What the test suites read.
const OF_TESTS: &str = "METER_TEST_";

/// What the edge reads: one file of settings may be for both.
const OF_THE_EDGE: [&str; 6] =
    ["METER_BILL", "METER_HOMES", "METER_REGION", "METER_ROUTES", "METER_SHADOW", "METER_SUB_HOMES"];

/// What the reporter and Envoy's service read, and judge themselves.
const OF_OTHERS: [&str; 2] = ["METER_REPORTER_", "METER_ENVOY_"];

/// How alike two names must be for one to be meant by the other, of 1.
const ALIKE: f64 = 0.8;

/// A remark for each of those names that is ours by its beginning and is read by nobody.
pub(super) fn remarks(names: impl Iterator<Item = String>) -> Vec<String> {
    let known = known();
    let mut unknown: Vec<String> = names
        .filter(|name| name.starts_with(OURS) && !known.contains(name))
        .filter(|name| !OF_OTHERS.iter().chain([&OF_TESTS]).any(|others| name.starts_with(others)))
        .collect();
    unknown.sort();
    unknown.iter().map(|name| remark(name, &known)).collect()
}

fn remark(name: &str, known: &BTreeSet<String>) -> String {
    // All are alike in how they begin.
    let nearest = meter_settings::meant(name, known.iter().map(String::as_str), OURS, ALIKE);
    match nearest {
        Some(other) => format!("{name} is set, and nothing reads it; did you mean {other}?"),
        None => format!("{name} is set, and nothing reads it; `meter --help` lists what is read"),
    }
}

/// Every name that is read.
fn known() -> BTreeSet<String> {
    ROWS.iter().map(|row| row.name).chain(OF_THE_EDGE).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_variable_is_told_with_the_one_that_was_meant() {
        // set => what is told, or nothing
        let table = "
            METER_LISTN          => did you mean METER_LISTEN?
            METER_KEY_SECRET     => did you mean METER_KEY_SECRETS?
            METER_WEBHOOK_PORTS  => did you mean METER_WEBHOOKS_PORTS?
            METER_TOKENS         => did you mean METER_TOKEN?
            METER_XYZZY          => `meter --help` lists
            METER_LISTEN         =>
            METER_URL            =>
            METER_REGION         =>
            METER_TEST           =>
            METER_TEST_BIN_DIR   =>
            METER_ENVOY_LISTEN   =>
            DATABASE_URI         =>
        ";
        for case in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, expected) = case.split_once("=>").unwrap();
            let (name, expected) = (name.trim(), expected.trim());
            match (remarks(std::iter::once(name.to_owned())).as_slice(), expected) {
                ([], "") => {}
                ([remark], expected) if !expected.is_empty() => {
                    assert!(remark.starts_with(name) && remark.contains(expected), "{case}: {remark}");
                }
                (remarks, _) => panic!("{case}: {remarks:?}"),
            }
        }
    }
}
