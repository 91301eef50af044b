//! What happened in a run, counted for the figures.

use std::collections::BTreeMap;

/// Counts of a run. Seconds are counted from its start.
#[derive(Debug, Clone, Default)]
pub struct Meters {
    start_ms: u64,
    /// Requests.
    pub asked: u64,
    /// The same per second.
    pub asked_in: BTreeMap<u64, u64>,
    /// Contacts that isolates sent, again ones included, per second.
    pub sent_by_isolates: BTreeMap<u64, u64>,
    /// Contacts that sub-homes sent, per second.
    pub sent_by_subs: BTreeMap<u64, u64>,
    /// Served without a message.
    pub local: u64,
    /// Served after waiting.
    pub waited: u64,
    /// Served by the home itself.
    pub at_home: u64,
    /// Denied without a message.
    pub denied_local: u64,
    /// Denied after waiting.
    pub denied_waited: u64,
    /// Of both, those told that others hold what is left.
    pub contended: u64,
    /// Never answered in time.
    pub unavailable: u64,
    /// Contacts at the home, per second.
    pub home: BTreeMap<u64, u64>,
    /// Contacts at each sub-home, per second.
    pub subs: BTreeMap<(usize, u64), u64>,
    /// How long served requests waited, in milliseconds.
    pub waits: Vec<u64>,
    /// How long the first request of each isolate waited, in milliseconds.
    pub first_waits: Vec<u64>,
    /// Requests served per second.
    pub served: BTreeMap<u64, u64>,
    /// The most units that one isolate had not settled.
    pub unsettled_max: u64,
    /// Units lost with isolates.
    pub lost: u64,
    /// Deaths of isolates.
    pub deaths: u64,
}

impl Meters {
    pub(super) fn new(start_ms: u64) -> Self {
        Self { start_ms, ..Self::default() }
    }

    pub(super) fn second(&self, now_us: u64) -> u64 {
        (now_us / 1_000).saturating_sub(self.start_ms) / 1_000
    }

    pub(super) fn ask(&mut self, now_us: u64) {
        self.asked += 1;
        let second = self.second(now_us);
        *self.asked_in.entry(second).or_insert(0) += 1;
    }

    /// Requests served in all.
    #[must_use]
    pub fn allowed(&self) -> u64 {
        self.local + self.waited + self.at_home
    }
}
