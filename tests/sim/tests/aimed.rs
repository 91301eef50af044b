//! What random seeds meet too rarely, or not at all, each by its name: runs that are about nothing else.

use sim::bugs::Planted;
use sim::config::{Config, Faults, OverageChoice, zipf};
use sim::world::World;
use sim::world::meters::Meters;

/// A project far from the turn of a month, without faults, for three quarters of a minute.
fn plain(seed: u64) -> Config {
    Config {
        seed,
        isolates: 8,
        sub_homes: 2,
        included: 1_000_000,
        next_included: 1_000_000,
        lots: 0,
        overage: OverageChoice::Stop,
        rpm: 1_000_000,
        agents: 1,
        agents_max: None,
        agent_limits: Vec::new(),
        rates: zipf(8, 80_000),
        cost_max: 1,
        costly_permille: 0,
        before_month_ms: 600_000 + 20_000,
        duration_ms: 45_000,
        bursts: false,
        strict: false,
        faults: Faults { lag_ms_max: 15, drift_ppm_max: 200, skew_ms_max: 2_000, ..Faults::default() },
        round_trip_ms: (20, 80),
        near_ms: (4, 20),
        escrow_part: 8,
    }
}

/// Runs what `of` makes of each seed; all must be clean. Answers what happened in all of them.
fn clean(seeds: u64, of: impl Fn(u64) -> Config) -> Meters {
    let mut all = Meters::default();
    for seed in 1..=seeds {
        let outcome = World::new(of(seed), Planted::default(), false).run();
        assert_eq!(outcome.verdict, Ok(()), "seed {seed}");
        all.asked += outcome.meters.asked;
        all.local += outcome.meters.local;
        all.waited += outcome.meters.waited;
        all.contended += outcome.meters.contended;
        all.denied_local += outcome.meters.denied_local;
        all.denied_waited += outcome.meters.denied_waited;
        all.deaths += outcome.meters.deaths;
    }
    all
}

fn denied(meters: &Meters) -> u64 {
    meters.denied_local + meters.denied_waited
}

/// More isolates ask the home itself than it takes in a second: it turns contacts away, and no unit is lost or served twice.
#[test]
fn a_direct_home_far_above_its_law_stays_exact() {
    let crowd = |seed| Config {
        isolates: 1_500,
        sub_homes: 0,
        included: 4_000,
        rates: vec![3_000; 1_500],
        duration_ms: 5_000,
        ..plain(seed)
    };
    let meters = clean(1, crowd);
    // What is left when the five seconds end is in the hands of isolates that are turned away.
    assert!(meters.allowed() >= 3_800, "{} served", meters.allowed());
    assert!(denied(&meters) > 0);
}

#[test]
fn requests_that_cost_more_than_one_are_served_whole_and_exactly() {
    for sub_homes in [0, 2] {
        let costly = |seed| Config {
            sub_homes,
            included: 6_000,
            rpm: 20_000,
            rates: zipf(8, 40_000),
            cost_max: 1_000,
            costly_permille: 300,
            ..plain(seed)
        };
        assert!(denied(&clean(3, costly)) > 0);
    }
}

#[test]
fn several_agents_keep_limits_of_their_own_at_sub_homes_while_they_change() {
    let limited = |seed| Config {
        agents: 4,
        agents_max: Some(3),
        agent_limits: vec![40, 90, 200, 15],
        faults: Faults { limits_ms: 3_000, death_ms: 20_000, ..plain(seed).faults },
        ..plain(seed)
    };
    assert!(denied(&clean(3, limited)) > 0);
}

#[test]
fn requests_per_minute_that_a_policy_changes_bind() {
    let changing = |seed| Config {
        rpm: 1_500,
        faults: Faults { policy_ms: 3_000, cuts: true, ..plain(seed).faults },
        ..plain(seed)
    };
    assert!(denied(&clean(4, changing)) > 0);
}

/// Once in twenty seconds the home forgets what it had issued. Were the rest of the minute closed each time, most requests would
/// be refused.
#[test]
fn what_is_left_after_a_loss_is_served() {
    let often_lost = |seed| Config {
        included: 12_000,
        rpm: 20_000,
        rates: zipf(8, 40_000),
        faults: Faults { rollback_ms: 20_000, ..plain(seed).faults },
        ..plain(seed)
    };
    let meters = clean(6, often_lost);
    let refused = denied(&meters);
    assert!(refused * 100 < meters.asked, "{refused} of {} refused", meters.asked);
}

