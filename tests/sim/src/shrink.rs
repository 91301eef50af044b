//! Makes a failing run small: fewer faults, isolates and requests, as long as it still fails.

use crate::bugs::Planted;
use crate::config::{Config, Faults};
use crate::world::{Outcome, World};

/// The most runs that shrinking may take.
const TRIES_MAX: u32 = 250;
/// Sibling seeds that a smaller run is tried with.
const SIBLINGS: u64 = 6;

/// The smallest failing run that was found, and how it ended.
#[derive(Debug)]
pub struct Shrunk {
    /// Its configuration.
    pub config: Config,
    /// How it ended, with its trace.
    pub outcome: Outcome,
    /// How many runs it took.
    pub tries: u32,
}

/// Shrinks a failing run.
#[must_use]
pub fn shrink(config: &Config, planted: Planted) -> Shrunk {
    let mut best = config.clone();
    let mut tries = 0;
    loop {
        let smaller = candidates(&best).into_iter().find_map(|candidate| {
            (0..SIBLINGS).find_map(|sibling| {
                if tries >= TRIES_MAX {
                    return None;
                }
                tries += 1;
                let seed = candidate.seed.wrapping_add(sibling.wrapping_mul(0x9e37_79b9));
                let candidate = Config { seed, ..candidate.clone() };
                World::new(candidate.clone(), planted, false).run().verdict.is_err().then_some(candidate)
            })
        });
        match smaller {
            Some(candidate) => best = candidate,
            None => break,
        }
    }
    let outcome = World::new(best.clone(), planted, true).run();
    Shrunk { config: best, outcome, tries }
}

/// Runs that are a step smaller.
fn candidates(config: &Config) -> Vec<Config> {
    let mut all = Vec::new();
    let mut push = |candidate: Config| {
        if candidate != *config {
            all.push(candidate);
        }
    };
    let with = |change: &dyn Fn(&mut Faults)| {
        let mut faults = config.faults.clone();
        change(&mut faults);
        Config { faults, ..config.clone() }
    };
    push(with(&|f| f.loss_permille = 0));
    push(with(&|f| f.duplicate_permille = 0));
    push(with(&|f| f.late_permille = 0));
    push(with(&|f| f.death_ms = 0));
    push(with(&|f| f.home_crash_ms = 0));
    push(with(&|f| f.sub_crash_ms = 0));
    push(with(&|f| f.cut_permille = 0));
    push(with(&|f| f.aggregator_crash_ms = 0));
    push(with(&|f| f.partition_ms = 0));
    push(with(&|f| (f.skew_ms_max, f.drift_ppm_max, f.lag_ms_max) = (0, 0, 0)));
    push(with(&|f| f.policy_ms = 0));
    push(with(&|f| f.rollback_ms = 0));
    push(with(&|f| f.rehome_ms = 0));
    push(with(&|f| f.sub_loss_ms = 0));
    push(with(&|f| f.limits_ms = 0));
    push(with(&|f| f.toggles = false));
    push(with(&|f| f.step_ms = 0));
    push(with(&|f| f.keys_ms = 0));
    push(with(&|f| f.stop_ms = 0));
    push(with(&|f| f.suspend_ms = 0));
    push(Config { sub_homes: 0, ..config.clone() });
    push(Config { sub_homes: config.sub_homes.min(1), ..config.clone() });
    push(Config { bursts: false, ..config.clone() });
    push(Config { cost_max: 1, ..config.clone() });
    push(Config { agents: 1, agent_limits: Vec::new(), agents_max: None, ..config.clone() });
    let half = (config.isolates / 2).max(1);
    push(Config {
        isolates: half,
        rates: config.rates.iter().take(half).copied().collect(),
        ..config.clone()
    });
    push(Config { rates: config.rates.iter().map(|rate| (rate / 2).max(100)).collect(), ..config.clone() });
    if config.duration_ms > 2_000 {
        push(Config { duration_ms: config.duration_ms / 2, ..config.clone() });
        push(Config { duration_ms: config.duration_ms * 3 / 4, ..config.clone() });
    }
    all
}
