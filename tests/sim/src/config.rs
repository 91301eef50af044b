//! What a seed decides: who takes part, what they ask for, and which faults there are.
//!
//! Each seed draws a swarm: every class of faults is on or off, so that combinations are met which
//! one fixed mix would hide.

use shared::random::Stream;

/// Everything that a run depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Feeds all that is random in the run.
    pub seed: u64,
    /// Isolates.
    pub isolates: usize,
    /// Sub-homes; zero is a direct home.
    pub sub_homes: usize,
    /// Units of the plan a month.
    pub included: u64,
    /// Units of the following month.
    pub next_included: u64,
    /// Units of lots.
    pub lots: u64,
    /// What happens beyond them.
    pub overage: OverageChoice,
    /// Requests per minute.
    pub rpm: u32,
    /// Agents that ask.
    pub agents: usize,
    /// How many of them the plan permits.
    pub agents_max: Option<u32>,
    /// Limits of the first agents.
    pub agent_limits: Vec<u64>,
    /// Requests per thousand seconds, of each isolate.
    pub rates: Vec<u64>,
    /// The highest cost, and how many of a thousand requests cost more than one.
    pub cost_max: u32,
    /// See [`Config::cost_max`].
    pub costly_permille: u64,
    /// How long before the end of the month the run begins, in milliseconds.
    pub before_month_ms: u64,
    /// How long requests come, in milliseconds.
    pub duration_ms: u64,
    /// Isolates ask in bursts with silence between.
    pub bursts: bool,
    /// The project is strict.
    pub strict: bool,
    /// The faults.
    pub faults: Faults,
    /// Round trips from isolates, and from sub-homes, in milliseconds.
    pub round_trip_ms: (u64, u64),
    /// The same from isolates to their sub-home.
    pub near_ms: (u64, u64),
    /// Which part of the allowance a home may issue before it is acknowledged, where its storage can be rolled back.
    pub escrow_part: u64,
}

/// What happens beyond included units and lots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverageChoice {
    /// A hard stop.
    Stop,
    /// Up to so many units.
    Capped(u64),
    /// Without a limit.
    Open,
}

/// How often each fault comes. Zero is never.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Messages lost, of a thousand.
    pub loss_permille: u64,
    /// Messages doubled, of a thousand.
    pub duplicate_permille: u64,
    /// Messages delayed for long, of a thousand.
    pub late_permille: u64,
    /// How long, in milliseconds.
    pub late_ms_max: u64,
    /// The mean time between deaths of one isolate, in milliseconds.
    pub death_ms: u64,
    /// The mean time between crashes of the home, in milliseconds.
    pub home_crash_ms: u64,
    /// The mean time between crashes of one sub-home, in milliseconds.
    pub sub_crash_ms: u64,
    /// Crashes between two effects, of a thousand steps of home and sub-homes.
    pub cut_permille: u64,
    /// The mean time between crashes of the aggregator, in milliseconds.
    pub aggregator_crash_ms: u64,
    /// The mean time between one-way partitions, in milliseconds.
    pub partition_ms: u64,
    /// The furthest clock from the home's, in milliseconds.
    pub skew_ms_max: u64,
    /// The fastest and slowest clock, in millionths.
    pub drift_ppm_max: u64,
    /// How far a clock may be behind between two events, in milliseconds.
    pub lag_ms_max: u64,
    /// The mean time between changes of the policy, in milliseconds.
    pub policy_ms: u64,
    /// Whether changes may lower the allowance.
    pub cuts: bool,
    /// Whether they go to the little that is served already.
    pub deep_cuts: bool,
    /// The mean time between rollbacks of the home's storage, in milliseconds.
    pub rollback_ms: u64,
    /// The mean time between changes of the number of sub-homes, in milliseconds.
    pub rehome_ms: u64,
    /// The mean time between losses or rollbacks of one sub-home's storage, in milliseconds.
    pub sub_loss_ms: u64,
    /// The mean time between changes of the agents' limits, in milliseconds.
    pub limits_ms: u64,
    /// Whether policy changes turn open overage off and on.
    pub toggles: bool,
    /// The mean time between steps of the home's clock, in milliseconds. Months and policies must not turn then: the
    /// auditor knows both by that clock.
    pub step_ms: u64,
    /// The mean time between keys that are made, in milliseconds.
    pub keys_ms: u64,
    /// The mean time between suspending and resuming the project, in milliseconds.
    pub suspend_ms: u64,
    /// The mean time between stops of one isolate's process and of the home's, in milliseconds.
    pub stop_ms: u64,
    /// Whether the home's own decisions travel back to who asked, and may come too late.
    pub late_answers: bool,
}

