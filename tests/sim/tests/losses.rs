//! A home whose storage is lost again and again while little is left: what its isolates had in hand is issued again, once,
//! and never while somebody may still spend it.

use shared::random::Stream;
use sim::bugs::Planted;
use sim::config::{Config, Faults, OverageChoice, zipf};
use sim::world::World;

const SEEDS: u64 = 500;

/// More is asked for than there is, most of the escrow is out at any time, and messages are lost and doubled: how much of
/// each is drawn by the seed.
fn lost(seed: u64) -> Config {
    let mut r = Stream::new(seed ^ 0x4c4f_5353_4553_0000);
    let isolates = usize::try_from(r.between(2, 10)).unwrap_or(2);
    let included = r.between(60, 500);
    // All of it is asked for within a part of the run.
    let total = included.saturating_mul(1_000).div_euclid(r.between(3, 12));
    Config {
        seed,
        isolates,
        sub_homes: usize::try_from(r.between(0, 2)).unwrap_or(0),
        included,
        next_included: included,
        lots: 0,
        overage: OverageChoice::Stop,
        rpm: 100_000,
        agents: 1,
        agents_max: None,
        agent_limits: Vec::new(),
        rates: zipf(isolates, total),
        cost_max: 1,
        costly_permille: 0,
        before_month_ms: 600_000,
        duration_ms: 20_000,
        bursts: r.between(0, 1) == 1,
        strict: false,
        faults: Faults {
            loss_permille: r.between(0, 300),
            duplicate_permille: r.between(0, 500),
            late_permille: r.between(0, 50),
            late_ms_max: 1_500,
            rollback_ms: r.between(2_000, 8_000),
            skew_ms_max: 2_000,
            ..Faults::default()
        },
        round_trip_ms: (20, 80),
        near_ms: (4, 20),
        escrow_part: r.between(4, 16),
    }
}

/// The first seed after `known` that is not clean with what is planted.
fn first_caught(planted: Planted, known: u64) -> Option<(u64, String)> {
    (known + 1..=known + SEEDS).find_map(|seed| {
        let verdict = World::new(lost(seed), planted, false).run().verdict;
        verdict.err().map(|error| (seed, error))
    })
}

#[test]
fn what_is_let_go_of_lost_lives_is_served_once() {
    assert_eq!(first_caught(Planted::default(), 0), None);
}

#[cfg(feature = "planted")]
#[test]
fn whoever_lets_go_of_what_may_be_spent_is_caught() {
    use shared::planted::Bug;

    // Each begins shortly before the seed that is known to show it.
    for (bug, known) in [(Bug::LetGoTwice, 1_300), (Bug::LetGoKept, 200)] {
        let caught = first_caught(Planted { core: Some(bug), ..Planted::default() }, known);
        eprintln!("{bug:?}: {caught:?}");
        assert!(caught.is_some(), "{bug:?}");
    }
}
