//! The forecast: on which day the units will end, if the customer goes on like this.
//!
//! A forecast is shown, never enforced or billed. Whole numbers throughout: the pace is a sum over
//! days, and the last division is rounded down, so that the day named is never later than the true one.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use shared::time::Day;
use shared::units::Units;

/// How many complete days the pace is taken from; a week evens out weekends.
pub const PACE_DAYS: u32 = 7;

/// When the units end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Forecast {
    /// On this day, at this pace.
    EndsOn(Day),
    /// Not within the month.
    Lasts,
    /// They have ended.
    Ended,
    /// Nothing has been used on the days that the pace is taken from.
    NoPace,
}

impl Forecast {
    /// The forecast in one word, and its day where it has one.
    #[must_use]
    pub fn told(self) -> (&'static str, Option<Day>) {
        match self {
            Self::EndsOn(day) => ("ends_on", Some(day)),
            Self::Lasts => ("lasts", None),
            Self::Ended => ("ended", None),
            Self::NoPace => ("no_pace", None),
        }
    }
}

/// Forecasts from the units of each day, up to today, and what is left; `None` left is without a limit.
///
/// The pace is that of the last seven complete days, or of as many as the project has; in its first
/// day, that of today.
#[must_use]
pub fn forecast(daily: &BTreeMap<Day, Units>, today: Day, first: Day, left: Option<Units>) -> Forecast {
    let Some(left) = left else { return Forecast::Lasts };
    if left == Units::ZERO {
        return Forecast::Ended;
    }
    let (used, days) = pace(daily, today, first);
    let span = u128::from(left.get()).saturating_mul(u128::from(days));
    let Some(whole_days) = span.checked_div(u128::from(used.get())) else { return Forecast::NoPace };
    let number = u32::try_from(whole_days).unwrap_or(u32::MAX).saturating_add(today.number());
    match Day::from_number(number) {
        Some(day) if day <= today.period().last_day() => Forecast::EndsOn(day),
        Some(_) | None => Forecast::Lasts,
    }
}

/// What the month will have used on its last day, if the customer goes on like this: rounded up, and never less than
/// what it has used already.
#[must_use]
pub fn at_month_end(daily: &BTreeMap<Day, Units>, today: Day, first: Day) -> Units {
    let (used, days) = pace(daily, today, first);
    let (before, so_far) = (sum(daily, today.period().first_day()..today), sum(daily, today..today.next()));
    let left = today.period().last_day().number().saturating_sub(today.number()).saturating_add(1);
    let more = u128::from(used.get()).saturating_mul(u128::from(left)).div_ceil(u128::from(days));
    let more = u64::try_from(more).map_or(Units::MAX, Units::new);
    before.saturating_add(more.max(so_far))
}

/// Units of the days that the pace is taken from, and how many days these are: at least one.
fn pace(daily: &BTreeMap<Day, Units>, today: Day, first: Day) -> (Units, u32) {
    let age = today.number().saturating_sub(first.number());
    let (days, from, until) = match age.min(PACE_DAYS) {
        0 => (1, today, today.next()),
        days => (days, Day::from_number(today.number().saturating_sub(days)).unwrap_or(first), today),
    };
    (sum(daily, from..until.max(from)), days)
}

/// Units of a range of days.
fn sum(daily: &BTreeMap<Day, Units>, days: Range<Day>) -> Units {
    daily.range(days).fold(Units::ZERO, |sum, (_, units)| sum.saturating_add(*units))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_follows_from_the_pace_of_the_last_week() {
        let day = |text: &str| Day::parse(text).unwrap();
        let steady: BTreeMap<Day, Units> =
            (3..10).map(|n| (day(&format!("2026-11-{n:02}")), Units::new(100))).collect();
        let first = day("2026-01-01");
        // 100 a day on the 3rd to the 9th; today is the 10th.
        for (left, expected) in [
            (Some(99), Forecast::EndsOn(day("2026-11-10"))),
            (Some(100), Forecast::EndsOn(day("2026-11-11"))),
            (Some(2_050), Forecast::EndsOn(day("2026-11-30"))),
            (Some(2_100), Forecast::Lasts),
            (Some(0), Forecast::Ended),
            (None, Forecast::Lasts),
        ] {
            let left = left.map(Units::new);
            assert_eq!(forecast(&steady, day("2026-11-10"), first, left), expected, "{left:?}");
        }
        let left = Some(Units::new(500));
        assert_eq!(forecast(&steady, day("2026-11-25"), first, left), Forecast::NoPace);
        // A project of today: 200 so far today, 500 left, so two whole days more.
        let new = BTreeMap::from([(day("2026-11-10"), Units::new(200))]);
        let today = day("2026-11-10");
        assert_eq!(forecast(&new, today, today, left), Forecast::EndsOn(day("2026-11-12")));
        // Two days old: 100 on the 8th and 9th each.
        assert_eq!(forecast(&steady, today, day("2026-11-08"), left), Forecast::EndsOn(day("2026-11-15")));
    }
    #[test]
    fn a_month_ends_with_what_it_has_and_its_pace_for_the_days_left() {
        let day = |text: &str| Day::parse(text).unwrap();
        // 100 a day on the 3rd to the 9th, and so far 30 on the 10th: 700 and 21 days of 100 are to come.
        let mut daily: BTreeMap<Day, Units> =
            (3..10).map(|n| (day(&format!("2026-11-{n:02}")), Units::new(100))).collect();
        daily.insert(day("2026-11-10"), Units::new(30));
        let (today, first) = (day("2026-11-10"), day("2026-01-01"));
        assert_eq!(at_month_end(&daily, today, first), Units::new(2_800));
        // A day that is busier than the pace counts as it is, not less: 700 + 5,000 beats 700 + 2,100.
        daily.insert(today, Units::new(5_000));
        assert_eq!(at_month_end(&daily, today, first), Units::new(5_700));
        // Three days old, 7 units in them: 7 × 21 / 3 = 49, and those of October are not November's.
        let new = BTreeMap::from([(day("2026-11-08"), Units::new(7)), (day("2026-10-31"), Units::new(9))]);
        assert_eq!(at_month_end(&new, today, day("2026-11-07")), Units::new(56));
        assert_eq!(at_month_end(&BTreeMap::new(), today, today), Units::ZERO);
        assert_eq!(at_month_end(&daily, day("2026-11-30"), first), Units::new(5_700));
    }
}
