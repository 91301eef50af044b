//! The suite on backends in memory.

use conformance::{Alone, Shared, check};

const SEEDS: u64 = 10;

#[test]
fn rows_of_one_writer_hold_what_was_answered() {
    for seed in 1..=SEEDS {
        check(seed, vec![Alone::default()]);
    }
}

#[test]
fn rows_that_are_compared_and_swapped_hold_what_was_answered_by_any_process() {
    for seed in 1..=SEEDS {
        check(seed, Shared::processes(4));
    }
}
