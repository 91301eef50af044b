//! Crossings: each level once per quota version, in order (I6).

use super::super::crossing::Levels;
use super::script::check;

#[test]
fn exact_hits_jumps_and_repeats() {
    check(
        "
        open community               # 1,000
        use 799
        crossed none
        use 1
        crossed v1:80                # exactly 80 %
        use 199
        crossed none                 # 999
        use 1
        crossed v1:100
        use 500
        crossed none                 # beyond 100 % nothing refires
        ",
    );
    check(
        "
        open pro
        use 10500                    # from nothing to 105 %
        crossed v1:80 v1:100
        ",
    );
    check(
        "
        open pro
        use 7000
        use 3500                     # from 70 % to 105 %: 80 is not skipped
        crossed v1:80 v1:100
        ",
    );
}

#[test]
fn a_top_up_does_not_arm_them_anew_and_an_upgrade_does() {
    check(
        "
        open pro
        use 9000
        crossed v1:80
        buy large as a
        use 500
        crossed none
        use 500
        crossed v1:100               # of the quota, however much the lots hold
        plan business
        crossed none
        use 90000
        crossed v2:80 v2:100
        ",
    );
}

#[test]
fn a_version_that_begins_above_a_level_fires_it_at_once() {
    check(
        "
        open community
        use 1000
        crossed v1:80 v1:100
        use 8500                     # of credits and lots, say
        plan pro                     # 9,500 of 10,000
        crossed v2:80
        use 500
        crossed v2:100
        ",
    );
}

#[test]
fn levels_are_configurable_and_each_month_has_its_own() {
    check(
        "
        at 2026-11-01
        open pro
        levels 50 90 100
        use 9500
        crossed v1:50 v1:90
        at 2026-12-01
        crossed none
        use 5000
        crossed v1:50
        use 600 on 2026-11-30        # late cells of a month that is still open cross in it
        crossed v1:100
        ",
    );
    for bad in [&[][..], &[0, 80], &[101], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]] {
        assert!(Levels::new(bad.iter().copied()).is_err(), "{bad:?}");
    }
}

#[test]
fn a_quota_denial_counts_as_the_whole_quota() {
    check(
        "
        open community
        use 700                      # 300 more were issued to isolates that died
        crossed none
        denied
        crossed v1:80 v1:100
        denied
        crossed none
        use 300
        crossed none
        ",
    );
}

#[test]
fn a_rise_that_is_told_late_arms_the_month_anew_that_it_is_told_in() {
    check(
        "
        at 2026-11-02
        open pro
        at 2026-12-01T00:05:00Z
        use 8500
        crossed v1:80                # of the smaller quota, as it was known then
        at 2026-12-01T00:10:00Z
        bought business at 2026-11-30T23:50:00Z
        expect quota 100000 version 2
        expect 2026-11 quota 100000 version 2
        crossed none
        use 71500
        crossed v2:80
        use 20000
        crossed v2:100
        ",
    );
    check(
        "
        at 2026-11-02
        open pro
        at 2026-12-01T00:05:00Z
        terms pro included 20000     # a rise of the month itself, then one that is told late
        at 2026-12-01T00:10:00Z
        bought business at 2026-11-30T23:50:00Z
        expect quota 100000 version 3
        at 2027-01-02
        expect quota 100000 version 1
        ",
    );
}

#[test]
fn a_payment_that_is_told_late_arms_the_month_anew_that_it_is_told_in() {
    check(
        "
        at 2026-10-01
        open pro
        past-due since 2026-10-20
        at 2026-11-04
        close 2026-10
        at 2026-12-01T00:05:00Z      # on community since 27 October
        use 900
        crossed v1:80
        at 2026-12-01T00:10:00Z
        recover paid 2026-11-30T23:50:00Z
        expect quota 10000 version 2
        use 7100
        crossed v2:80
        ",
    );
}

#[test]
fn a_limit_below_the_months_largest_quota_arms_them_anew_when_it_is_raised() {
    check(
        "
        open pro
        use 8000
        crossed v1:80
        terms pro included 50
        expect quota 10000 version 1
        terms pro included 9000
        expect quota 10000 version 2
        crossed v2:80
        terms pro included 9000
        expect quota 10000 version 2
        ",
    );
    check(
        "
        open pro
        past-due since 2026-11-01    # to fall and to rise again is no more quota
        at 2026-11-09
        recover
        expect quota 10000 version 1
        ",
    );
}
