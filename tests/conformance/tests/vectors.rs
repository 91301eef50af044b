//! The recorded vectors, replayed through both kinds of storage.

#![expect(clippy::panic, reason = "a check ends by panicking with what is wrong")]

use std::fs;
use std::path::PathBuf;

use conformance::script::vectors;
use conformance::vectors::{Vector, play};
use conformance::{Alone, Backend, Shared};

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../vectors/home.json")
}

fn recorded() -> Vec<Vector> {
    let text = fs::read_to_string(path()).unwrap_or_else(|error| panic!("tests/vectors/home.json: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("tests/vectors/home.json: {error}"))
}

fn replay<B: Backend>(backend: impl Fn() -> B) {
    for vector in recorded() {
        let played = play(backend(), vector.steps.iter().map(|recorded| recorded.step.clone()));
        for (n, (played, recorded)) in played.iter().zip(&vector.steps).enumerate() {
            assert_eq!(played, recorded, "{}, step {n}", vector.name);
        }
    }
}

#[test]
fn the_recorded_vectors_hold_where_one_process_writes() {
    replay(Alone::default);
}

#[test]
fn the_recorded_vectors_hold_where_rows_are_compared_and_swapped_and_answers_are_lost() {
    replay(|| Shared::processes(1).remove(0));
}

#[test]
fn what_is_recorded_is_what_the_scripts_do() {
    assert_eq!(
        recorded(),
        vectors(),
        "a change of the wire or of a row: if it is meant, record anew and read the difference"
    );
}

/// `cargo test --package conformance --test vectors -- --ignored` writes the file.
#[test]
#[ignore = "it writes tests/vectors/home.json"]
fn record() {
    let text = serde_json::to_string_pretty(&vectors()).expect("vectors can be written");
    fs::write(path(), text + "\n").expect("tests/vectors/home.json");
}
