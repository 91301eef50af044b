//! The only file of xtask that reads a clock: stopwatches, deadlines and the current month.
//!
//! It must never decide anything; it only measures and names.
#![expect(clippy::disallowed_methods, reason = "this is xtask's clock.rs, where clocks are read")]

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// How often everything that waits looks again.
const POLL_MS: u64 = 20;

/// Measures how long something took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Whether at least `limit` has passed since the start.
    pub(crate) fn passed(self, limit: Duration) -> bool {
        self.elapsed() >= limit
    }
}

/// Waits one polling step.
pub(crate) fn pause() {
    sleep(Duration::from_millis(POLL_MS));
}

/// Waits as long as does not matter beside what is measured.
pub(crate) fn pause_briefly() {
    sleep(Duration::from_millis(1));
}

/// A duration for people: `0.4 s`, `42.1 s`, `3 min 07 s`.
pub(crate) fn human(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 100 {
        return format!("{seconds}.{} s", time.subsec_millis().div_euclid(100));
    }
    format!("{} min {:02} s", seconds.div_euclid(60), seconds.rem_euclid(60))
}

/// A number that no earlier run had: milliseconds since 1970.
pub(crate) fn fresh_number() -> u64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since_1970.as_secs().saturating_mul(1_000).saturating_add(u64::from(since_1970.subsec_millis()))
}

/// The current UTC day, as `2026-05-01`.
pub(crate) fn today() -> String {
    day_of(days_since_1970())
}

/// The date of a day counted from 1970-01-01.
fn day_of(day: u64) -> String {
    let Date { month, day, .. } = date_of(day);
    format!("{month}-{day:02}")
}

fn days_since_1970() -> u64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since_1970.as_secs().div_euclid(86_400)
}

/// The first and the last day of the current UTC month, as `2026-05-01` and `2026-05-31`.
pub(crate) fn this_month() -> (String, String) {
    month_of(days_since_1970())
}

/// The first and the last day of the month of a day counted from 1970-01-01.
fn month_of(day: u64) -> (String, String) {
    let Date { month, days, .. } = date_of(day);
    (format!("{month}-01"), format!("{month}-{days:02}"))
}

/// A day in the calendar.
struct Date {
    /// As `2026-05`.
    month: String,
    /// The day of the month, from 1.
    day: u64,
    /// How many days the month has.
    days: u64,
}

/// The date of a day counted from 1970-01-01, by walking the calendar: years first, then months.
fn date_of(mut day: u64) -> Date {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while day >= 365 + u64::from(leap(year)) {
        day = day.saturating_sub(365 + u64::from(leap(year)));
        year = year.saturating_add(1);
    }
    let february = 28 + u64::from(leap(year));
    for (month, days) in (1_u64..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
        if day < days {
            return Date { month: format!("{year}-{month:02}"), day: day.saturating_add(1), days };
        }
        day = day.saturating_sub(days);
    }
    Date { month: format!("{year}-12"), day: 31, days: 31 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (ms, text) in [(0, "0.0 s"), (449, "0.4 s"), (42_190, "42.1 s"), (187_000, "3 min 07 s")] {
            assert_eq!(human(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn days_since_1970_have_their_dates() {
        for (day, date) in
            [(0, "1970-01-01"), (30, "1970-01-31"), (11_016, "2000-02-29"), (20_818, "2026-12-31")]
        {
            assert_eq!(day_of(day), date);
        }
    }

    #[test]
    fn months_of_days_since_1970() {
        for (day, first, last) in [
            (0, "1970-01-01", "1970-01-31"),
            (11_016, "2000-02-01", "2000-02-29"),
            (20_575, "2026-05-01", "2026-05-31"),
            (20_818, "2026-12-01", "2026-12-31"),
            (21_976, "2030-03-01", "2030-03-31"),
        ] {
            assert_eq!(month_of(day), (first.to_owned(), last.to_owned()), "day {day}");
        }
    }
}