#[test]
fn a_home_whose_storage_is_rolled_back_or_lost_stays_within_its_window() {
    let restored = |seed| Config {
        included: 2_000,
        faults: Faults { rollback_ms: 6_000, loss_permille: 20, ..plain(seed).faults },
        ..plain(seed)
    };
    assert!(clean(4, restored).allowed() > 0);
}

#[test]
fn sub_homes_whose_storage_is_rolled_back_or_lost_issue_nothing_twice() {
    let restored = |seed| Config {
        included: 2_500,
        faults: Faults { sub_loss_ms: 5_000, sub_crash_ms: 9_000, ..plain(seed).faults },
        ..plain(seed)
    };
    assert!(denied(&clean(4, restored)) > 0);
}

#[test]
fn the_number_of_sub_homes_changes_under_load() {
    let moving = |seed| Config {
        sub_homes: 3,
        included: 2_500,
        faults: Faults {
            rehome_ms: 4_000,
            loss_permille: 20,
            late_permille: 20,
            late_ms_max: 3_000,
            ..plain(seed).faults
        },
        ..plain(seed)
    };
    assert!(denied(&clean(4, moving)) > 0);
}

/// Bug 6 of the model: the demand is what the minute permits, so that a permit spent early is one too many.
#[test]
fn permits_of_the_next_minute_are_not_spent_in_this_one() {
    for seed in (4..44).step_by(8) {
        let outcome = World::new(Config::swarm(seed), Planted::default(), false).run();
        assert_eq!(outcome.verdict, Ok(()), "seed {seed}");
    }
}

/// Bug 10 of the model: holders are cut off for longer than what they hold is fresh, while cuts go to what is served.
#[test]
fn cuts_bind_holders_that_no_home_can_reach() {
    for seed in (8..48).step_by(8) {
        let outcome = World::new(Config::swarm(seed), Planted::default(), false).run();
        assert_eq!(outcome.verdict, Ok(()), "seed {seed}");
    }
}

#[test]
fn a_stop_after_open_overage_knows_what_dead_isolates_hold() {
    for seed in (2..42).step_by(8) {
        let outcome = World::new(Config::swarm(seed), Planted::default(), false).run();
        assert_eq!(outcome.verdict, Ok(()), "seed {seed}");
    }
}

#[test]
fn steps_of_the_homes_clock_forward_and_back_overshoot_nothing() {
    for sub_homes in [0, 2] {
        let stepping = |seed| Config {
            sub_homes,
            included: 3_000,
            rpm: 2_000,
            faults: Faults { step_ms: 3_000, home_crash_ms: 10_000, ..plain(seed).faults },
            ..plain(seed)
        };
        let meters = clean(4, stepping);
        assert!(meters.allowed() > 0 && denied(&meters) > 0);
    }
}

#[cfg(feature = "planted")]
mod planted {
    //! The mistakes that random seeds hit least, met by their aims.

    use shared::planted::Bug;

    use super::*;

    fn caught(bug: Bug, aim: u64, tries: u64) -> bool {
        let planted = Planted { core: Some(bug), ..Planted::default() };
        let mut seeds = (0..tries).map(|n| aim + 8 * n);
        seeds.any(|seed| World::new(Config::swarm(seed), planted, false).run().verdict.is_err())
    }

    #[test]
    fn next_minute_permits_that_are_usable_at_once_are_caught_by_the_aim_at_minutes() {
        assert!(caught(Bug::NextMinuteAtOnce, 4, 10));
    }

    /// How often clients of a tight project, whose requests differ much in cost, are told that others hold what is left.
    fn contended(core: Option<Bug>) -> u64 {
        let tight = |seed| Config {
            included: 2_000,
            rates: vec![8_000; 8],
            cost_max: 400,
            costly_permille: 50,
            ..plain(seed)
        };
        let run = |seed| World::new(tight(seed), Planted { core, ..Planted::default() }, false).run();
        (1..=20).map(|seed| run(seed).meters.contended).sum()
    }

    #[test]
    fn units_that_are_not_called_back_leave_clients_contended_half_as_often_again() {
        let (called_back, never) = (contended(None), contended(Some(Bug::NeverCalledBack)));
        assert!(never * 2 > called_back * 3, "{called_back} with units called back, {never} without");
    }

    #[test]
    fn freshness_and_recalls_that_are_ignored_are_caught_by_the_aim_at_cuts() {
        assert!(caught(Bug::FreshnessIgnored, 8, 40));
        assert!(caught(Bug::CutIgnored, 8, 40));
    }
}
