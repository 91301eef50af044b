//! The requests-per-minute window: permits issued in the current minute.

use serde::{Deserialize, Serialize};

use crate::planted::planted;
use crate::time::{Minute, Timestamp};

/// How many permits of one minute were issued. Permits never carry over into another minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    minute: Minute,
    issued: u32,
    /// Permits of the following minute that holders have already.
    #[serde(default, skip_serializing_if = "is_zero")]
    next: u32,
}

/// Homes that issue nothing ahead write nothing about it.
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Window {
    /// Permits issued in the minute of `now`.
    #[must_use]
    pub fn issued(&self, now: Timestamp) -> u32 {
        let minute = now.minute();
        if self.minute == minute {
            self.issued
        } else if self.minute.next() == minute {
            self.next
        } else {
            0
        }
    }

    /// Permits issued in the minute after that of `now`.
    #[must_use]
    pub fn issued_next(&self, now: Timestamp) -> u32 {
        if self.minute == now.minute() { self.next } else { 0 }
    }

    /// Permits of this minute that are left under `limit`.
    #[must_use]
    pub fn remaining(&self, now: Timestamp, limit: u32) -> u32 {
        limit.saturating_sub(self.issued(now))
    }

    /// Issues `permits` of the minute of `now`; the caller has checked that they remain.
    pub fn issue(&mut self, now: Timestamp, permits: u32) {
        self.turn(now);
        self.issued = self.issued.saturating_add(permits);
    }

    /// Issues permits of the following minute; the caller has checked that they remain.
    pub fn issue_next(&mut self, now: Timestamp, permits: u32) {
        self.turn(now);
        self.next = self.next.saturating_add(permits);
    }

    /// Takes unused permits back, if their minute has not ended.
    pub fn take_back(&mut self, now: Timestamp, minute: Minute, permits: u32) {
        self.turn(now);
        if minute == self.minute || planted!(OldPermitsReturned) {
            self.issued = self.issued.saturating_sub(permits);
        } else if minute == self.minute.next() {
            self.next = self.next.saturating_sub(permits);
        }
    }

    /// Counts every permit as issued that may have been, where what was issued is not known any more:
    /// those of this minute, and in its last sixth those of the next.
    pub fn close(&mut self, now: Timestamp, ahead_ms: u64) {
        let next = if now.minute().end().ms_since(now) <= ahead_ms { u32::MAX } else { 0 };
        *self = Self { minute: now.minute(), issued: u32::MAX, next };
    }

    fn turn(&mut self, now: Timestamp) {
        *self = Self { minute: now.minute(), issued: self.issued(now), next: self.issued_next(now) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_minute_starts_empty_and_an_old_one_is_forgotten() {
        let mut window = Window::default();
        let start = Timestamp::from_ms(60_000);
        window.issue(start, 59);
        window.issue(Timestamp::from_ms(119_999), 1);
        assert_eq!(window.remaining(Timestamp::from_ms(119_999), 60), 0);
        assert_eq!(window.remaining(Timestamp::from_ms(120_000), 60), 60);
        window.issue(Timestamp::from_ms(120_000), 1);
        assert_eq!(window.remaining(Timestamp::from_ms(120_000), 60), 59);
    }

    #[test]
    fn permits_issued_ahead_count_in_their_own_minute_and_come_back_only_before_its_end() {
        let mut window = Window::default();
        let (now, later) = (Timestamp::from_ms(119_000), Timestamp::from_ms(120_000));
        window.issue(now, 5);
        window.issue_next(now, 7);
        window.take_back(now, now.minute(), 2);
        window.take_back(now, later.minute(), 3);
        assert_eq!((window.issued(now), window.issued_next(now)), (3, 4));
        assert_eq!((window.issued(later), window.issued_next(later)), (4, 0));
        window.take_back(later, now.minute(), 3);
        assert_eq!(window.issued(later), 4);
        assert_eq!(window.issued(Timestamp::from_ms(180_000)), 0);
    }
}
