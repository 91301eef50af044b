//! The clock of the tests and of the demo upstream. Nothing else in this crate may ask what time it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shared::time::Timestamp;

/// No test takes longer, so that none sees its day or month turn; tests of that belong to the simulator.
pub const TEST_SECONDS_MAX: u64 = 90;

/// This instant.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads a clock")]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// Returns when at least `seconds` of the current minute are left: at once, or in the next minute.
pub async fn with_seconds_of_minute(seconds: u64) {
    until(seconds, |now| now.minute().end()).await;
}

/// Returns when at least `seconds` of the current day (and so of the month) are left.
pub async fn with_seconds_of_day(seconds: u64) {
    until(seconds, |now| now.day().next().start()).await;
}

async fn until(seconds: u64, end: fn(Timestamp) -> Timestamp) {
    const LOOK_AGAIN: Duration = Duration::from_millis(100);
    let left_ms = |now: Timestamp| end(now).ms_since(now);
    while left_ms(now()) < seconds.saturating_mul(1_000) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
