//! Every planted bug is caught within 1,000 seeds, and the seeds that once failed stay clean.
#![cfg(feature = "planted")]

use shared::planted::Bug;
use sim::bugs::{Planted, ShellBug};
use sim::run::many;

const SEEDS_MAX: u64 = 1_000;

/// What breaks no invariant but takes longer than it need: the aims catch it by how often clients are told to wait.
const SLOW_ALONE: [Bug; 1] = [Bug::NeverCalledBack];

/// What only homes that move can do wrong: `moves.rs` catches it.
const IN_MOVES: [Bug; 3] = [Bug::EndedGrants, Bug::OldRowsReopened, Bug::EndedTooSoon];

/// What only losses can show while little is left: `losses.rs` catches it.
const IN_LOSSES: [Bug; 2] = [Bug::LetGoTwice, Bug::LetGoKept];

fn first_caught(planted: Planted) -> Option<(u64, String)> {
    many(1, SEEDS_MAX, 0, planted, 1).failures.into_iter().next()
}

#[test]
fn every_bug_of_the_core_is_caught() {
    let missed: Vec<Bug> = Bug::ALL
        .iter()
        .copied()
        .filter(|bug| !SLOW_ALONE.contains(bug) && !IN_MOVES.contains(bug) && !IN_LOSSES.contains(bug))
        .filter(|bug| {
            let caught = first_caught(Planted { core: Some(*bug), ..Planted::default() });
            eprintln!("{bug:?}: {caught:?}");
            caught.is_none()
        })
        .collect();
    assert_eq!(missed, []);
}

#[test]
fn every_bug_of_a_shell_is_caught() {
    let missed: Vec<ShellBug> = ShellBug::ALL
        .iter()
        .copied()
        .filter(|bug| {
            let caught = first_caught(Planted { shell: Some(*bug), ..Planted::default() });
            eprintln!("{bug:?}: {caught:?}");
            caught.is_none()
        })
        .collect();
    assert_eq!(missed, []);
}
