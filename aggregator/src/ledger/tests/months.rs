//! Months: resets, roll-over, boundaries, and months that are open together.

use shared::time::Period;

use super::super::close::closes_by;
use super::script::{check, instant};

#[test]
fn the_quota_resets_and_lots_roll_over() {
    check(
        "
        at 2026-11-01
        open pro
        buy small as a
        use 12000 on 2026-11-10      # 2,000 of a
        at 2026-12-01
        expect included 0 lots 0     # December begins with nothing used
        parts 2026-11 included 10000 lots 0 credits 5000 next 10000 overage stop
        close 2026-11
        parts 2026-12 included 10000 lots 3000 credits 0 next 10000 overage stop
        use 3000
        expect included 3000 lots 0  # what November left of its quota would not roll over either
        at 2027-01-01
        close 2026-12
        parts 2027-01 included 10000 lots 3000 credits 0 next 10000 overage stop
        at 2031-05-01                # four years on the lot is as good as new
        left a 3000
        ",
    );
}

#[test]
fn a_month_turns_at_midnight_to_the_millisecond() {
    check(
        "
        at 2026-11-30T23:59:59.999Z
        open pro
        overage on
        use 12000
        buy small as a               # one millisecond before the end: it covers November
        expect 2026-11 lots 2000 overage 0
        at 2026-12-01T00:00:00.000Z
        buy small as b               # the first millisecond of December: it cannot
        use 14000
        expect 2026-11 lots 2000 overage 0
        expect 2026-12 included 10000 lots 4000
        left a 0                     # 2,000 for November, 3,000 for December
        left b 4000
        parts 2026-11 included 10000 lots 0 credits 10000 next 10000 overage open
        close 2026-11
        expect 2026-12 lots 4000
        ",
    );
    check(
        "
        at 2026-11-30T23:59:59.999Z
        open pro
        use 12000
        at 2026-12-01T00:00:00.000Z
        buy small as b
        expect 2026-11 lots 0 uncovered 2000
        left b 5000
        ",
    );
}

#[test]
fn february_and_the_year_end_like_every_month() {
    check(
        "
        at 2028-02-01
        open community
        use 600 on 2028-02-28
        use 400 on 2028-02-29        # the leap day is February's
        use 7 on 2028-03-01
        expect 2028-02 used 1000 included 1000
        expect 2028-03 used 7
        refused close 2028-02        # it is the 1st of February
        at 2028-02-29T23:59:59.999Z
        refused close 2028-02
        at 2028-03-01
        close 2028-02
        refused close 2028-02        # once
        refused close 2028-04        # in order
        ",
    );
    check(
        "
        at 2026-12-31T23:59:59.999Z
        open community
        use 1000
        at 2027-01-01
        use 1
        expect 2026-12 used 1000
        expect 2027-01 used 1
        close 2026-12
        refused close 2027-01
        ",
    );
    for (period, until) in [
        ("2026-12", "2027-01-04T00:00:00Z"),
        ("2028-02", "2028-03-04T00:00:00Z"),
        ("2027-02", "2027-03-04T00:00:00Z"),
    ] {
        assert_eq!(closes_by(Period::parse(period).unwrap()), instant(until));
    }
}

#[test]
fn months_that_are_open_together_share_the_lots_in_order() {
    check(
        "
        at 2026-11-15
        open pro
        buy small as a
        use 11000 on 2026-11-20      # 1,000 of a
        at 2026-12-02
        use 13000 on 2026-12-01      # 3,000 of a
        expect 2026-11 lots 1000
        expect 2026-12 lots 3000
        left a 1000
        verdict served 1000
        use 500 on 2026-11-29        # came late, November is still open: it goes first
        expect 2026-11 lots 1500
        expect 2026-12 lots 3000
        left a 500
        use 700 on 2026-11-30        # 2,200 for November leave 2,800 of December's 3,000
        expect 2026-11 lots 2200
        expect 2026-12 lots 2800 uncovered 200
        close 2026-11
        expect 2026-12 lots 2800 uncovered 200
        ",
    );
}

#[test]
fn a_project_that_began_mid_month_has_the_whole_quota_and_no_earlier_month() {
    check(
        "
        at 2026-11-20
        open pro
        use 10000
        expect included 10000 overage 0
        at 2026-12-01
        refused close 2026-10
        close 2026-11
        ",
    );
}

#[test]
fn cells_that_are_ahead_of_the_aggregators_clock_count_in_their_own_month() {
    check(
        "
        at 2026-11-30T23:59:59.000Z
        open pro
        buy small as a
        use 12000 on 2026-12-01      # the home's clock is a second ahead
        expect 2026-11 used 0
        left a 3000
        refund a 2500                # so 2,000 were used already
        shortfall a 2000
        ",
    );
}

#[test]
fn a_pack_of_the_new_month_is_there_at_once_whatever_the_old_one_used() {
    check(
        "
        at 2026-11-10
        open pro
        overage on
        use 14000                    # 4,000 of overage
        at 2026-12-01
        overage off
        use 10000
        verdict exhausted off
        buy small as a
        verdict served 5000          # November cannot have used what it did not have
        use 4500
        verdict served 500
        close 2026-11
        verdict served 500
        left a 500
        ",
    );
    check(
        "
        at 2026-11-10
        open pro
        overage on
        use 110000                   # 100,000 of overage
        at 2026-12-01T00:00:00.000Z
        overage off
        buy large as a
        verdict served 110000
        credit 7 as b
        verdict served 110007
        at 2026-12-03T23:59:59.999Z
        close 2026-11
        verdict served 110007
        ",
    );
}

#[test]
fn what_the_old_month_took_of_its_own_lots_is_not_there_for_the_new_one() {
    for (november, left) in
        [(10_000, 15_000), (11_000, 14_000), (15_100, 9_900), (20_000, 5_000), (40_000, 5_000)]
    {
        for overage in ["off", "on", "cap 100"] {
            check(&format!(
                "
                at 2026-10-20
                open pro
                buy small as a           # before the stated month
                at 2026-11-01
                close 2026-10
                overage {overage}
                use {november} on 2026-11-02
                at 2026-11-30T23:59:59.999Z
                credit 5000 as b         # in it
                at 2026-12-01T00:00:00.000Z
                overage off
                buy small as c           # and after it
                use 10000
                verdict served {left}
                use 1000
                close 2026-11
                verdict served {after}
                overage cap 100
                ",
                after = left - 1_000,
            ));
        }
    }
}
