//! Seeds that once failed, and some fresh ones; a seed's run repeats exactly.

use sim::bugs::Planted;
use sim::config::Config;
use sim::run::many;
use sim::world::World;

const STOPPED: &str =
    "units under open overage were counted when settled, too late for the stop that followed";

const RESTARTED: &str = "a home that had just come back took what live holders had for spent";

const ON_ITS_WAY: &str = "what was on its way to who asked, or back from it, was taken for spent";

const EARLIER: &str =
    "what isolates had served of a sub-home's lost storage was taken from what its next life had";

const PLACE: &str = "an agent that got nothing took the last place from another";

const NOT_KNOWN_YET: &str = "the auditor gave no time for what came back of the month before";

const SILENT: &str = "the auditor held units against the home that were with holders it could not hear";

/// Each of these broke an invariant while the core was written, with the generator as it was then.
const PAST: [(u64, &str); 48] = [
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
    (7_000_627, ON_ITS_WAY),
    (7_003_394, ON_ITS_WAY),
    (7_003_721, ON_ITS_WAY),
    (7_003_962, ON_ITS_WAY),
    (7_005_681, ON_ITS_WAY),
    (8_000_178, SILENT),
    (8_001_261, SILENT),
    (8_003_377, "the auditor did not know what a sub-home's later life issues to a holder that is gone"),
    (7_001_577, EARLIER),
    (7_003_062, PLACE),
    (7_003_549, PLACE),
    (7_004_215, "a holder that sent the same again and again was taken for dead"),
    (7_002_875, "the auditor judged a refusal before what the same reply had served"),
    (7_003_369, NOT_KNOWN_YET),
    (7_004_471, NOT_KNOWN_YET),
    (7_002_209, "the auditor forgot a sub-home that was cut off when it crashed"),
    (7_002_661, "the auditor did not count what was cut off when a level was told"),
    (7_009_623, "the auditor expected levels of a quota that had been cut to nothing"),
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
