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

    /// The same with up to `unknown` more permits counted as issued, where what was issued since is not known any more: of
    /// this minute, and in its last `ahead_ms` of the next.
    ///
    /// A window that was written by a clock ahead of `now` says nothing about this minute: all of it is closed then.
    #[must_use]
    pub fn with_unknown(mut self, now: Timestamp, unknown: u32, ahead_ms: u64) -> Self {
        if self.minute > now.minute() {
            self.close(now, ahead_ms);
            return self;
        }
        self.turn(now);
        self.issued = self.issued.saturating_add(unknown);
        if now.minute().end().ms_since(now) <= ahead_ms {
            self.next = self.next.saturating_add(unknown);
        }
        self
    }

    /// The most that either says, of the later of their minutes.
    #[must_use]
    pub fn most(self, other: Self) -> Self {
        let at = self.minute.max(other.minute).start();
        Self {
            minute: at.minute(),
            issued: self.issued(at).max(other.issued(at)),
            next: self.issued_next(at).max(other.issued_next(at)),
        }
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

    #[test]
    fn what_is_not_known_counts_as_issued_up_to_its_bound() {
        let now = Timestamp::from_ms(80_000);
        let mut told = Window::default();
        told.issue(now, 30);
        let learned = told.with_unknown(now, 7, 10_000);
        assert_eq!((learned.issued(now), learned.issued_next(now)), (37, 0));
        // In the last seconds of a minute permits of the next may have gone out too.
        let late = Timestamp::from_ms(115_000);
        told.issue_next(late, 5);
        let learned = told.with_unknown(late, 7, 10_000);
        assert_eq!((learned.issued(late), learned.issued_next(late)), (37, 12));
        let next = Timestamp::from_ms(121_000);
        assert_eq!(told.with_unknown(next, 7, 10_000).issued(next), 12);
        // What was told a while ago says nothing of this minute but the bound.
        let later = Timestamp::from_ms(300_000);
        assert_eq!(told.with_unknown(later, 7, 10_000).issued(later), 7);
        // It was written by a clock that is ahead.
        assert_eq!(
            told.with_unknown(Timestamp::from_ms(59_000), 7, 10_000)
                .remaining(Timestamp::from_ms(59_500), 60),
            0
        );
    }

    #[test]
    fn of_two_windows_the_most_of_the_later_minute_counts() {
        let (first, second) = (Timestamp::from_ms(119_000), Timestamp::from_ms(121_000));
        let (mut one, mut other) = (Window::default(), Window::default());
        one.issue(first, 50);
        one.issue_next(first, 9);
        other.issue(second, 4);
        other.issue_next(second, 1);
        for most in [one.most(other), other.most(one)] {
            assert_eq!((most.issued(second), most.issued_next(second)), (9, 1));
        }
        assert_eq!(one.most(Window::default()), one);
    }
}
