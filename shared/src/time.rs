//! Instants, minutes, days and periods, all in UTC.
//!
//! A period is a calendar month `[start, end)` (seed: "Counters reset at 00:00 UTC on the first of
//! each calendar month"). This file must never read a clock.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::lease::math::times;

const MS_PER_SECOND: u64 = 1_000;
const MS_PER_MINUTE: u64 = 60 * MS_PER_SECOND;
const MS_PER_DAY: u64 = 24 * 60 * MS_PER_MINUTE;

/// Milliseconds since 1970-01-01T00:00:00Z, up to the end of the year 9999.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last instant that can be written as a date with four digits of year.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The instant that many milliseconds after the epoch; later ones are held at [`Self::MAX`].
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        if ms > Self::MAX.0 { Self::MAX } else { Self(ms) }
    }

    /// Reads an instant of RFC 3339, or a date, which is its first instant. What is finer than a millisecond is left
    /// out; a leap second is the first instant of the next minute, as clocks that count seconds have it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let Some((day, time)) = text.split_once(['T', 't']) else { return Day::parse(text).map(Day::start) };
        let (time, (sign, offset)) = match time.strip_suffix(['Z', 'z']) {
            Some(time) => (time, ("+", "00:00")),
            None => {
                let (time, offset) = time.split_at_checked(time.rfind(['+', '-'])?)?;
                (time, offset.split_at_checked(1)?)
            }
        };
        let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let (minutes, seconds) = clock.rsplit_once(':')?;
        let seconds = u64::from(digits(seconds, 2).filter(|seconds| *seconds <= 60)?);
        let in_day = hours_and_minutes(minutes)?
            .saturating_add(times(seconds, MS_PER_SECOND))
            .saturating_add(thousandths(fraction)?);
        let there = Day::parse(day)?.start().0.saturating_add(in_day);
        let offset = hours_and_minutes(offset)?;
        let ms = if sign == "-" { there.saturating_add(offset) } else { there.checked_sub(offset)? };
        (ms <= Self::MAX.0).then_some(Self(ms))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn as_seconds(self) -> u64 {
        self.0.div_euclid(MS_PER_SECOND)
    }

    /// This instant moved forward.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self::from_ms(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this instant; zero if `earlier` is not earlier.
    #[must_use]
    pub fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Seconds from this instant to `end`, rounded up, so that a client which waits them is never early.
    #[must_use]
    pub fn seconds_until(self, end: Self) -> u64 {
        end.ms_since(self).div_ceil(MS_PER_SECOND)
    }

    /// The day this instant is in.
    #[must_use]
    pub fn day(self) -> Day {
        Day(u32::try_from(self.0.div_euclid(MS_PER_DAY)).unwrap_or(Day::MAX.0).min(Day::MAX.0))
    }

    /// The minute this instant is in.
    #[must_use]
    pub fn minute(self) -> Minute {
        Minute(self.0.div_euclid(MS_PER_MINUTE))
    }

    /// The period this instant is in.
    #[must_use]
    pub fn period(self) -> Period {
        self.day().period()
    }
}

/// RFC 3339 in UTC, such as `2026-11-01T00:00:00Z`; milliseconds only where there are any.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_day = self.0.rem_euclid(MS_PER_DAY);
        let ms = of_day.rem_euclid(MS_PER_SECOND);
        let second = of_day.div_euclid(MS_PER_SECOND);
        let (h, m, s) =
            (second.div_euclid(3_600), second.div_euclid(60).rem_euclid(60), second.rem_euclid(60));
        write!(f, "{}T{h:02}:{m:02}:{s:02}", self.day())?;
        if ms == 0 { write!(f, "Z") } else { write!(f, ".{ms:03}Z") }
    }
}

/// A minute of UTC, counted from the epoch; a permit belongs to exactly one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Minute(u64);

impl Minute {
    /// The minute's first instant.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp::from_ms(times(self.0, MS_PER_MINUTE))
    }

    /// The following minute.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The first instant that is no longer in this minute.
    #[must_use]
    pub fn end(self) -> Timestamp {
        Timestamp::from_ms(times(self.0.saturating_add(1), MS_PER_MINUTE))
    }
}

/// A calendar day of UTC, written `2026-05-31`; 1970-01-01 to 9999-12-31.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u32);

impl Day {
    /// 9999-12-31.
    pub const MAX: Self = Self(2_932_896);

