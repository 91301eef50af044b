//! Scenarios: projects of every size without and with faults, measured instead of searched for bugs.

use crate::bugs::Planted;
use crate::config::{Config, Faults, OverageChoice, zipf};
use crate::figures::{COLUMNS, Figures};
use crate::page;
use crate::world::World;

/// When the minute turns in every scenario, in seconds from its start.
pub const TURN_SECONDS: u64 = 30;

/// A project under load.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, for readers.
    pub about: &'static str,
    /// How many isolates ask.
    pub isolates: usize,
    /// Whether they ask the home, without sub-homes.
    pub direct: bool,
    /// Units of the month.
    pub allowance: u64,
    /// Requests per minute.
    pub rpm: u32,
    /// Requests per second.
    pub rate: u64,
    /// How long.
    pub seconds: u64,
}

/// How faulty the world is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Nothing fails.
    Calm,
    /// Isolates live an hour on average; one message of a thousand is lost.
    Usual,
    /// Isolates live two minutes on average; one message of a hundred is lost.
    Rough,
}

impl Level {
    /// Every level, the mildest first.
    pub const ALL: [Self; 3] = [Self::Calm, Self::Usual, Self::Rough];

    /// What it is called in the figures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "no faults",
            Self::Usual => "isolates live 1 h, 0.1 % loss",
            Self::Rough => "isolates live 120 s, 1 % loss",
        }
    }

    fn faults(self) -> Faults {
        let clocks = Faults { lag_ms_max: 15, drift_ppm_max: 200, skew_ms_max: 800, ..Faults::default() };
        match self {
            Self::Calm => clocks,
            Self::Usual => Faults { death_ms: 3_600_000, loss_permille: 1, ..clocks },
            Self::Rough => Faults { death_ms: 120_000, loss_permille: 10, ..clocks },
        }
    }
}

const PLENTY: u64 = 200_000_000;
const NO_RPM: u32 = 100_000_000;

/// Every scenario. All but the direct ones have the sub-homes that the policy gives them.
pub const ALL: [Scenario; 15] = [
    project("community", "Community, 1,000 units, 50 isolates", 50, (1_000, NO_RPM), (33, 60)),
    project("community-few", "Community, 1,000 units, 5 isolates", 5, (1_000, NO_RPM), (33, 60)),
    project("pro", "Pro, 10,000 units, 200 isolates", 200, (10_000, NO_RPM), (333, 60)),
    project("business", "Business, 100,000 units, 500 isolates", 500, (100_000, NO_RPM), (5_000, 40)),
    project(
        "business-warm",
        "Business far from its limit, 500 isolates",
        500,
        (PLENTY, NO_RPM),
        (5_000, 120),
    ),
    project(
        "million",
        "A million units, in a busy hour: a hundred times the month's mean, 20 isolates",
        20,
        (1_000_000, NO_RPM),
        (40, 120),
    ),
    project(
        "million-fast",
        "A million units that would be gone in 200 seconds, 500 isolates",
        500,
        (1_000_000, NO_RPM),
        (5_000, 120),
    ),
    project(
        "rpm",
        "6,000 requests per minute, asked for five times that, 200 isolates",
        200,
        (PLENTY, 6_000),
        (500, 90),
    ),
    project("hot", "20,000 requests per second, 2,000 isolates", 2_000, (PLENTY, NO_RPM), (20_000, 120)),
    project(
        "hot-rpm",
        "The same with 1.5 million requests per minute",
        2_000,
        (PLENTY, 1_500_000),
        (20_000, 120),
    ),
    project(
        "hot-tail",
        "The same with 400,000 units, half of the demand",
        2_000,
        (400_000, NO_RPM),
        (20_000, 40),
    ),
    project(
        "flood",
        "60 requests per minute, 20,000 a second come from 2,000 isolates",
        2_000,
        (PLENTY, 60),
        (20_000, 40),
    ),
    direct(
        "community-direct",
        "Community without sub-homes, 5 isolates in one place",
        5,
        (1_000, NO_RPM),
        (33, 60),
    ),
    direct("pro-direct", "Pro without sub-homes, 40 isolates in one place", 40, (10_000, NO_RPM), (333, 60)),
    direct(
        "business-direct",
        "Business without sub-homes, 30 isolates in one place",
        30,
        (100_000, NO_RPM),
        (5_000, 40),
    ),
];

