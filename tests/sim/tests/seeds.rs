//! Seeds that once failed, and some fresh ones; a seed's run repeats exactly.

use sim::bugs::Planted;
use sim::config::Config;
use sim::run::many;
use sim::world::World;

const STOPPED: &str =
    "units under open overage were counted when settled, too late for the stop that followed";

const RESTARTED: &str = "a home that had just come back took what live holders had for spent";

/// Each of these broke an invariant while the core was written, with the generator as it was then.
const PAST: [(u64, &str); 30] = [
    (6, "a sub-home parked contacts for ever that lacked units while the home refused permits"),
    (9, "a new life issued permits of a minute whose earlier permits it had forgotten"),
    (63, "the reserve counted units for the day after"),
    (141, "limited agents that had used nothing counted as admitted"),
    (283, "the reserve served a limited agent"),
    (991, "a sub-home that had just come back took its own clock for the home's"),
    (4_345, "a sub-home asked for less than its parked contacts lacked"),
    (1_795_443_434, STOPPED),
    (1_001_422, STOPPED),
    (1_002_166, STOPPED),
    (1_003_572, STOPPED),
    (1_010_626, STOPPED),
    (1_029_698, STOPPED),
    (1_037_058, STOPPED),
    (1_052_833, STOPPED),
    (1_073_707, STOPPED),
    (1_094_500, STOPPED),
    (1_123_629, STOPPED),
    (1_147_765, STOPPED),
    (1_161_366, STOPPED),
    (1_187_977, STOPPED),
    (900_535, "a cut that was under way at the month's turn was held against the home"),
    (5_423, "a reply from before a cut, delivered after a recall, was spent"),
    (99, RESTARTED),
    (237, RESTARTED),
    (419, RESTARTED),
    (505, RESTARTED),
    (563, RESTARTED),
    (504, "the auditor did not know a quota that was raised again before the home heard of it"),
    (
        355,
        "a sub-home with a new life repeated the home's word while its isolates had units that might come back",
    ),
];

#[test]
fn seeds_that_once_failed_stay_clean() {
    for (seed, what) in PAST {
        let outcome = World::new(Config::swarm(seed), Planted::default(), false).run();
        assert_eq!(outcome.verdict, Ok(()), "seed {seed}: {what}");
    }
}

#[test]
fn fresh_seeds_are_clean_and_do_something() {
    let summary = many(1_000_000, 60, 0, Planted::default(), usize::MAX);
    assert_eq!(summary.failures, []);
    assert!(summary.served > 5_000, "only {} units were served", summary.served);
}

#[test]
fn a_seed_repeats_itself_line_by_line() {
    let run = || World::new(Config::swarm(42), Planted::default(), true).run().trace;
    let (first, second) = (run(), run());
    assert!(first.len() > 100);
    assert_eq!(first, second);
}

/// Ten of the swarm, among them cuts, credits, crashes of the aggregator and the turn of the month.
#[test]
fn the_store_comes_to_the_same_as_the_ledger() {
    for seed in 1..=10 {
        let outcome = World::new(Config::swarm(seed), Planted::default(), false).with_store().run();
        assert_eq!(outcome.verdict, Ok(()), "seed {seed}");
    }
}