    /// The day with that number, counted from 1970-01-01 as 0.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        (number <= Self::MAX.0).then_some(Self(number))
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// The day's first instant.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp::from_ms(times(u64::from(self.0), MS_PER_DAY))
    }

    /// The next day; the last stays itself.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1).min(Self::MAX.0))
    }

    /// The period this day is in.
    #[must_use]
    pub fn period(self) -> Period {
        let (year, month, _) = civil_from_days(self.0);
        Period { year, month }
    }

    /// Reads `YYYY-MM-DD`; a date that no calendar has is refused.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (year, rest) = text.split_once('-')?;
        let (month, day) = rest.split_once('-')?;
        let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
        let number = days_from_civil(year, month, day)?;
        (civil_from_days(number) == (year, month, day)).then_some(Self(number))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0);
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// A calendar month of UTC, written `2026-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    year: u32,
    month: u32,
}

impl Period {
    /// Reads `YYYY-MM`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let (year, month) = (digits(year, 4)?, digits(month, 2)?);
        days_from_civil(year, month, 1).map(|_| Self { year, month })
    }

    /// The first day of the month.
    #[must_use]
    pub fn first_day(self) -> Day {
        Day(days_from_civil(self.year, self.month, 1).unwrap_or(0))
    }

    /// The last day of the month.
    #[must_use]
    pub fn last_day(self) -> Day {
        Day(self.next().first_day().0.saturating_sub(1))
    }

    /// The month's first instant, which is in it.
    #[must_use]
    pub fn start(self) -> Timestamp {
        self.first_day().start()
    }

    /// The first instant after the month, when counters begin anew.
    #[must_use]
    pub fn end(self) -> Timestamp {
        self.next().start()
    }

    /// The following month.
    #[must_use]
    pub fn next(self) -> Self {
        if self.month == 12 {
            Self { year: self.year.saturating_add(1).min(9_999), month: 1 }
        } else {
            Self { year: self.year, month: self.month.saturating_add(1) }
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

macro_rules! serde_as_text {
    ($type:ty, $accepts:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text)
                    .ok_or_else(|| de::Error::custom(format_args!("got {text:?}, accepted is {}", $accepts)))
            }
        }
    };
}
serde_as_text!(Day, "a date such as 2026-05-31");
serde_as_text!(Period, "a month such as 2026-05");

/// The milliseconds of `hh:mm`.
fn hours_and_minutes(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':')?;
    let hours = u64::from(digits(hours, 2).filter(|hours| *hours < 24)?);
    let minutes = u64::from(digits(minutes, 2).filter(|minutes| *minutes < 60)?);
    Some(times(times(hours, 60).saturating_add(minutes), MS_PER_MINUTE))
}

/// The first three of a fraction's digits, of which there may be any number but none.
fn thousandths(fraction: &str) -> Option<u64> {
    let read = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let digit = |at: usize| fraction.as_bytes().get(at).map_or(0, |byte| u64::from(byte.wrapping_sub(b'0')));
    read.then(|| times(digit(0), 100).saturating_add(times(digit(1), 10)).saturating_add(digit(2)))
}

