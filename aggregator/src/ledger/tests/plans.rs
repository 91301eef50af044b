//! Plans: upgrades, downgrades, arrears, suspension.

use super::script::check;

#[test]
fn an_upgrade_at_95_percent_counts_at_once_and_arms_the_thresholds_anew() {
    check(
        "
        at 2026-11-01
        open pro
        use 9500 on 2026-11-20       # 95 % of 10,000
        crossed v1:80
        at 2026-11-20T12:00:00Z
        plan business
        expect quota 100000 version 2 included 9500
        crossed none                 # 9.5 % of 100,000
        parts 2026-11 included 100000 lots 0 credits 0 next 100000 overage stop
        use 70499 on 2026-11-21      # 79,999
        crossed none
        use 1 on 2026-11-21          # 80,000
        crossed v2:80
        use 20000 on 2026-11-22
        crossed v2:100
        use 5 on 2026-11-22
        crossed none
        expect included 100000 uncovered 5
        ",
    );
}

#[test]
fn an_upgrade_of_the_same_month_covers_its_overage() {
    check(
        "
        open pro
        overage on
        use 30000 on 2026-11-10
        expect overage 20000 price 12000   # × 0.6
        at 2026-11-25
        plan business
        expect included 30000 overage 0 price 0
        use 71000 on 2026-11-26            # 101,000: 1,000 at the rate of business
        expect overage 1000 price 400
        ",
    );
}

#[test]
fn a_downgrade_waits_for_the_end_of_paid_time() {
    check(
        "
        at 2026-11-05
        open business
        overage on
        at 2026-11-10
        plan pro paid-until 2026-12-20
        expect plan business
        parts 2026-11 included 100000 lots 0 credits 0 next 100000 overage open
        at 2026-12-01
        close 2026-11
        parts 2026-12 included 100000 lots 0 credits 0 next 10000 overage open
        at 2026-12-19T23:59:59.999Z
        expect plan business
        at 2026-12-20
        expect plan pro quota 100000 version 1   # the quota is that of the largest plan of the month
        use 101000
        expect included 100000 overage 1000 price 600   # the rate is that of the plan at its end
        crossed v1:80 v1:100
        at 2027-01-01
        expect plan pro quota 10000 version 1
        close 2026-12
        expect 2026-12 overage 1000 price 600
        ",
    );
}

#[test]
fn a_cancellation_can_be_undone_and_an_upgrade_replaces_what_was_planned() {
    check(
        "
        at 2026-11-05
        open pro
        buy small as a
        plan community paid-until 2026-12-05
        at 2026-11-06
        next-change 2026-12-05
        plan pro                     # undone
        next-change none
        same plan pro
        at 2026-12-06
        expect plan pro
        plan community paid-until 2027-01-05
        at 2026-12-07
        plan business                # the planned fall is dropped
        at 2027-01-06
        expect plan business
        plan community               # nothing is paid for any more: at once
        expect plan community
        left a 5000                  # lots survive, and are spendable on every plan
        close 2026-11
        close 2026-12
        at 2027-02-01
        use 1200
        expect included 1000 lots 200 uncovered 0
        verdict served 4800
        ",
    );
}

#[test]
fn past_due_turns_overage_off_and_after_seven_days_the_plan_falls() {
    check(
        "
        at 2026-11-01
        open pro
        overage on
        use 10100
        expect overage 100 price 60
        at 2026-11-10T08:00:00Z
        past-due
        next-change 2026-11-17T08:00:00Z
        same past-due                # a second failure does not begin a second grace
        verdict exhausted past_due
        expect plan pro overage 100 price 60    # it was allowed when it was served
        parts 2026-11 included 10000 lots 0 credits 0 next 1000 overage stop
        at 2026-11-17T08:00:00Z      # the grace is over; the month keeps its quota
        expect plan community quota 10000
        parts 2026-11 included 10000 lots 0 credits 0 next 1000 overage stop
        ",
    );
    check(
        "
        at 2026-11-28T08:00:00Z
        open pro
        overage on
        past-due
        at 2026-12-05T07:59:59.999Z
        expect plan pro
        at 2026-12-05T08:00:00.000Z
        expect plan community quota 10000      # the largest plan of the month was pro
        verdict served 10000
        at 2027-01-01
        expect plan community quota 1000
        use 1100
        verdict exhausted not_offered
        recover
        expect plan pro quota 10000 version 2  # a rise: the thresholds are armed anew
        verdict open
        crossed v1:80 v1:100
        ",
    );
}

#[test]
fn recovering_one_second_before_the_fall_keeps_everything() {
    check(
        "
        at 2026-11-10
        open pro
        overage on
        past-due
        at 2026-11-16T23:59:59Z
        recover
        same recover
        next-change none
        verdict open
        at 2026-11-17T00:00:01Z
        expect plan pro version 1
        past-due since 2026-11-16T12:00:00Z    # a new failure begins a grace of its own
        at 2026-11-23T12:00:00Z
        expect plan community
        plan business                          # subscribing does not pay the arrears by itself
        expect plan community
        recover
        expect plan business quota 100000 version 2
        ",
    );
}

