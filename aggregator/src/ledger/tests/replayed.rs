//! The tables of the field, replayed: burn-down, reset and roll-over, split runs, thresholds, calendars, late cells.
//!
//! The cases are those that billing systems test themselves against or were broken by; every expected figure is
//! worked out by hand beside its line.

use shared::time::{Period, Timestamp};

use super::super::close::closes_by;
use super::script::{check, instant, play};

#[test]
fn of_a_hundred_lots_the_oldest_is_burnt_first() {
    let credits: String = (0..100).map(|n| format!("credit 10 as l{n}\n")).collect();
    check(&format!(
        "
        open community               # 1,000
        {credits}
        use 1505                     # the quota, then 50 lots whole and 5 of the next
        expect included 1000 lots 505 uncovered 0
        left l0 0
        left l49 0
        left l50 5
        left l51 10
        left l99 10
        use 496                      # 495 are left
        expect lots 1000 uncovered 1
        left l99 0
        "
    ));
}

#[test]
fn a_quota_is_granted_once_a_month_however_often_the_plan_changes() {
    check(
        "
        at 2026-11-03
        open pro
        use 10000
        plan community
        plan pro
        plan community
        plan pro
        expect quota 10000 included 10000
        use 1
        expect uncovered 1
        ",
    );
}

#[test]
fn neither_what_is_left_of_a_quota_nor_overage_goes_into_the_next_month() {
    check(
        "
        at 2026-11-10
        open pro
        use 100                      # 9,900 are left
        at 2026-12-01
        expect included 0
        use 10001
        expect included 10000 uncovered 1
        close 2026-11
        at 2027-01-01
        overage on
        use 12000                    # 2,000 × 0.6 = 1,200
        expect overage 2000 price 1200
        close 2026-12
        at 2027-02-01
        expect included 0 overage 0 price 0
        verdict open
        ",
    );
}

#[test]
fn a_run_in_pieces_is_the_run_in_one() {
    // Units a day, as whole days, halves, and single reports; each row adds up to 15,500.
    let runs = [
        vec![(1, 15_500)],
        vec![(1, 7_750), (1, 7_750)],
        (1..=31).map(|n| (1 + (n - 1) % 30, 500)).collect(),
        (0..155).map(|n| (1 + n % 30, 100)).rev().collect(),
        vec![(30, 1), (1, 9_999), (15, 1), (2, 5_000), (29, 499)],
    ];
    let entries = runs.map(|run| {
        let uses: String = run.iter().map(|(day, n)| format!("use {n} on 2026-11-{day:02}\n")).collect();
        let (ledger, ..) = play(&format!(
            "
            at 2026-11-01
            open pro
            overage on
            buy small as a
            {uses}
            expect included 10000 lots 5000 overage 500 price 300
            at 2026-12-04
            close 2026-11
            expect 2026-11 included 10000 lots 5000 overage 500 price 300 lines 1
            "
        ));
        serde_json::to_string(ledger.entries()).unwrap()
    });
    assert!(entries.iter().all(|run| *run == entries[0]), "every run leaves the same bytes");
}

/// Rows are `plan | units one after the other → what is crossed after each, - for nothing`.
const THRESHOLDS: &str = "
community | 799 1 199 1 1            → - v1:80 - v1:100 -
community | 800                      → v1:80
community | 1000                     → v1:80,v1:100
community | 1001 5000                → v1:80,v1:100 -
community | 700 350                  → - v1:80,v1:100
pro       | 7999 1 1999 1            → - v1:80 - v1:100
pro       | 10000 90000              → v1:80,v1:100 -
business  | 79999 1 19999 1          → - v1:80 - v1:100
";

#[test]
fn levels_fire_at_the_unit_once_and_in_order() {
    for row in THRESHOLDS.lines().filter(|row| !row.is_empty()) {
        let (given, expected) = row.split_once('→').unwrap();
        let (plan, uses) = given.split_once('|').unwrap();
        let mut script = format!("open {plan}\n");
        for (units, crossed) in uses.split_whitespace().zip(expected.split_whitespace()) {
            let crossed = if crossed == "-" { "none".to_owned() } else { crossed.replace(',', " ") };
            script.push_str(&format!("use {units}\ncrossed {crossed}\n"));
        }
        check(&script);
    }
}

