//! The clock. Nothing else in this crate may ask what time it is.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use shared::time::Timestamp;

/// Tells the time in UTC: the machine's when this process began, and since then as much as has passed. A machine's clock
/// that is set back must not keep leases alive.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Timestamp,
    since: Instant,
}

impl Default for Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads a clock")]
    fn default() -> Self {
        Self { began: wall(), since: Instant::now() }
    }
}

impl Clock {
    /// This instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.began.plus_ms(ms(self.since.elapsed()))
    }

    /// How long this process has run.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}

/// The machine's own time, by which signatures are judged.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads a clock")]
pub fn wall() -> Timestamp {
    // A machine whose clock is before 1970 has no usable time; zero makes every signature expired.
    Timestamp::from_ms(ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
