//! The parts of months that agents' units are summed by, and which of their sums a report reads: as few days as can be are
//! left to be read cell by cell, and every day of the span is counted once.

use std::collections::BTreeSet;
use std::fmt;

use shared::time::{Day, Period};

/// How many parts a month has; the last has what is left of it.
pub const PARTS: u32 = 6;

/// How many days each other part has.
const PART_DAYS: u32 = 5;

/// How many months a quarter has.
pub const MONTHS: u32 = 3;

/// Three months, written as the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quarter(Period);

impl fmt::Display for Quarter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A part of a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    period: Period,
    /// From 1.
    number: u32,
}

impl Part {
    /// The part that a day is in.
    #[must_use]
    pub fn of(day: Day) -> Self {
        let period = day.period();
        let before = day.number().saturating_sub(period.first_day().number());
        let number = before.div_euclid(PART_DAYS).saturating_add(1).min(PARTS);
        Self { period, number }
    }

    /// The parts of a month, in order.
    pub fn of_month(period: Period) -> impl Iterator<Item = Self> {
        (1..=PARTS).map(move |number| Self { period, number })
    }

    /// Its month.
    #[must_use]
    pub fn period(self) -> Period {
        self.period
    }

    /// Which part of the month it is, from 1.
    #[must_use]
    pub fn number(self) -> u32 {
        self.number
    }

    /// Its days by number; the end is not included.
    #[must_use]
    pub fn days(self) -> (u32, u32) {
        let (start, end) = days_of(self.period);
        let from = start.saturating_add(self.number.saturating_sub(1).saturating_mul(PART_DAYS));
        (from, if self.number == PARTS { end } else { from.saturating_add(PART_DAYS) })
    }
}

/// The quarter that a month is in, and which of its months it is, from 1.
#[must_use]
pub fn place_of(period: Period) -> (Quarter, u32) {
    let text = period.to_string();
    let month = text.get(5..).and_then(|month| month.parse::<u32>().ok()).unwrap_or(1);
    let place = month.saturating_sub(1).rem_euclid(MONTHS).saturating_add(1);
    let first = text.get(..5).and_then(|year| {
        Period::parse(&format!("{year}{:02}", month.saturating_sub(place).saturating_add(1)))
    });
    (Quarter(first.unwrap_or(period)), place)
}

/// The months of a quarter, in order.
#[must_use]
pub fn months_of(quarter: Quarter) -> [Period; 3] {
    let Quarter(first) = quarter;
    [first, first.next(), first.next().next()]
}

/// What is known of a project's sums before a report is read. It may be somewhat old: it says in which way a report is read
/// and never what comes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Between which days anything was counted; the end is not included.
    pub counted: (u32, u32),
    /// Of which months the parts are not summed yet.
    pub coarse: BTreeSet<Period>,
}

/// Days that are read from the cells; the end is not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    /// Whether they are taken from the sums instead of added to them.
    pub taken: bool,
    /// The first.
    pub start: u32,
    /// The one after the last.
    pub end: u32,
}

/// How a span is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// From the beginning of one part to that of another, which is not included; none where they are the same.
    pub sums: (u32, u32),
    /// What both ends add or take.
    pub ends: [Days; 2],
}

/// How the days from `from` to `to` are read.
#[must_use]
pub fn plan(from: Day, to: Day, known: &Known) -> Plan {
    let (start, end) = (from.number(), to.number().saturating_add(1));
    // Days without cells cost nothing: until today, the present month's sums alone are read.
    let cost = |start: u32, end: u32| end.min(known.counted.1).saturating_sub(start.max(known.counted.0));
    let nearest = |at: u32, day: Day| {
        let (before, after) = whole(day, known);
        if cost(before, at) > cost(at, after) { after } else { before }
    };
    let sums = (nearest(start, from), nearest(end, to));
    let days = |taken, start, end| Days { taken, start, end };
    let first = if sums.0 < start { days(true, sums.0, start) } else { days(false, start, sums.0) };
    let last = if sums.1 > end { days(true, end, sums.1) } else { days(false, sums.1, end) };
    let ends = [first, last];
    let of_ends = ends.iter().fold(0_u32, |sum, days| sum.saturating_add(cost(days.start, days.end)));
    if cost(start, end) <= of_ends {
        return Plan { sums: (end, end), ends: [days(false, start, end), days(false, end, end)] };
    }
    Plan { sums, ends }
}

/// The smallest span of whole sums that a day is in.
fn whole(day: Day, known: &Known) -> (u32, u32) {
    if known.coarse.contains(&day.period()) { days_of(day.period()) } else { Part::of(day).days() }
}

