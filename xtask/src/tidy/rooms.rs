//! The rooms of the aggregator and who may use whom: what decides never knows what stores, listens or is typed.
//!
//! It reads the paths that begin with `crate::`; how files of one room use each other is their own business.

use super::sources::code_lines;
use super::tree::Tree;

/// Where the rooms are.
const SOURCES: &str = "aggregator/src/";

/// The floors, the highest first. A room uses what is on floors below its own, and no other room of its floor.
const FLOORS: [&[&str]; 12] = [
    &["main", "lib"],
    &["cli"],
    &["config"],
    &["http", "jobs"],
    &["app"],
    &["identity"],
    &["stripe", "edge", "counters"],
    &["store"],
    &["payments", "webhooks", "access", "metering", "contracts"],
    &["projects"],
    &["ledger"],
    &["clock", "idempotency", "metrics", "random", "text", "traces"],
];

/// What everybody uses: it uses nothing of the crate itself, or only what stands beside it.
const GROUND: usize = FLOORS.len().saturating_sub(1);

/// Checks every use of one room by another.
pub(super) fn check(tree: &Tree) -> Vec<String> {
    let files = tree.ending(".rs").filter_map(|(path, text)| Some((path, path.strip_prefix(SOURCES)?, text)));
    let mut findings = Vec::new();
    for (path, inside, text) in files {
        let room = inside.split(['/', '.']).next().unwrap_or_default();
        let Some(own) = floor(room) else {
            findings.push(format!("{path}: the room `{room}` is on no floor: give it one in tidy's FLOORS"));
            continue;
        };
        for (number, line) in code_lines(text).filter(|_| !inside.contains("/tests/")) {
            for used in uses(line).filter(|used| *used != room) {
                let complaint = match floor(used) {
                    None => "it is on no floor, or several are named at once: one `use` for each room",
                    Some(theirs) if theirs > own || (theirs == GROUND && own == GROUND) => continue,
                    Some(theirs) if theirs == own => "rooms of one floor meet below it",
                    Some(_) => "it is above",
                };
                findings.push(format!("{path}:{number}: `{room}` uses `crate::{used}`: {complaint}"));
            }
        }
    }
    findings
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The rooms that a line names.
fn uses(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_uses_what_is_below_it_and_no_more() {
        for (path, line, findings) in [
            ("aggregator/src/http/usage.rs", "use crate::store::Store;", 0),
            ("aggregator/src/http/usage.rs", "use crate::jobs;", 1),
            ("aggregator/src/jobs/audit.rs", "use crate::http::Site;", 1),
            ("aggregator/src/store/usage.rs", "use crate::payments::goods::Good;", 0),
            ("aggregator/src/store/usage.rs", "use crate::store::rows;", 0),
            ("aggregator/src/store/usage.rs", "    crate::stripe::sync::order(x);", 1),
            ("aggregator/src/payments/table.rs", "use crate::metering::usage::Usage;", 1),
            ("aggregator/src/ledger/mod.rs", "use crate::store::Store;", 1),
            ("aggregator/src/ledger/mod.rs", "// as in crate::store", 0),
            ("aggregator/src/ledger/tests/rows.rs", "use crate::projects::book::Book;", 0),
            ("aggregator/src/idempotency.rs", "use crate::random;", 0),
            ("aggregator/src/random.rs", "use crate::ledger::money::Money;", 1),
            ("aggregator/src/http/usage.rs", "use crate::{store, jobs};", 1),
            ("aggregator/src/attic/usage.rs", "", 1),
            ("aggregator/src/app.rs", "use crate::stripe::account::Account;", 0),
            ("aggregator/src/stripe/sync.rs", "use crate::app::App;", 1),
            ("tests/sim/src/lib.rs", "use crate::attic;", 0),
        ] {
            assert_eq!(check(&Tree::from([(path, line)])).len(), findings, "{path}: {line}");
        }
    }
}