/// Exactly `len` ASCII digits.
fn digits(text: &str, len: usize) -> Option<u32> {
    (text.len() == len && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

// Both conversions are Howard Hinnant's `chrono`-compatible calendar algorithms: years are counted
// from March, so that the leap day is the last of its year, in eras of 400 years (146,097 days).
const DAYS_PER_ERA: u32 = 146_097;
const DAYS_FROM_YEAR_0_TO_1970: u32 = 719_468;

fn days_from_civil(year: u32, month: u32, day: u32) -> Option<u32> {
    if !(1970..=9_999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let march_year = if month > 2 { year } else { year - 1 };
    let era = march_year.div_euclid(400);
    let year_of_era = march_year.rem_euclid(400);
    let march_month = (month + 9).rem_euclid(12);
    let day_of_year = (153 * march_month + 2).div_euclid(5) + day - 1;
    let day_of_era =
        year_of_era * 365 + year_of_era.div_euclid(4) - year_of_era.div_euclid(100) + day_of_year;
    (era * DAYS_PER_ERA + day_of_era).checked_sub(DAYS_FROM_YEAR_0_TO_1970)
}

fn civil_from_days(days: u32) -> (u32, u32, u32) {
    let days = days + DAYS_FROM_YEAR_0_TO_1970;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era.div_euclid(1_460) + day_of_era.div_euclid(36_524)
        - day_of_era.div_euclid(146_096))
    .div_euclid(365);
    let day_of_year =
        day_of_era - (365 * year_of_era + year_of_era.div_euclid(4) - year_of_era.div_euclid(100));
    let march_month = (5 * day_of_year + 2).div_euclid(153);
    let day = day_of_year - (153 * march_month + 2).div_euclid(5) + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u32::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_reads_back_as_itself_and_follows_its_predecessor() {
        let mut previous = None;
        for number in 0..=Day::MAX.number() {
            let (year, month, day) = civil_from_days(number);
            assert_eq!(days_from_civil(year, month, day), Some(number));
            if let Some((y, m, d)) = previous {
                let next_day = (y, m, d + 1) == (year, month, day);
                let next_month = (y, m + 1, 1) == (year, month, day);
                let next_year = (y + 1, 1, 1) == (year, month, day);
                assert!(next_day || next_month || next_year, "{year}-{month}-{day}");
            }
            previous = Some((year, month, day));
        }
        assert_eq!(Day::MAX.to_string(), "9999-12-31");
    }

    #[test]
    fn dates_that_no_calendar_has_are_refused() {
        for bad in [
            "2026-02-30",
            "2026-13-01",
            "2026-00-01",
            "2026-1-01",
            "2027-02-29",
            "2100-02-29",
            "0000-01-01",
            "10000-01-01",
            "2026-05-31Z",
            "2026-05-31T00:00:00Z",
            "+026-05-31",
            "1969-12-31",
            "",
            "2026-05",
            " 2026-05-31",
        ] {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
        assert_eq!(Day::parse("2028-02-29").map(|day| day.to_string()).as_deref(), Some("2028-02-29"));
    }

    #[test]
    fn periods_turn_at_midnight_utc_to_the_millisecond() {
        let november = Period::parse("2026-11").unwrap();
        assert_eq!(november.start().to_string(), "2026-11-01T00:00:00Z");
        assert_eq!(november.end().to_string(), "2026-12-01T00:00:00Z");
        let before = Timestamp::from_ms(november.end().as_ms() - 1);
        assert_eq!(before.period(), november);
        assert_eq!(before.to_string(), "2026-11-30T23:59:59.999Z");
        assert_eq!(november.end().period(), november.next());
        assert_eq!(Period::parse("2026-12").unwrap().next().to_string(), "2027-01");
        assert_eq!(Period::parse("2028-02").unwrap().last_day().to_string(), "2028-02-29");
        assert_eq!(Period::parse("2026-02").unwrap().last_day().to_string(), "2026-02-28");
    }

    #[test]
    fn instants_are_read_in_every_form_of_rfc_3339() {
        for (text, read) in [
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2026-11-01T12:00:00Z", "2026-11-01T12:00:00Z"),
            ("2026-11-01t12:00:00z", "2026-11-01T12:00:00Z"),
            ("2026-11-01T12:00:00+00:00", "2026-11-01T12:00:00Z"),
            ("2026-11-01T12:00:00-00:00", "2026-11-01T12:00:00Z"),
            ("2026-11-01T00:30:00+02:00", "2026-10-31T22:30:00Z"),
            ("2026-11-01T22:30:00-09:30", "2026-11-02T08:00:00Z"),
            ("2026-11-01T12:00:00.5Z", "2026-11-01T12:00:00.500Z"),
            ("2026-11-01T12:00:00.123Z", "2026-11-01T12:00:00.123Z"),
            ("2026-11-01T12:00:00.123456789+00:00", "2026-11-01T12:00:00.123Z"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ] {
            let instant = Timestamp::parse(text);
            assert_eq!(instant.map(|instant| instant.to_string()).as_deref(), Some(read), "{text}");
        }
        for bad in [
            "2026-11-01T12:00Z",
            "2026-11-01T12:00:00",
            "2026-11-01 12:00:00Z",
            "2026-11-01T12:00:00+0000",
            "2026-11-01T12:00:00+00",
            "2026-11-01T12:00:00+24:00",
            "2026-11-01T12:00:00+00:60",
            "2026-11-01T12:00:00.Z",
            "2026-11-01T12:00:00.+1Z",
            "2026-11-01T12:00:00,5Z",
            "2026-11-01T24:00:00Z",
            "2026-11-01T12:60:00Z",
            "2026-11-01T12:00:61Z",
            "2026-11-01T+1:00:00Z",
            "2026-11-01T12:00:00ZZ",
            "2026-11-01TZ",
            "2026-11-01T",
            "1970-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
        ] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_minute_ends_where_the_next_begins() {
        let minute = Timestamp::from_ms(119_999).minute();
        assert_eq!(minute.end(), Timestamp::from_ms(120_000));
        assert_ne!(minute, minute.end().minute());
    }

    #[test]
    fn the_last_instant_is_held() {
        assert_eq!(Timestamp::from_ms(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::MAX.day(), Day::MAX);
    }
}