/// The days of a month by number; the end is not included.
#[must_use]
pub fn days_of(period: Period) -> (u32, u32) {
    (period.first_day().number(), period.next().first_day().number())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn day(text: &str) -> Day {
        Day::parse(text).unwrap()
    }

    fn month(text: &str) -> Period {
        Period::parse(text).unwrap()
    }

    /// How often each day is counted.
    fn counted(plan: &Plan) -> BTreeMap<u32, i32> {
        let mut times = BTreeMap::new();
        let mut count = |(start, end): (u32, u32), by: i32| {
            for number in start..end {
                *times.entry(number).or_insert(0) += by;
            }
        };
        count(plan.sums, 1);
        for Days { taken, start, end } in plan.ends {
            count((start, end), if taken { -1 } else { 1 });
        }
        times.retain(|_, times| *times != 0);
        times
    }

    #[test]
    fn every_day_is_in_one_part_of_its_month() {
        for number in day("2027-12-15").number()..day("2029-01-15").number() {
            let day = Day::from_number(number).unwrap();
            let part = Part::of(day);
            let (start, end) = part.days();
            assert!((start..end).contains(&number), "{day}");
            let all: Vec<u32> = Part::of_month(day.period())
                .flat_map(|part| (part.days().0..part.days().1).collect::<Vec<_>>())
                .collect();
            assert_eq!(all, (days_of(day.period()).0..days_of(day.period()).1).collect::<Vec<_>>(), "{day}");
        }
        let of = |text: &str| (Part::of(day(text)).period().to_string(), Part::of(day(text)).number());
        assert_eq!(of("2026-11-05"), ("2026-11".to_owned(), 1));
        assert_eq!(of("2026-11-06"), ("2026-11".to_owned(), 2));
        assert_eq!(of("2026-12-31"), ("2026-12".to_owned(), 6));
    }

    #[test]
    fn quarters_begin_in_january_april_july_and_october() {
        for (period, quarter, place) in [
            ("2026-01", "2026-01", 1),
            ("2026-03", "2026-01", 3),
            ("2026-04", "2026-04", 1),
            ("2026-08", "2026-07", 2),
            ("2026-11", "2026-10", 2),
            ("2026-12", "2026-10", 3),
        ] {
            let (got, at) = place_of(month(period));
            assert_eq!((got.to_string().as_str(), at), (quarter, place), "{period}");
            let months = months_of(got);
            assert_eq!(
                months.iter().position(|one| *one == month(period)),
                Some(usize::try_from(place - 1).unwrap()),
                "{period}"
            );
        }
    }

    #[test]
    fn of_any_span_every_day_is_read_once_and_few_of_them_by_cells() {
        let always = Known { counted: (0, u32::MAX), coarse: BTreeSet::new() };
        let begun =
            Known { counted: (day("2027-12-20").number(), day("2028-04-09").number()), ..always.clone() };
        let coarse = Known { coarse: [month("2028-01"), month("2028-02")].into(), counted: always.counted };
        let (first, last) = (day("2027-12-10").number(), day("2028-04-20").number());
        for from in first..last {
            for to in from..last {
                let span = (Day::from_number(from).unwrap(), Day::from_number(to).unwrap());
                for (known, days_max) in [(&always, 6), (&begun, 6), (&coarse, 30)] {
                    let plan = plan(span.0, span.1, known);
                    let expected: BTreeMap<u32, i32> = (from..=to).map(|number| (number, 1)).collect();
                    assert_eq!(counted(&plan), expected, "{span:?} {plan:?}");
                    let within = |days: &Days| {
                        (days.start..days.end)
                            .filter(|day| (known.counted.0..known.counted.1).contains(day))
                            .count()
                    };
                    let read: usize = plan.ends.iter().map(within).sum();
                    assert!(read <= days_max, "{span:?} {plan:?} reads {read} days");
                    // Sums begin and end where such begin that are known.
                    if plan.sums.0 < plan.sums.1 {
                        for number in [plan.sums.0, plan.sums.1] {
                            let at = Day::from_number(number).unwrap();
                            assert_eq!(whole(at, known).0, number, "{span:?} {plan:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn until_today_sums_alone_are_read() {
        let known =
            Known { counted: (day("2026-03-10").number(), day("2026-11-24").number()), ..Known::default() };
        for (from, to) in
            [("2026-11-01", "2026-11-23"), ("2025-12-01", "2026-11-23"), ("2026-03-09", "2026-11-30")]
        {
            let plan = plan(day(from), day(to), &known);
            let read = |days: &Days| {
                (days.start..days.end).any(|day| (known.counted.0..known.counted.1).contains(&day))
            };
            assert!(!plan.ends.iter().any(read), "{from} to {to}: {plan:?}");
        }
        // A day alone is read as it is.
        let one = plan(day("2026-05-03"), day("2026-05-03"), &known);
        let number = day("2026-05-03").number();
        assert_eq!(one.ends[0], Days { taken: false, start: number, end: number + 1 });
        assert_eq!(one.sums.0, one.sums.1);
    }
}