/// Whether a class is part of a swarm.
fn on(r: &mut Stream) -> bool {
    r.between(0, 99) < 55
}

impl Faults {
    /// The faults of a swarm.
    fn swarm(r: &mut Stream) -> Self {
        let mut faults = Faults::default();
        if on(r) {
            faults.loss_permille = r.between(1, 100);
        }
        if on(r) {
            faults.duplicate_permille = r.between(1, 150);
        }
        if on(r) {
            faults.late_permille = r.between(1, 100);
            faults.late_ms_max = r.between(100, 6_000);
        }
        if on(r) {
            faults.death_ms = r.between(5_000, 60_000);
        }
        if on(r) {
            faults.home_crash_ms = r.between(3_000, 30_000);
        }
        if on(r) {
            faults.sub_crash_ms = r.between(3_000, 30_000);
        }
        if on(r) {
            faults.cut_permille = r.between(1, 30);
        }
        if on(r) {
            faults.aggregator_crash_ms = r.between(2_000, 20_000);
        }
        if on(r) {
            faults.partition_ms = r.between(2_000, 20_000);
        }
        if on(r) {
            faults.skew_ms_max = r.between(1, 100_000);
        }
        if on(r) {
            faults.drift_ppm_max = 200;
        }
        if on(r) {
            faults.lag_ms_max = 15;
        }
        if on(r) {
            faults.policy_ms = r.between(4_000, 20_000);
            faults.cuts = r.between(0, 1) == 1;
        }
        if r.between(0, 99) < 20 {
            faults.rollback_ms = r.between(8_000, 30_000);
        }
        if r.between(0, 99) < 15 {
            faults.rehome_ms = r.between(8_000, 30_000);
        }
        faults
    }

    /// Losses of sub-homes' storage, and changes of agents' limits.
    fn storage_and_limits(&mut self, r: &mut Stream) {
        if r.between(0, 99) < 20 {
            self.sub_loss_ms = r.between(8_000, 40_000);
        }
        if on(r) {
            self.limits_ms = r.between(4_000, 20_000);
        }
    }
}

impl Config {
    /// The swarm of that seed.
    #[must_use]
    pub fn swarm(seed: u64) -> Self {
        let mut r = Stream::new(seed ^ 0x5157_4152_4d00_0000);
        let isolates = usize::try_from(r.between(1, 10)).unwrap_or(1);
        let sub_homes = if r.between(0, 2) == 0 { 0 } else { usize::try_from(r.between(1, 3)).unwrap_or(1) };
        let scale = [30, 100, 400, 1_500, 4_000][usize::try_from(r.between(0, 4)).unwrap_or(0)];
        let included = r.between(scale / 2, scale * 2);
        let overage = match r.between(0, 9) {
            0..=6 => OverageChoice::Stop,
            7 | 8 => OverageChoice::Capped(r.between(0, scale)),
            _ => OverageChoice::Open,
        };
        let rpm = [20, 100, 500, 3_000, 100_000][usize::try_from(r.between(0, 4)).unwrap_or(0)];
        let agents = usize::try_from(r.between(1, 4)).unwrap_or(1);
        let total = r.between(3_000, 90_000);
        let rates = zipf(isolates, total);
        let mut faults = Faults::swarm(&mut r);
        // What came later draws from a stream of its own, so that older seeds stay as they were.
        let mut later = Stream::new(seed ^ 0x4c41_5445_5200_0000);
        faults.storage_and_limits(&mut later);
        match seed % AIMS {
            0 => return Self::cuts(seed, &mut r),
            2 => return Self::toggles(seed, &mut r),
            4 => return Self::turns(seed, &mut r),
            6 => return Self::refusals(seed, &mut r),
            7 if seed % (4 * AIMS) == 7 => return Self::late_answers(seed),
            _ => {}
        }
        let agents = agents + usize::try_from(later.between(0, 2)).unwrap_or(0);
        let duration_ms = r.between(15_000, 60_000);
        let month = r.between(0, 99) < 60;
        Self {
            seed,
            isolates,
            sub_homes,
            included,
            next_included: r.between(scale / 2, scale * 2),
            lots: if on(&mut r) { r.between(0, scale) } else { 0 },
            overage,
            rpm,
            agents,
            agents_max: (r.between(0, 3) == 0).then(|| u32::try_from(r.between(1, 3)).unwrap_or(1)),
            agent_limits: (0..r.between(0, 2) + later.between(0, 2)).map(|_| r.between(5, scale)).collect(),
            rates,
            cost_max: match (r.between(0, 3), later.between(0, 3)) {
                (0, 0) => 1_000,
                (0, _) => 20,
                _ => 1,
            },
            costly_permille: r.between(10, 400),
            before_month_ms: if month {
                r.between(2_000, duration_ms)
            } else {
                // The turn of a minute that is not the turn of a month.
                600_000 + r.between(0, 59_999)
            },
            duration_ms,
            bursts: on(&mut r),
            strict: r.between(0, 29) == 0,
            faults,
            round_trip_ms: (20, 80),
            near_ms: (4, 20),
            escrow_part: 8,
        }
    }
}

