//! What a run of a scenario came to: figures, what they are to keep within, and a row of the table.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::scenario::{Level, Scenario, TURN_SECONDS};
use crate::world::meters::Meters;

/// When everybody has come and the minute does not turn yet.
pub const WARM: Range<u64> = 10..TURN_SECONDS - 12;

/// The most contacts that a home behind sub-homes takes in a second.
pub const HOME_MAX: u64 = 450;
/// The most that an object takes which isolates ask themselves: a sub-home, or a home without them.
pub const ASKED_MAX: u64 = 1_000;
/// How long the first request of an isolate may wait, of all but one in a hundred, in milliseconds.
pub const FIRST_MS_MAX: u64 = 250;
/// The least that is served of what could be, in hundredths of a per cent.
pub const SERVED_MIN: u64 = 9_950;
/// The longest time between two reports of an isolate, with the reply's way, in milliseconds.
const UNSETTLED_MS_MAX: u64 = 8_500;

/// What a run of a scenario came to.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Which scenario.
    pub scenario: Scenario,
    /// Under which faults.
    pub level: Level,
    /// What was violated, if anything.
    pub violation: Option<String>,
    /// Refusals that were wrong.
    pub denied_wrongly: u64,
    /// The counts.
    pub meters: Meters,
    /// Units served.
    pub served: u64,
}

/// Contacts per second in the busiest second of a part of a run.
#[derive(Debug, Clone, Copy)]
pub struct Peak {
    /// At the home.
    pub home: u64,
    /// At the busiest sub-home.
    pub sub_home: u64,
}

/// Contacts for each request, in ten-thousandths.
#[derive(Debug, Clone, Copy)]
pub struct PerDecision {
    /// Contacts at the home.
    pub at_home: u64,
    /// Those, and those of isolates to sub-homes.
    pub in_all: u64,
}

