//! Scenarios: projects of every size without and with faults, measured instead of searched for bugs.

use std::collections::BTreeMap;

use crate::bugs::Planted;
use crate::config::{Config, Faults, OverageChoice, zipf};
use crate::page;
use crate::world::World;
use crate::world::meters::Meters;

/// When the minute turns in every scenario, in seconds from its start.
const TURN_SECONDS: u64 = 30;

/// When everybody has come and the minute does not turn yet.
const WARM: std::ops::Range<u64> = 10..TURN_SECONDS - 12;

/// A project under load.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, for readers.
    pub about: &'static str,
    isolates: usize,
    sub_homes: usize,
    allowance: u64,
    rpm: u32,
    /// Requests per second.
    rate: u64,
    seconds: u64,
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
    const ALL: [Self; 3] = [Self::Calm, Self::Usual, Self::Rough];

    fn name(self) -> &'static str {
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

/// Every scenario.
pub const ALL: [Scenario; 12] = [
    project("community", "Community, 1,000 units, 50 isolates", (50, 0), (1_000, NO_RPM), (33, 60)),
    project("community-few", "Community, 1,000 units, 5 isolates", (5, 0), (1_000, NO_RPM), (33, 60)),
    project("pro", "Pro, 10,000 units, 200 isolates", (200, 0), (10_000, NO_RPM), (333, 60)),
    project("pro-subs", "Pro, 10,000 units, 200 isolates", (200, 8), (10_000, NO_RPM), (333, 60)),
    project(
        "business-direct",
        "Business, 100,000 units, 500 isolates",
        (500, 0),
        (100_000, NO_RPM),
        (5_000, 40),
    ),
    project("business", "Business, 100,000 units, 500 isolates", (500, 8), (100_000, NO_RPM), (5_000, 40)),
    project(
        "business-warm",
        "Business far from its limit, 500 isolates",
        (500, 8),
        (PLENTY, NO_RPM),
        (5_000, 60),
    ),
    project(
        "rpm",
        "6,000 requests per minute, asked for five times that",
        (200, 0),
        (PLENTY, 6_000),
        (500, 90),
    ),
    project("hot", "20,000 requests per second, 2,000 isolates", (2_000, 32), (PLENTY, NO_RPM), (20_000, 60)),
    project("hot-8", "The same on 8 sub-homes", (2_000, 8), (PLENTY, NO_RPM), (20_000, 60)),
    project(
        "hot-rpm",
        "The same with 1.5 million requests per minute",
        (2_000, 32),
        (PLENTY, 1_500_000),
        (20_000, 60),
    ),
    project(
        "hot-tail",
        "The same with 400,000 units, half of the demand",
        (2_000, 32),
        (400_000, NO_RPM),
        (20_000, 40),
    ),
];

const fn project(
    name: &'static str,
    about: &'static str,
    (isolates, sub_homes): (usize, usize),
    (allowance, rpm): (u64, u32),
    (rate, seconds): (u64, u64),
) -> Scenario {
    Scenario { name, about, isolates, sub_homes, allowance, rpm, rate, seconds }
}

impl Scenario {
    fn config(&self, level: Level, seed: u64) -> Config {
        Config {
            seed,
            isolates: self.isolates,
            sub_homes: self.sub_homes,
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
        }
    }
}

/// What a run of a scenario came to.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Which scenario.
    pub scenario: Scenario,
    /// Under which faults.
    pub level: &'static str,
    /// What was violated, if anything.
    pub violation: Option<String>,
    /// The counts.
    pub meters: Meters,
    /// Units served.
    pub served: u64,
}

impl Figures {
    fn peak_home(&self, seconds: std::ops::Range<u64>) -> u64 {
        self.meters.home.range(seconds).map(|(_, n)| *n).max().unwrap_or(0)
    }

    fn peak_sub(&self, seconds: &std::ops::Range<u64>) -> u64 {
        let of = |(_, second): &(usize, u64)| seconds.contains(second);
        self.meters.subs.iter().filter(|(key, _)| of(key)).map(|(_, n)| *n).max().unwrap_or(0)
    }