/// Of so many seeds four are aimed: at cuts, at stops that follow open overage, at the turn of minutes, and at what is
/// refused. Of four times as many one more is: at answers that come too late.
/// Drawn at random, each of them comes too rarely together with what makes it dangerous.
const AIMS: u64 = 8;

impl Config {
    /// Frequent stops after open overage, with hardly anything left, and isolates that die before they report.
    fn toggles(seed: u64, r: &mut Stream) -> Self {
        let cuts = Self::cuts(seed, r);
        Self {
            overage: OverageChoice::Open,
            sub_homes: usize::try_from(r.between(0, 2)).unwrap_or(0),
            rates: cuts.rates.iter().map(|rate| rate * r.between(1, 4)).collect(),
            agents: 1,
            agent_limits: Vec::new(),
            faults: Faults {
                policy_ms: 6_000,
                toggles: true,
                death_ms: if on(r) { 15_000 } else { 0 },
                sub_loss_ms: 0,
                limits_ms: 0,
                ..cuts.faults
            },
            ..cuts
        }
    }

    /// A demand close to what the minute permits, so that a permit spent early is one too many.
    fn turns(seed: u64, r: &mut Stream) -> Self {
        let cuts = Self::cuts(seed, r);
        let rpm = r.between(200, 1_500);
        let total = rpm * r.between(930, 1_150) / 60;
        Self {
            included: 1_000_000,
            rpm: u32::try_from(rpm).unwrap_or(u32::MAX),
            rates: zipf(cuts.isolates, total),
            before_month_ms: 600_000 + r.between(55_000, 60_000),
            duration_ms: 70_000,
            agents: 1,
            agent_limits: Vec::new(),
            faults: Faults { lag_ms_max: 15, drift_ppm_max: 200, ..Faults::default() },
            ..cuts
        }
    }

