//! What may still happen to a closed month: late cells, corrections, forfeits, minimums.

use super::script::check;

#[test]
fn late_cells_become_numbered_adjustments() {
    check(
        "
        at 2026-11-01
        open pro
        overage on
        use 9900
        at 2026-12-04
        close 2026-11
        expect 2026-11 included 9900 price 0 adjustments 0
        late 2026-11 50              # within the quota: counted, and free
        expect 2026-11 included 9950 overage 0 price 0 adjustments 1
        late 2026-11 60              # 50 of the quota, 10 × 0.6 = 6
        expect 2026-11 included 10000 overage 10 price 6 adjustments 2
        late 2026-11 1               # 11 × 0.6 = 6.6 → 7: the totals are rounded, not the parts
        expect 2026-11 overage 11 price 7 adjustments 3
        same late 2026-11 0          # nothing came
        expect 2026-11 adjustments 3 lines 2    # the first adjustment cost nothing
        refused late 2026-12 1       # December is open
        refused correct 2026-12 1
        ",
    );
}

#[test]
fn late_cells_take_of_the_lots_only_what_no_open_month_needs() {
    check(
        "
        at 2026-11-01
        open pro
        buy small as a
        use 10000
        at 2026-12-02
        close 2026-11
        use 14900                    # 4,900 of a, provisional
        left a 100
        late 2026-11 150             # 100 of a; 50 that nobody agreed to pay for
        expect 2026-11 lots 100 overage 0 uncovered 50 price 0 adjustments 1
        expect 2026-12 lots 4900 uncovered 0
        left a 0
        ",
    );
    check(
        "
        at 2026-11-01
        open pro
        use 10000
        at 2026-12-02
        close 2026-11
        buy small as b               # of December
        late 2026-11 150             # so it cannot pay for November
        expect 2026-11 lots 0 uncovered 150 price 0
        left b 5000
        ",
    );
}

#[test]
fn a_cap_holds_for_late_cells_too() {
    check(
        "
        at 2026-11-01
        open pro
        overage cap 600              # 1,000 units
        use 10990
        at 2026-12-02
        close 2026-11
        expect 2026-11 overage 990 price 594
        late 2026-11 20
        expect 2026-11 overage 1000 uncovered 10 price 600 adjustments 1
        ",
    );
}

#[test]
fn a_correction_takes_back_overage_first_and_the_quota_last() {
    check(
        "
        at 2026-11-01
        open pro
        overage on
        buy small as a
        use 15500                    # 10,000 quota, 5,000 of a, 500 × 0.6 = 300
        at 2026-12-01
        close 2026-11
        expect 2026-11 overage 500 price 300
        correct 2026-11 200          # 300 × 0.6 = 180
        expect 2026-11 overage 300 price 180
        correct 2026-11 800          # 300 of overage, 500 of a
        expect 2026-11 included 10000 lots 4500 overage 0 price 0
        left a 500
        late 2026-11 100             # of the lot again; the correction is not undone
        expect 2026-11 lots 4600 overage 0 price 0 adjustments 1
        refused correct 2026-11 14601
        correct 2026-11 14600
        expect 2026-11 included 0 lots 0 overage 0 price 0
        left a 5000
        refused correct 2026-11 1
        refused correct 2026-11 0
        ",
    );
}

#[test]
fn a_correction_of_a_refunded_lot_settles_its_shortfall() {
    check(
        "
        at 2026-11-01
        open pro
        buy small as a
        use 13000                    # 3,000 of a
        at 2026-12-01
        close 2026-11
        refund a 2500
        shortfall a 3000
        correct 2026-11 1000         # those units are not owed any more
        shortfall a 2000
        left a 0
        refund a 0
        left a 3000                  # 5,000 less the 2,000 that stay used
        ",
    );
}

#[test]
fn forfeited_units_were_never_taken_and_are_told() {
    check(
        "
        at 2026-11-01
        open pro
        buy small as a
        use 11000                    # the home issued 11,300
        at 2026-12-02
        parts 2026-11 included 10000 lots 0 credits 5000 next 10000 overage stop
        close 2026-11 forfeited 300
        parts 2026-12 included 10000 lots 4000 credits 0 next 10000 overage stop
        left a 4000
        ",
    );
}

#[test]
fn the_contracted_minimum_is_a_floor_that_catching_up_does_not_lower() {
    check(
        "
        at 2026-11-01
        open pro                     # any plan with a rate: quota 10,000, 600 per 1,000
        overage on
        use 8000
        at 2026-12-02
        close 2026-11 floor 15000    # 8,000 reported, 15,000 billed: 5,000 × 0.6
        expect 2026-11 used 8000 included 10000 overage 5000 price 3000
        late 2026-11 4000            # 12,000 reported: still below the floor
        expect 2026-11 used 12000 overage 5000 price 3000 adjustments 1
        late 2026-11 4000            # 16,000 reported: 1,000 above it
        expect 2026-11 used 16000 overage 6000 price 3600 adjustments 2
        correct 2026-11 5000         # the waiver
        expect 2026-11 overage 1000 price 600
        ",
    );
    check(
        "
        at 2026-11-01
        open pro
        buy small as a
        use 12000
        at 2026-12-02
        close 2026-11 floor 11000    # more was reported than the floor
        expect 2026-11 lots 2000 overage 0 price 0
        left a 3000
        ",
    );
}

#[test]
fn a_correction_gives_the_youngest_lot_back_first_and_keeps_a_disputed_one_frozen() {
    check(
        "
        at 2026-11-01
        open pro
        buy small as a
        buy small as b
        use 17000                    # 5,000 of a, 2,000 of b
        at 2026-12-01
        close 2026-11
        dispute b open               # 3,000 frozen
        correct 2026-11 2500         # 2,000 of b, which stay frozen, and 500 of a
        left a 500
        left b 0
        dispute b won
        left b 5000
        ",
    );
}