/// Rows are `month | days | ends | closes at the latest`.
const MONTHS: &str = "
2026-01 | 31 | 2026-02-01T00:00:00Z | 2026-02-04T00:00:00Z
2026-02 | 28 | 2026-03-01T00:00:00Z | 2026-03-04T00:00:00Z
2026-04 | 30 | 2026-05-01T00:00:00Z | 2026-05-04T00:00:00Z
2026-12 | 31 | 2027-01-01T00:00:00Z | 2027-01-04T00:00:00Z
2028-02 | 29 | 2028-03-01T00:00:00Z | 2028-03-04T00:00:00Z
2000-02 | 29 | 2000-03-01T00:00:00Z | 2000-03-04T00:00:00Z
2100-02 | 28 | 2100-03-01T00:00:00Z | 2100-03-04T00:00:00Z
";

#[test]
fn months_are_those_of_the_calendar_to_the_millisecond() {
    for row in MONTHS.lines().filter(|row| !row.is_empty()) {
        let fields: Vec<&str> = row.split('|').map(str::trim).collect();
        let [month, days, ends, closes] = fields[..] else { panic!("{row}") };
        let month = Period::parse(month).unwrap();
        let day_count = month.last_day().number() - month.first_day().number() + 1;
        assert_eq!(day_count.to_string(), days, "{row}");
        assert_eq!((month.end(), closes_by(month)), (instant(ends), instant(closes)), "{row}");
        let before = |at: Timestamp| Timestamp::from_ms(at.as_ms() - 1);
        assert_eq!((month.start().period(), before(month.end()).period()), (month, month), "{row}");
        assert_eq!(month.end().period(), month.next(), "{row}");
        assert_eq!(before(month.start()).period().next(), month, "{row}");
        // A unit of the last millisecond is of this month, one of the next millisecond of the next.
        check(&format!(
            "
            at {}
            open community
            use 1000
            at {ends}
            use 3
            expect {month} used 1000 included 1000
            expect {} used 3
            ",
            before(month.end()),
            month.next()
        ));
    }
}

#[test]
fn a_lot_bought_after_overage_pays_for_it() {
    check(
        "
        at 2026-11-01
        open pro
        overage on
        use 13000 on 2026-11-10      # 3,000 × 0.6 = 1,800
        expect overage 3000 price 1800
        at 2026-11-20
        buy small as a
        expect lots 3000 overage 0 price 0
        left a 2000
        use 2500 on 2026-11-21       # 2,000 of a, 500 × 0.6 = 300
        expect lots 5000 overage 500 price 300
        at 2026-12-04
        close 2026-11
        expect 2026-11 included 10000 lots 5000 overage 500 price 300 lines 1
        ",
    );
}

#[test]
fn late_cells_after_a_downgrade_cost_the_rate_of_the_months_end() {
    check(
        "
        at 2026-11-05
        open business                # 100,000, overage 400 per 1,000
        overage on
        use 101000
        expect overage 1000 price 400
        plan pro paid-until 2026-11-20
        at 2026-11-20                # pro: 600 per 1,000; the quota stays that of the largest plan
        expect plan pro quota 100000 overage 1000 price 600
        at 2026-12-04
        close 2026-11
        expect 2026-11 overage 1000 price 600 adjustments 0
        late 2026-11 500             # 1,500 × 0.6 = 900
        expect 2026-11 overage 1500 price 900 adjustments 1 lines 2
        late 2026-11 1               # 1,501 × 0.6 = 900.6 → 901
        expect 2026-11 overage 1501 price 901 adjustments 2 lines 3
        same late 2026-11 0
        ",
    );
}

#[test]
fn a_void_is_booked_once_however_often_it_is_told() {
    check(
        "
        open pro
        buy small as a               # for 2,500
        use 11000                    # 1,000 of it
        refund a 2500                # 4,000 back, 1,000 short
        same refund a 2500
        same refund a 2500
        shortfall a 1000
        left a 0
        buy small as b               # makes good for 1,000
        same refund a 2500
        left b 4000
        shortfall a 0
        refused refund a 2501
        ",
    );
}
