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

/// The most contacts that a home takes in a second, and a sub-home.
const HOME_MAX: u64 = 450;
const SUB_HOME_MAX: u64 = 1_000;
/// How long the first request of an isolate may wait, of all but one in a hundred, in milliseconds.
const FIRST_MS_MAX: u64 = 250;
/// The least that is served of what could be, in hundredths of a per cent.
const SERVED_MIN: u64 = 9_950;

/// A project under load.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, for readers.
    pub about: &'static str,
    isolates: usize,
    direct: bool,
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

/// Every scenario. All but the direct ones have the sub-homes that the policy gives them.
pub const ALL: [Scenario; 14] = [
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
    project("enterprise", "A million units, 500 isolates", 500, (1_000_000, NO_RPM), (5_000, 120)),
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
    fn sub_homes(&self) -> usize {
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
                if self.scenario.direct { format!("{home}") } else { format!("{home}/{sub}") }
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
        // The run begins in the middle of a minute.
        let minutes = (self.scenario.seconds + TURN_SECONDS).div_ceil(60) * u64::from(self.scenario.rpm);
        let could = self.meters.asked.min(self.scenario.allowance).min(minutes);
        self.served * 10_000 / could.max(1)
    }

    /// The figures that a run is to keep within and did not. Faults excuse waits and what is served.
    fn misses(&self) -> Vec<&'static str> {
        let m = &self.meters;
        let all = 0..self.scenario.seconds;
        let calm = self.level == Level::Calm.name();
        let contacts: u64 = [&m.sent_by_isolates, &m.sent_by_subs]
            .into_iter()
            .map(|counts| counts.range(all.clone()).map(|(_, n)| n).sum::<u64>())
            .sum();
        let contacts_max = match self.scenario.name {
            "hot" | "hot-rpm" => Some(200),
            "business-warm" => Some(300),
            _ => None,
        };
        let missed = [
            (self.peak_home(all.clone()) > HOME_MAX, "contacts at the home"),
            (self.peak_sub(&all) > SUB_HOME_MAX, "contacts at a sub-home"),
            (calm && quantile(&m.first_waits, 99) > FIRST_MS_MAX, "first requests"),
            (calm && self.utilisation() < SERVED_MIN, "served"),
            (contacts_max.is_some_and(|max| contacts * 10_000 > m.asked * max), "contacts per decision"),
        ];
        missed.into_iter().filter(|(missed, _)| *missed).map(|(_, what)| what).collect()
    }

    /// Whether the run kept within its figures and broke nothing.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violation.is_none() && self.misses().is_empty()
    }

    /// The row of the table.
    #[must_use]
    pub fn row(&self) -> Vec<String> {
        let m = &self.meters;
        vec![
            self.scenario.name.to_owned(),
            self.level.to_owned(),
            self.peaks(),
            self.per_decision(&(0..self.scenario.seconds)),
            self.per_decision(&WARM),
            percent(m.local * 10_000 / m.allowed().max(1)),
            percent(m.denied_local * 10_000 / (m.denied_local + m.denied_waited).max(1)),
            format!("{} / {}", quantile(&m.waits, 50), quantile(&m.waits, 99)),
            format!("{} / {}", quantile(&m.first_waits, 50), quantile(&m.first_waits, 99)),
            percent(self.utilisation()),
            percent(m.contended * 10_000 / m.asked.max(1)),
            format!("{} / {}", m.unsettled_max, percent(m.lost * 10_000 / self.served.max(1))),
            self.violation.clone().unwrap_or_else(|| "none".to_owned()),
            match self.misses().as_slice() {
                [] => "all".to_owned(),
                missed => format!("not: {}", missed.join(", ")),
            },
        ]
    }
}

/// The columns of the table.
pub const COLUMNS: [&str; 14] = [
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
    "figures kept",
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
    Ok(all.iter().all(Figures::is_good))
}
