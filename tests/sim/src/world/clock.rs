//! When a run takes place, and what each isolate's clock shows.

use shared::time::{Period, Timestamp};

use crate::config::Config;

/// The month that runs end in or before.
fn month() -> Period {
    Period::parse("2026-11").unwrap_or(Timestamp::default().period())
}

/// When the run begins.
pub(super) fn start_ms(config: &Config) -> u64 {
    month().end().as_ms() - config.before_month_ms
}

/// The periods of a run.
pub(super) fn periods(_config: &Config) -> [Period; 2] {
    [month(), month().next()]
}

/// A clock that is wrong in three ways.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock {
    pub(super) ahead_ms: u64,
    pub(super) behind_ms: u64,
    /// Millionths faster, offset by 1,000: 1,000 is exact.
    pub(super) pace_ppm: u64,
    pub(super) last_ms: u64,
}

impl Clock {
    /// What the clock shows at a true time, `lag_ms` behind.
    pub(super) fn read(&mut self, start_ms: u64, true_ms: u64, lag_ms: u64) -> Timestamp {
        let passed = true_ms - start_ms;
        let fast = passed * self.pace_ppm / 1_000_000;
        let slow = passed * 1_000 / 1_000_000;
        let shown = (true_ms + self.ahead_ms + fast).saturating_sub(self.behind_ms + slow + lag_ms);
        self.last_ms = self.last_ms.max(shown);
        Timestamp::from_ms(self.last_ms)
    }
}