impl Figures {
    /// Parts of a run with their names: cold, warm, the minute's turn, the last third.
    #[must_use]
    pub fn parts(&self) -> [(&'static str, Range<u64>); 4] {
        let seconds = self.scenario.seconds;
        [
            ("cold", 0..3),
            ("warm", WARM),
            ("minute turn", TURN_SECONDS - 12..TURN_SECONDS + 4),
            ("last third", seconds * 2 / 3..seconds),
        ]
    }

    /// The busiest second of those.
    #[must_use]
    pub fn peak(&self, seconds: &Range<u64>) -> Peak {
        let home = self.meters.home.range(seconds.clone()).map(|(_, n)| *n).max().unwrap_or(0);
        let subs = self.meters.subs.iter().filter(|((_, second), _)| seconds.contains(second));
        Peak { home, sub_home: subs.map(|(_, n)| *n).max().unwrap_or(0) }
    }

    /// Contacts for each request in those seconds, those sent again included.
    #[must_use]
    pub fn per_decision(&self, seconds: &Range<u64>) -> PerDecision {
        let sum = |counts: &BTreeMap<u64, u64>| counts.range(seconds.clone()).map(|(_, n)| n).sum::<u64>();
        let m = &self.meters;
        let (isolates, subs, asked) = (sum(&m.sent_by_isolates), sum(&m.sent_by_subs), sum(&m.asked_in));
        let part = |contacts: u64| contacts * 10_000 / asked.max(1);
        let at_home = if self.scenario.direct { isolates } else { subs };
        PerDecision { at_home: part(at_home), in_all: part(isolates + subs) }
    }

    /// The part of what could be served that was, in hundredths of a per cent.
    #[must_use]
    pub fn utilisation(&self) -> u64 {
        // The run begins in the middle of a minute.
        let minutes = (self.scenario.seconds + TURN_SECONDS).div_ceil(60) * u64::from(self.scenario.rpm);
        let could = self.meters.asked.min(self.scenario.allowance).min(minutes);
        // Requests of the last moment are asked after the last whole second.
        (self.served * 10_000 / could.max(1)).min(10_000)
    }

    /// Requests served without a message, of all that were served, in hundredths of a per cent.
    #[must_use]
    pub fn local(&self) -> u64 {
        self.meters.local * 10_000 / self.meters.allowed().max(1)
    }

    /// Requests denied without a message, of all that were denied, in hundredths of a per cent.
    #[must_use]
    pub fn denied_locally(&self) -> u64 {
        let m = &self.meters;
        m.denied_local * 10_000 / (m.denied_local + m.denied_waited).max(1)
    }

    /// Units lost with isolates, of all that were served, in hundredths of a per cent.
    #[must_use]
    pub fn unbilled(&self) -> u64 {
        self.meters.lost * 10_000 / self.served.max(1)
    }

    /// The most units that one isolate may not have settled: its rate for the longest time between two reports.
    #[must_use]
    pub fn unsettled_bound(&self) -> u64 {
        let busiest = crate::config::zipf(self.scenario.isolates, self.scenario.rate * 1_000);
        let busiest = busiest.into_iter().max().unwrap_or(0);
        (busiest * UNSETTLED_MS_MAX).div_ceil(1_000_000)
    }

    /// How long requests waited that were served after waiting: the median, and all but one in a hundred.
    #[must_use]
    pub fn waits(&self) -> (u64, u64) {
        (quantile(&self.meters.waits, 50), quantile(&self.meters.waits, 99))
    }

    /// The same of the first request of each isolate.
    #[must_use]
    pub fn first_waits(&self) -> (u64, u64) {
        (quantile(&self.meters.first_waits, 50), quantile(&self.meters.first_waits, 99))
    }

    /// What contacts per decision are to keep within, in ten-thousandths: at the home, and in all.
    ///
    /// Each isolate is heard every eight seconds, so that cuts bind in ten: below some requests per second and
    /// isolate there is nothing to keep within. And where 2 % of the allowance is served in moments, isolates come
    /// back for each small part of it: then the home alone counts, which has eight sub-homes before it.
    #[must_use]
    pub fn per_decision_max(&self) -> (Option<u64>, Option<u64>) {
        match self.scenario.name {
            "hot" | "hot-rpm" | "business-warm" => (Some(200), Some(200)),
            "million-fast" => (Some(200), Some(300)),
            "business" | "hot-tail" => (Some(300), None),
            _ => (None, None),
        }
    }

    /// The figures that a run is to keep within and did not. Faults excuse waits, what is served, and contacts of
    /// isolates that begin again and again.
    #[must_use]
    pub fn misses(&self) -> Vec<&'static str> {
        let all = 0..self.scenario.seconds;
        let calm = self.level == Level::Calm;
        let rough = self.level == Level::Rough;
        let (peak, contacts) = (self.peak(&all), self.per_decision(&all));
        let home_max = if self.scenario.direct { ASKED_MAX } else { HOME_MAX };
        let (at_home_max, in_all_max) = self.per_decision_max();
        let missed = [
            (self.denied_wrongly > 0, "wrong refusals"),
            (peak.home > home_max, "contacts at the home"),
            (peak.sub_home > ASKED_MAX, "contacts at a sub-home"),
            (calm && self.first_waits().1 > FIRST_MS_MAX, "first requests"),
            (calm && self.utilisation() < SERVED_MIN, "served"),
            (at_home_max.is_some_and(|max| contacts.at_home > max), "contacts at the home per decision"),
            (!rough && in_all_max.is_some_and(|max| contacts.in_all > max), "contacts per decision"),
            (calm && self.meters.unsettled_max > self.unsettled_bound().max(100), "unsettled units"),
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
        let of_two = |(half, most): (u64, u64)| format!("{half} / {most}");
        let peaks = self.parts().map(|(_, seconds)| {
            let Peak { home, sub_home } = self.peak(&seconds);
            if self.scenario.direct { home.to_string() } else { format!("{home}/{sub_home}") }
        });
        let contacts = [0..self.scenario.seconds, WARM].map(|seconds| self.per_decision(&seconds));
        vec![
            self.scenario.name.to_owned(),
            self.level.name().to_owned(),
            peaks.join(" | "),
            contacts.map(|contacts| ten_thousandths(contacts.at_home)).join(" / "),
            contacts.map(|contacts| ten_thousandths(contacts.in_all)).join(" / "),
            percent(self.local()),
            percent(self.denied_locally()),
            of_two(self.waits()),
            of_two(self.first_waits()),
            percent(self.utilisation()),
            percent(m.contended * 10_000 / m.asked.max(1)),
            format!("{} of {}", m.unsettled_max, self.unsettled_bound()),
            percent(self.unbilled()),
            self.violation.clone().unwrap_or_else(|| "none".to_owned()),
            self.denied_wrongly.to_string(),
            match self.misses().as_slice() {
                [] => "all".to_owned(),
                missed => format!("not: {}", missed.join(", ")),
            },
        ]
    }
}

/// The columns of the table.
pub const COLUMNS: [&str; 16] = [
    "scenario",
    "faults",
    "contacts/s home/busiest sub-home: cold | warm | minute turn | last third",
    "contacts at the home per decision: whole run / warm",
    "the same with those of isolates to sub-homes",
    "allowed locally",
    "denied locally",
    "wait of those that waited p50 / p99 ms",
    "first request p50 / p99 ms",
    "served of what could be",
    "contended",
    "most unsettled in one isolate, of its bound",
    "unbilled",
    "violations",
    "wrong denials",
    "figures kept",
];

/// `0.0123`
#[must_use]
pub fn ten_thousandths(n: u64) -> String {
    format!("{}.{:04}", n / 10_000, n % 10_000)
}

/// `99.50 %`
#[must_use]
pub fn percent(hundredths: u64) -> String {
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

fn quantile(values: &[u64], percent: usize) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(0)
}
