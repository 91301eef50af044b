//! The only file of this crate that reads a clock. It must never decide what is measured.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use shared::time::{Day, Timestamp};

/// How often everything that waits for a program looks again.
const PAUSE: Duration = Duration::from_millis(10);

/// This instant.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads a clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The current UTC day.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads a clock")]
pub(crate) fn today() -> Day {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)).day()
}

/// Sleeps until an instant; returns at once if it has passed. The thread's own timer is used because an async
/// runtime's wakes to the millisecond only.
pub(crate) fn sleep_until(instant: Instant) {
    sleep(instant.saturating_duration_since(now()));
}

/// Waits one polling step.
pub(crate) fn pause() {
    sleep(PAUSE);
}

/// Microseconds from one instant to another; zero if the other is earlier.
pub(crate) fn micros_between(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX)
}