const fn project(
    name: &'static str,
    about: &'static str,
    isolates: usize,
    (allowance, rpm): (u64, u32),
    (rate, seconds): (u64, u64),
) -> Scenario {
    Scenario { name, about, isolates, direct: false, allowance, rpm, rate, seconds }
}

const fn direct(
    name: &'static str,
    about: &'static str,
    isolates: usize,
    (allowance, rpm): (u64, u32),
    (rate, seconds): (u64, u64),
) -> Scenario {
    Scenario { name, about, isolates, direct: true, allowance, rpm, rate, seconds }
}

impl Scenario {
    /// As many sub-homes as the policy gives to so many requests per minute.
    #[must_use]
    pub fn sub_homes(&self) -> usize {
        // Where nothing limits them, those that are asked for.
        let rpm = if self.rpm == NO_RPM { self.rate * 60 } else { u64::from(self.rpm) };
        let count = shared::policy::sub_homes(u32::try_from(rpm).unwrap_or(u32::MAX));
        if self.direct { 0 } else { usize::try_from(count).unwrap_or(0) }
    }

    fn config(&self, level: Level, seed: u64) -> Config {
        Config {
            seed,
            isolates: self.isolates,
            sub_homes: self.sub_homes(),
            included: self.allowance,
            next_included: self.allowance,
            lots: 0,
            overage: OverageChoice::Stop,
            rpm: self.rpm,
            agents: 2,
            agents_max: None,
            agent_limits: Vec::new(),
            rates: zipf(self.isolates, self.rate * 1_000),
            cost_max: 1,
            costly_permille: 0,
            before_month_ms: 600_000 + TURN_SECONDS * 1_000,
            duration_ms: self.seconds * 1_000,
            bursts: false,
            strict: false,
            faults: level.faults(),
            round_trip_ms: (20, 80),
            near_ms: (4, 20),
            escrow_part: 8,
        }
    }
}

/// Runs one scenario.
#[must_use]
pub fn measure(scenario: &Scenario, level: Level, seed: u64) -> Figures {
    let outcome = World::new(scenario.config(level, seed), Planted::default(), false).run();
    Figures {
        scenario: scenario.clone(),
        level,
        violation: outcome.verdict.err(),
        denied_wrongly: outcome.refusals.wrong.values().sum(),
        meters: outcome.meters,
        served: outcome.served,
    }
}

/// Runs the scenarios of that name, or all, and writes the page if it is named.
///
/// # Errors
/// When there is no such scenario, or the page cannot be written.
#[expect(clippy::print_stdout, reason = "the command's output is for the terminal")]
pub fn run(name: &str, seed: u64, page_path: Option<&str>) -> Result<bool, String> {
    let chosen: Vec<&Scenario> = ALL.iter().filter(|s| name == "all" || s.name == name).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
        return Err(format!("--scenario: got {name:?}, accepted are all, {}", names.join(", ")));
    }
    println!("{}", COLUMNS.join(" ; "));
    let mut all = Vec::new();
    for scenario in chosen {
        for level in Level::ALL {
            let figures = measure(scenario, level, seed);
            println!("{}", figures.row().join(" ; "));
            all.push(figures);
        }
    }
    if let Some(path) = page_path {
        std::fs::write(path, page::page(&all)).map_err(|error| format!("{path}: {error}"))?;
        println!("page: {path}");
    }
    Ok(all.iter().all(Figures::is_good))
}