    /// Peaks at home and busiest sub-home: cold, warm, at the minute's turn, in the last third.
    fn peaks(&self) -> String {
        let tail = self.scenario.seconds * 2 / 3..self.scenario.seconds;
        let spans = [0..3, WARM, TURN_SECONDS - 12..TURN_SECONDS + 4, tail];
        let parts: Vec<String> = spans
            .into_iter()
            .map(|span| {
                let sub = self.peak_sub(&span);
                let home = self.peak_home(span);
                if self.scenario.sub_homes == 0 { format!("{home}") } else { format!("{home}/{sub}") }
            })
            .collect();
        parts.join(" | ")
    }

    /// Contacts for each request in those seconds: all, and by whom they were made.
    fn per_decision(&self, seconds: &std::ops::Range<u64>) -> String {
        let sum = |counts: &BTreeMap<u64, u64>| counts.range(seconds.clone()).map(|(_, n)| n).sum::<u64>();
        let m = &self.meters;
        let (isolates, subs, asked) = (sum(&m.sent_by_isolates), sum(&m.sent_by_subs), sum(&m.asked_in));
        let parts = [isolates + subs, isolates, subs].map(|n| thousandths(n, asked));
        format!("{}: {} + {}", parts[0], parts[1], parts[2])
    }

    /// The part of what could be served that was, in hundredths of a per cent.
    fn utilisation(&self) -> u64 {
        let minutes = 2 * u64::from(self.scenario.rpm);
        let could = self.meters.asked.min(self.scenario.allowance).min(minutes);
        self.served * 10_000 / could.max(1)
    }

    /// The row of the table.
    #[must_use]
    pub fn row(&self) -> Vec<String> {
        let m = &self.meters;
        vec![
            self.scenario.name.to_owned(),
            self.level.to_owned(),
            self.peaks(),
            self.per_decision(&(0..u64::MAX)),
            self.per_decision(&WARM),
            percent(m.local * 10_000 / m.allowed().max(1)),
            percent(m.denied_local * 10_000 / (m.denied_local + m.denied_waited).max(1)),
            format!("{} / {}", quantile(&m.waits, 50), quantile(&m.waits, 99)),
            format!("{} / {}", quantile(&m.first_waits, 50), quantile(&m.first_waits, 99)),
            percent(self.utilisation()),
            percent(m.contended * 10_000 / m.asked.max(1)),
            format!("{} / {}", m.unsettled_max, percent(m.lost * 10_000 / self.served.max(1))),
            self.violation.clone().unwrap_or_else(|| "none".to_owned()),
        ]
    }
}

/// The columns of the table.
pub const COLUMNS: [&str; 13] = [
    "scenario",
    "faults",
    "contacts/s home/busiest sub-home: cold | warm | minute turn | last third",
    "contacts per decision: all, of isolates + of sub-homes",
    "the same while warm",
    "allowed locally",
    "denied locally",
    "wait of those that waited p50 / p99 ms",
    "first request p50 / p99 ms",
    "served of what could be",
    "contended",
    "most unsettled in one isolate / unbilled",
    "violations",
];

fn thousandths(part: u64, whole: u64) -> String {
    let n = part * 10_000 / whole.max(1);
    format!("{}.{:04}", n / 10_000, n % 10_000)
}

fn percent(hundredths: u64) -> String {
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

fn quantile(values: &[u64], percent: usize) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(0)
}

/// Runs one scenario.
#[must_use]
pub fn measure(scenario: &Scenario, level: Level, seed: u64) -> Figures {
    let outcome = World::new(scenario.config(level, seed), Planted::default(), false).run();
    Figures {
        scenario: scenario.clone(),
        level: level.name(),
        violation: outcome.verdict.err(),
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
    Ok(all.iter().all(|figures| figures.violation.is_none()))
}
