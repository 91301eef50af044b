//! The clock. Nothing else in this crate may ask what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use shared::time::Timestamp;
use tokio::sync::watch;

/// Tells the time in UTC. Clones of a clock tell the same time.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
    moved: watch::Sender<u64>,
}

/// Tells when a clock was moved, so that whoever waits for an instant looks again.
#[derive(Debug)]
pub struct Moves(watch::Receiver<u64>);

impl Moves {
    /// Waits until the clock was moved since the last call; for ever where it is not.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until the clock was moved since the last call, but no longer than this.
    pub async fn next_within(&mut self, interval: Duration) {
        tokio::select! {
            () = self.next() => {}
            () = tokio::time::sleep(interval) => {}
        }
    }
}

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
        Self::of(Source::System(Arc::default()))
    }

    /// A clock that stands still until it is set, for tests of what time does.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self::of(Source::Manual(Arc::new(AtomicU64::new(start.as_ms()))))
    }

    /// This instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.source {
            Source::System(offset_ms) => system_now().plus_ms(offset_ms.load(Ordering::SeqCst)),
            Source::Manual(ms) => Timestamp::from_ms(ms.load(Ordering::SeqCst)),
        }
    }

    /// The machine's own time, however far the clock was moved: for what strangers compare with their clocks. A manual
    /// clock has no other.
    #[must_use]
    pub fn unmoved(&self) -> Timestamp {
        match &self.source {
            Source::System(_) => system_now(),
            Source::Manual(ms) => Timestamp::from_ms(ms.load(Ordering::SeqCst)),
        }
    }

    /// Moves the machine's clock, as this process tells it, forward by so much in all. A manual clock
    /// is set instead and stays as it is.
    pub fn shift(&self, offset_ms: u64) {
        match &self.source {
            Source::System(offset) => {
                if offset.swap(offset_ms, Ordering::SeqCst) != offset_ms {
                    self.moved.send_modify(|count| *count = count.wrapping_add(1));
                }
            }
            Source::Manual(_) => {}
        }
    }

    /// How far the machine's clock was moved; a manual one is set instead.
    #[must_use]
    pub fn offset_ms(&self) -> u64 {
        match &self.source {
            Source::System(offset_ms) => offset_ms.load(Ordering::SeqCst),
            Source::Manual(_) => 0,
        }
    }

    /// Tells when this clock or a clone of it is moved from now on.
    #[must_use]
    pub fn moves(&self) -> Moves {
        Moves(self.moved.subscribe())
    }

    fn of(source: Source) -> Self {
        Self { source, moved: watch::Sender::new(0) }
    }

    /// Sets a manual clock; the machine's clock is not ours to set and stays as it is.
    pub fn set(&self, now: Timestamp) {
        match &self.source {
            Source::System(_) => {}
            Source::Manual(ms) => {
                ms.store(now.as_ms(), Ordering::SeqCst);
                self.moved.send_modify(|count| *count = count.wrapping_add(1));
            }
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

    /// How long ago it was started.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Milliseconds since it was started.
    #[must_use]
    pub fn elapsed_ms(self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads a clock")]
fn system_now() -> Timestamp {
    // A machine whose clock is before 1970 has no usable time; zero makes every signature expired.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// Reads a duration in milliseconds: numbers with units, the larger first or not, such as `1d12h`.
#[cfg(any(feature = "server", test))]
pub(crate) fn duration_ms(text: &str) -> Result<u64, String> {
    let refused = || "accepted are durations such as 3d, 12h, 30m, 10s and 1d12h".to_owned();
    let (mut sum, mut digits) = (0_u64, String::new());
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        let unit_ms = match letter {
            'd' => 86_400_000,
            'h' => 3_600_000,
            'm' => 60_000,
            's' => 1_000,
            _ => return Err(refused()),
        };
        let part: u64 = digits.parse().map_err(|_| refused())?;
        digits.clear();
        sum = part.checked_mul(unit_ms).and_then(|part| sum.checked_add(part)).ok_or_else(refused)?;
    }
    if sum == 0 || !digits.is_empty() { Err(refused()) } else { Ok(sum) }
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

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, ms) in [("3d", 259_200_000), ("1d12h", 129_600_000), ("30m", 1_800_000), ("90s", 90_000)] {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        for bad in ["", "3", "d", "3x", "-1d", "0s", "1.5h", "1d2", "99999999999999999999d"] {
            assert!(duration_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_moved_is_the_machines_own_time() {
        let (clock, machine) = (Clock::system(), Clock::system());
        let (day_ms, minute_ms) = (86_400_000, 60_000);
        clock.shift(day_ms);
        assert!(clock.now().ms_since(machine.now()) > day_ms - minute_ms);
        assert!(clock.unmoved().ms_since(machine.now()) < minute_ms);
        let manual = Clock::manual(Timestamp::from_ms(5));
        assert_eq!(manual.unmoved(), Timestamp::from_ms(5));
    }

    #[tokio::test]
    async fn whoever_waits_for_an_instant_is_told_of_each_move() {
        let clock = Clock::system();
        let mut moves = clock.moves();
        clock.clone().shift(5);
        moves.next().await;
        clock.shift(5);
        let nothing = tokio::time::timeout(std::time::Duration::from_millis(20), moves.next()).await;
        assert!(nothing.is_err(), "it was not moved");
        assert_eq!(clock.offset_ms(), 5);
    }
}
