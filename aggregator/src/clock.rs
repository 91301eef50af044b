//! The clock. Nothing else in this crate may ask what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use shared::time::Timestamp;

/// Tells the time in UTC. Clones of a clock tell the same time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    /// The machine's clock, moved forward by so many milliseconds.
    System(Arc<AtomicU64>),
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System(Arc::default()))
    }

    /// A clock that stands still until it is set, for tests of what time does.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(start.as_ms()))))
    }

    /// This instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System(offset_ms) => system_now().plus_ms(offset_ms.load(Ordering::SeqCst)),
            Source::Manual(ms) => Timestamp::from_ms(ms.load(Ordering::SeqCst)),
        }
    }

    /// Moves the machine's clock, as this process tells it, forward by so much in all. A manual clock
    /// is set instead and stays as it is.
    pub fn shift(&self, offset_ms: u64) {
        match &self.0 {
            Source::System(offset) => offset.store(offset_ms, Ordering::SeqCst),
            Source::Manual(_) => {}
        }
    }

    /// Sets a manual clock; the machine's clock is not ours to set and stays as it is.
    pub fn set(&self, now: Timestamp) {
        match &self.0 {
            Source::System(_) => {}
            Source::Manual(ms) => ms.store(now.as_ms(), Ordering::SeqCst),
        }
    }
}

/// Measures how long something takes, whatever the clock is set to meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins to measure.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads a clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since it was started.
    #[must_use]
    pub fn elapsed_ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads a clock")]
fn system_now() -> Timestamp {
    // A machine whose clock is before 1970 has no usable time; zero makes every signature expired.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_still_and_its_clones_move_together() {
        let clock = Clock::manual(Timestamp::from_ms(5));
        let clone = clock.clone();
        assert_eq!(clone.now(), Timestamp::from_ms(5));
        clock.set(Timestamp::from_ms(9));
        assert_eq!(clone.now(), Timestamp::from_ms(9));
    }
}