    /// Costly requests near the end of a quota, keys that are made, and a project that is suspended and resumed, with few
    /// faults in the way of what is called back.
    fn refusals(seed: u64, r: &mut Stream) -> Self {
        let isolates = usize::try_from(r.between(1, 5)).unwrap_or(1);
        let scale = [30, 100, 400, 1_500, 4_000][usize::try_from(r.between(0, 4)).unwrap_or(0)];
        let cost_max = [1, 20, 1_000][usize::try_from(r.between(0, 2)).unwrap_or(0)];
        let rare = |r: &mut Stream| r.between(0, 3) == 0;
        Self {
            seed,
            isolates,
            sub_homes: usize::try_from(r.between(0, 2)).unwrap_or(0),
            included: r.between(scale / 2, scale * 2),
            next_included: scale,
            lots: 0,
            overage: OverageChoice::Stop,
            rpm: [60, 600, 100_000][usize::try_from(r.between(0, 2)).unwrap_or(0)],
            agents: 4,
            agents_max: rare(r).then_some(3),
            agent_limits: (0..r.between(0, 2)).map(|_| r.between(5, scale)).collect(),
            rates: zipf(isolates, r.between(1_000, 20_000)),
            cost_max,
            costly_permille: r.between(10, 300),
            before_month_ms: 600_000 + r.between(0, 59_999),
            duration_ms: 45_000,
            bursts: on(r),
            strict: r.between(0, 9) == 0,
            faults: Faults {
                loss_permille: if rare(r) { r.between(1, 30) } else { 0 },
                death_ms: if rare(r) { r.between(10_000, 40_000) } else { 0 },
                home_crash_ms: if rare(r) { r.between(8_000, 30_000) } else { 0 },
                sub_crash_ms: if rare(r) { r.between(8_000, 30_000) } else { 0 },
                policy_ms: if on(r) { r.between(4_000, 20_000) } else { 0 },
                limits_ms: if rare(r) { 6_000 } else { 0 },
                keys_ms: if on(r) { r.between(2_000, 8_000) } else { 0 },
                suspend_ms: if on(r) { r.between(2_000, 6_000) } else { 0 },
                lag_ms_max: 15,
                drift_ppm_max: 200,
                skew_ms_max: 2_000,
                ..Faults::default()
            },
            round_trip_ms: (20, 80),
            near_ms: (4, 20),
            escrow_part: 8,
        }
    }

    /// Every decision is the home's, while its process and those of the isolates stand still now and then: for longer
    /// than anybody waits for an answer.
    #[must_use]
    pub fn late_answers(seed: u64) -> Self {
        let mut r = Stream::new(seed ^ 0x4c41_5445_0000_0000);
        let plain = Self::refusals(seed, &mut r);
        Self {
            strict: true,
            included: 100_000,
            rpm: 100_000,
            agents_max: None,
            agent_limits: Vec::new(),
            faults: Faults {
                stop_ms: r.between(3_000, 8_000),
                late_answers: true,
                death_ms: 0,
                suspend_ms: 0,
                ..plain.faults
            },
            ..plain
        }
    }

    /// Slow holders, frequent cuts, and partitions that outlast freshness.
    fn cuts(seed: u64, r: &mut Stream) -> Self {
        let isolates = usize::try_from(r.between(3, 8)).unwrap_or(3);
        let mut rates: Vec<u64> = (0..isolates).map(|_| r.between(500, 1_500)).collect();
        rates.extend([r.between(5_000, 20_000)]);
        let included = r.between(1_500, 4_000);
        Self {
            seed,
            isolates: isolates + 1,
            sub_homes: usize::try_from(r.between(0, 1)).unwrap_or(0),
            included,
            next_included: included,
            lots: 0,
            overage: OverageChoice::Stop,
            rpm: 100_000,
            agents: 3,
            agents_max: None,
            agent_limits: vec![r.between(50, 400), r.between(50, 400)],
            rates,
            cost_max: 1,
            costly_permille: 0,
            before_month_ms: 600_000 + r.between(0, 59_999),
            duration_ms: 60_000,
            bursts: false,
            strict: false,
            faults: Faults {
                partition_ms: 1_500,
                policy_ms: 8_000,
                cuts: true,
                deep_cuts: true,
                limits_ms: 6_000,
                sub_loss_ms: 20_000,
                lag_ms_max: 15,
                ..Faults::default()
            },
            round_trip_ms: (20, 80),
            near_ms: (4, 20),
            escrow_part: 8,
        }
    }
}

/// A total rate divided among `count`: the k-th gets a part by k^-0.8, in thousandths.
#[must_use]
pub fn zipf(count: usize, total: u64) -> Vec<u64> {
    // k^-0.8 by integers: (10^10 / k^4)^(1/5), by bisection.
    let weight = |k: u64| {
        let goal = 1_000_000_000_000_000_u128 / u128::from(k).pow(4).max(1);
        let (mut low, mut high) = (0_u128, 1_100_u128);
        while low + 1 < high {
            let mid = u128::midpoint(low, high);
            if mid.pow(5) <= goal {
                low = mid;
            } else {
                high = mid;
            }
        }
        u64::try_from(low).unwrap_or(1).max(1)
    };
    let weights: Vec<u64> = (1_u64..).take(count).map(weight).collect();
    let sum: u64 = weights.iter().sum();
    weights.iter().map(|w| total * w / sum.max(1)).collect()
}
