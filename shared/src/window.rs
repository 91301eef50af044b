//! The requests-per-minute window: permits issued in the current minute.

use serde::{Deserialize, Serialize};

use crate::time::{Minute, Timestamp};

/// How many permits of one minute were issued. Permits never carry over into another minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    minute: Minute,
    issued: u32,
}

impl Window {
    /// Permits issued in the minute of `now`.
    #[must_use]
    pub fn issued(&self, now: Timestamp) -> u32 {
        if self.minute == now.minute() { self.issued } else { 0 }
    }

    /// Permits of this minute that are left under `limit`.
    #[must_use]
    pub fn remaining(&self, now: Timestamp, limit: u32) -> u32 {
        limit.saturating_sub(self.issued(now))
    }

    /// Issues `permits` of the minute of `now`; the caller has checked that they remain.
    pub fn issue(&mut self, now: Timestamp, permits: u32) {
        *self = Self { minute: now.minute(), issued: self.issued(now).saturating_add(permits) };
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
}
