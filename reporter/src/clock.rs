//! The clock. Nothing else in this crate may ask what time it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use shared::time::Timestamp;
use tokio::sync::watch;

/// How far the machine's clock may lie from the aggregator's before that is believed instead, in milliseconds: as far
/// as a signature's time may.
const TRUSTED_MS_MAX: u64 = 300_000;

/// Tells the time in UTC. Clones of a clock tell the same time.
///
/// A machine's clock that jumps must not move counts into another month: since the last receipt the aggregator's time
/// is known, and where the machine's is too far from it, that is told.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    trusted: Mutex<Option<(Timestamp, Instant)>>,
    /// How far tests have moved it, in milliseconds.
    moved: watch::Sender<u64>,
}

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(Inner { trusted: Mutex::new(None), moved: watch::Sender::new(0) }))
    }
}

impl Clock {
    /// This instant, by which is counted.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let wall = self.unmoved();
        let trusted = self.0.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        let told = trusted.map(|(at, since)| at.plus_ms(ms(since.elapsed())));
        let told = told.filter(|told| told.as_ms().abs_diff(wall.as_ms()) > TRUSTED_MS_MAX);
        told.unwrap_or(wall).plus_ms(self.offset_ms())
    }

    /// The machine's own time: what strangers compare with their clocks.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads a clock")]
    pub fn unmoved(&self) -> Timestamp {
        // A machine whose clock is before 1970 has no usable time; zero makes every signature expired.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_ms(ms(since_epoch))
    }

    /// The aggregator has said what time it is.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads a clock")]
    pub fn heard(&self, aggregator: Timestamp) {
        let mut trusted = self.0.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Timestamp::from_ms(aggregator.as_ms().saturating_sub(self.offset_ms()));
        *trusted = Some((at, Instant::now()));
    }

    /// Moves it forward by so much in all, for tests; never back.
    ///
    /// What an aggregator said that is ahead is forgotten: its clock was moved before, and the way would count twice.
    pub fn shift(&self, offset_ms: u64) {
        let mut trusted = self.0.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.moved.send_if_modified(|offset| {
            let moves = offset_ms > *offset;
            if moves {
                *offset = offset_ms;
                *trusted = trusted.filter(|(at, _)| *at <= self.unmoved());
            }
            moves
        });
    }

    /// How far it was moved.
    #[must_use]
    pub fn offset_ms(&self) -> u64 {
        *self.0.moved.borrow()
    }

    /// Tells when it is moved from now on.
    #[must_use]
    pub fn moves(&self) -> watch::Receiver<u64> {
        self.0.moved.subscribe()
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_far_from_the_aggregator_counts_by_the_aggregators_time() {
        let clock = Clock::default();
        let wall = clock.unmoved();
        clock.heard(wall.plus_ms(TRUSTED_MS_MAX - 60_000));
        assert!(
            clock.now().as_ms().abs_diff(wall.as_ms()) < 60_000,
            "clocks that nearly agree are left alone"
        );
        let year_ms = 365 * 86_400_000;
        clock.heard(Timestamp::from_ms(wall.as_ms() - year_ms));
        assert!(clock.now().ms_since(Timestamp::from_ms(wall.as_ms() - year_ms)) < 60_000);
        assert!(clock.unmoved() >= wall, "signatures are still made by the machine's");
    }

    #[test]
    fn tests_move_it_forward_only() {
        let clock = Clock::default();
        clock.shift(86_400_000);
        clock.shift(5);
        assert_eq!(clock.offset_ms(), 86_400_000);
        assert!(clock.now().ms_since(clock.unmoved()) >= 86_400_000 - 60_000);
    }

    #[test]
    fn an_aggregator_that_was_moved_first_does_not_move_it_twice() {
        let clock = Clock::default();
        let month_ms = 31 * 86_400_000;
        clock.heard(clock.unmoved().plus_ms(month_ms));
        clock.shift(month_ms);
        assert!(clock.now().ms_since(clock.unmoved()) < month_ms + 60_000);
    }
}
