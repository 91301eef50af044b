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