#[test]
fn nothing_takes_effect_in_a_closed_month() {
    check(
        "
        at 2026-11-01
        open pro
        overage on
        use 12000                              # 2,000 × 0.6
        at 2026-12-02
        close 2026-11
        past-due since 2026-11-20              # known too late: it holds from December on
        next-change 2026-12-08
        expect 2026-11 overage 2000 price 1200
        at 2026-12-07T23:59:59.999Z
        expect plan pro
        at 2026-12-08
        expect plan community
        ",
    );
}

#[test]
fn a_suspended_project_is_denied_and_keeps_what_it_has() {
    check(
        "
        open pro
        buy small as a
        suspend
        verdict suspended
        left a 5000
        resume
        verdict served 15000
        ",
    );
}

#[test]
fn anchors_are_billed_on_pro_only() {
    check(
        "
        open pro
        anchors 1500                 # 2 each
        expect price 3000 used 0
        overage on
        use 10500                    # 500 × 0.6 = 300 beside them
        expect price 3300
        plan business                # the largest plan of the month includes them
        expect price 0
        ",
    );
    check(
        "
        open community
        anchors 1500
        expect price 0
        ",
    );
}

#[test]
fn overage_that_was_served_before_a_failure_was_known_stays_billed() {
    check(
        "
        at 2026-11-01
        open pro
        at 2026-11-05
        overage on
        use 10500
        at 2026-11-09
        past-due since 2026-11-03    # overdue before overage was even turned on
        expect overage 500 price 300
        verdict exhausted past_due
        ",
    );
}

#[test]
fn a_change_at_the_first_instant_of_a_month_is_that_months_alone() {
    check(
        "
        at 2026-11-01
        open pro
        overage on
        use 12000
        at 2026-12-01
        plan business
        overage cap 100
        expect 2026-11 quota 10000 version 1 overage 2000 price 1200
        expect 2026-12 quota 100000 version 2   # it began as pro, for no time at all
        close 2026-11
        expect 2026-11 quota 10000 overage 2000 price 1200
        ",
    );
}

#[test]
fn more_units_on_the_same_plan_are_an_upgrade_and_fewer_are_not() {
    check(
        "
        at 2026-11-05
        open enterprise
        terms enterprise included 2000000 paid-until 2026-12-20
        expect quota 2000000 version 2
        terms enterprise included 500000 paid-until 2026-12-20
        expect quota 2000000
        parts 2026-11 included 2000000 lots 0 credits 0 next 2000000 overage stop
        at 2026-12-20
        parts 2026-11 included 2000000 lots 0 credits 0 next 2000000 overage stop
        at 2027-01-01                # November and December still open: the home is in January
        parts 2026-11 included 2000000 lots 0 credits 0 next 500000 overage stop
        ",
    );
}

#[test]
fn paid_time_that_is_over_never_changes_the_past() {
    check(
        "
        at 2026-11-05
        open business
        overage on
        at 2026-11-10
        plan pro paid-until 2026-11-07
        expect plan pro
        at 2026-11-08
        expect plan business
        ",
    );
}

#[test]
fn the_grace_is_as_long_as_the_catalogue_said_when_the_payment_failed() {
    check(
        "
        at 2026-11-10T08:00:00Z
        open pro
        past-due grace 3
        next-change 2026-11-13T08:00:00Z
        at 2026-11-13T07:59:59.999Z
        expect plan pro
        at 2026-11-13T08:00:00.000Z
        expect plan community
        ",
    );
    check(
        "
        at 2026-11-10T08:00:00Z
        open pro
        past-due grace 0             # none: the plan falls with the payment
        expect plan community quota 10000
        ",
    );
}

#[test]
fn a_migration_keeps_what_is_planned_and_writes_nothing_where_nothing_differs() {
    check(
        "
        at 2026-11-05
        open pro
        plan community paid-until 2026-12-05
        migrate pro included 12000   # more units: at once, and the cancellation stays
        expect quota 12000 version 2
        next-change 2026-12-05
        same migrate pro included 12000
        at 2026-12-05
        expect plan community
        ",
    );
    check(
        "
        at 2026-11-05
        open pro
        use 11000
        migrate pro included 8000    # fewer: the month keeps the larger quota
        expect quota 10000 version 1 included 10000
        crossed v1:80 v1:100
        at 2026-12-01
        expect quota 8000 version 1
        ",
    );
}

#[test]
fn a_payment_counts_from_when_it_was_made_while_that_month_is_open() {
    check(
        "
        at 2026-10-01
        open pro
        credit 5000 as c
        past-due since 2026-10-20
        at 2026-11-04
        close 2026-10
        at 2026-11-10
        use 6000                     # on community, with the lot
        expect included 1000 lots 5000
        at 2026-12-01T00:10:00Z
        recover paid 2026-11-30T23:50:00Z
        same recover paid 2026-11-30T23:50:00Z
        expect 2026-11 quota 10000 included 6000 lots 0
        left c 5000
        ",
    );
    check(
        "
        at 2026-10-01
        open pro
        past-due since 2026-10-20
        at 2026-11-10
        use 900
        at 2026-12-04
        close 2026-10
        close 2026-11
        recover paid 2026-11-30T23:50:00Z      # of a month that is billed and over
        expect 2026-11 quota 1000
        expect quota 10000
        ",
    );
}
