//! Payments that go back: refunds, disputes, shortfalls.

use super::script::check;

#[test]
fn an_order_is_credited_once() {
    check(
        "
        open pro
        buy small as a
        same buy small as a          # the event again
        left a 5000
        parts 2026-11 included 10000 lots 0 credits 5000 next 10000 overage stop
        refused buy medium as a      # the same order with other contents
        refused buy small as b for 0
        buy small as b               # two packs bought on purpose are two lots
        parts 2026-11 included 10000 lots 0 credits 10000 next 10000 overage stop
        ",
    );
}

#[test]
fn a_refund_after_partial_use_leaves_a_shortfall_that_binds_the_next_lots() {
    check(
        "
        open pro
        buy medium as a              # 25,000 for 12,500
        use 30000                    # 20,000 of a
        left a 5000
        refund a 6250                # half: 12,500 units; 5,000 are there, 7,500 were used
        left a 0
        shortfall a 7500
        same refund a 6250           # told again
        shortfall a 7500
        verdict exhausted off
        buy small as b               # all of it makes good
        left b 0
        shortfall a 2500
        buy small as c
        left c 2500
        shortfall a 0
        verdict served 2500
        expect included 10000 lots 20000 uncovered 0
        at 2026-12-01
        close 2026-11
        left a 0
        left c 2500
        ",
    );
}

#[test]
fn a_refund_that_fails_gives_everything_back_where_it_came_from() {
    check(
        "
        open pro
        buy medium as a
        use 30000                    # 20,000 of a
        refund a 6250
        buy small as b               # makes good for 5,000 of 7,500
        shortfall a 2500
        refund a 0                   # it failed: 2,500 forgiven, 5,000 to a, 5,000 to b
        shortfall a 0
        left a 5000
        left b 5000
        refund a 2500                # 20 %: 5,000 units, which are there
        left a 0
        shortfall a 0
        ",
    );
}

#[test]
fn a_lot_that_made_good_and_was_refunded_itself_is_settled_first() {
    check(
        "
        open pro
        buy medium as a
        use 35000                    # all 25,000 of a
        refund a 12500               # all of it: 25,000 short
        shortfall a 25000
        buy small as b               # makes good for 5,000
        shortfall a 20000
        refund b 2500                # b has nothing left: it is short too
        shortfall b 5000
        refund a 0                   # 20,000 forgiven; the 5,000 of b settle b's own shortfall
        shortfall a 0
        shortfall b 0
        left a 0
        left b 0
        refund b 0
        left b 5000
        ",
    );
}

#[test]
fn partial_refunds_in_any_order_end_the_same() {
    for order in ["1000 3000 6250", "6250", "3000 1000 6250", "6250 1000 3000 6250"] {
        let refunds: String = order.split(' ').map(|minor| format!("refund a {minor}\n")).collect();
        check(&format!(
            "
            open pro
            buy medium as a
            use 30000
            {refunds}
            left a 0
            shortfall a 7500
            "
        ));
    }
}

#[test]
fn a_dispute_freezes_what_is_left_until_it_is_won() {
    check(
        "
        open pro
        buy small as a               # for 2,500
        use 11000                    # 1,000 of a
        dispute a open
        left a 0                     # 4,000 are frozen, the used 1,000 stay used
        verdict exhausted off
        expect lots 1000 uncovered 0
        buy small as b
        left b 5000                  # a freeze is no shortfall
        same dispute a open
        dispute a won
        left a 4000
        same dispute a won
        ",
    );
}

#[test]
fn a_lost_dispute_takes_the_lot_back() {
    check(
        "
        open pro
        buy small as a
        use 11000
        dispute a open
        dispute a lost               # all 5,000: 4,000 frozen, 1,000 used
        left a 0
        shortfall a 1000
        buy small as b
        left b 4000
        shortfall a 0
        ",
    );
    check(
        "
        open pro
        buy small as a
        use 11000
        dispute a open
        dispute a lost 1250          # half: 2,500 of the 4,000 frozen
        left a 1500
        shortfall a 0
        ",
    );
    check(
        "
        open pro
        buy small as a
        dispute a lost               # told without the opening
        left a 0
        dispute a won
        left a 5000
        refused dispute a lost 2501
        ",
    );
}

#[test]
fn refund_and_dispute_of_one_payment_take_the_larger_not_the_sum() {
    check(
        "
        open pro
        buy small as a
        refund a 1250                # 2,500 units
        left a 2500
        dispute a open
        left a 0
        refund a 1500                # 3,000 units: 500 of the frozen 2,500
        dispute a lost 2000          # 4,000 units: 1,000 more
        left a 1000
        refund a 2500                # all
        left a 0
        shortfall a 0
        ",
    );
}

#[test]
fn a_refund_after_the_close_knows_what_the_month_used() {
    check(
        "
        at 2026-11-01
        open pro
        buy small as a
        use 13000                    # 3,000 of a
        at 2026-12-01
        close 2026-11
        use 11000                    # 1,000 more of a, provisional
        left a 1000
        refund a 2500
        left a 0
        shortfall a 4000             # 3,000 of November, 1,000 of December
        expect lots 1000 uncovered 0
        parts 2026-12 included 10000 lots 1000 credits 0 next 10000 overage stop
        refused refund a 2501
        refused buy small as z for 0
        ",
    );
}

#[test]
fn a_refund_that_turns_out_smaller_forgives_the_shortfall_first() {
    check(
        "
        open pro
        buy medium as a
        use 30000                    # 20,000 of a
        refund a 6250                # 12,500: 5,000 taken, 7,500 short
        refund a 3125                # 6,250: all of it is short of what was used
        shortfall a 1250
        left a 0
        refund a 2500                # 5,000, and those are there
        shortfall a 0
        left a 0
        refund a 1250                # 2,500
        left a 2500
        ",
    );
}

#[test]
fn what_lots_made_good_for_goes_back_to_the_youngest_first() {
    check(
        "
        open pro
        buy medium as a
        use 35000                    # all 25,000 of a
        refund a 12500               # 25,000 short
        buy small as b
        buy small as c
        shortfall a 15000
        refund a 5000                # 10,000: those that b and c made good for
        shortfall a 0
        refund a 3750                # 7,500
        left c 2500
        left b 0
        refund a 0
        left a 0                     # all of a was used, and now it is paid for again
        left b 5000
        left c 5000
        ",
    );
}

#[test]
fn an_upgrade_that_pays_in_a_refunded_lots_place_settles_its_shortfall() {
    check(
        "
        open pro
        buy medium as a
        use 30000                    # 20,000 of a
        refund a 12500               # all: 5,000 taken, 20,000 short
        shortfall a 20000
        buy small as b               # makes good for 5,000
        shortfall a 15000
        plan business                # the quota pays for all 30,000, so a holds 20,000 again
        expect included 30000 lots 0
        shortfall a 0                # 15,000 settle the rest, and 5,000 go back to b
        left a 0
        left b 5000
        parts 2026-11 included 100000 lots 0 credits 5000 next 100000 overage stop
        refund a 0                   # it failed: nothing of a was ever used
        left a 25000
        left b 5000
        ",
    );
}

#[test]
fn what_was_paid_before_midnight_covers_the_old_month_however_late_it_is_told() {
    check(
        "
        at 2026-11-10
        open pro
        overage on
        use 14000
        at 2026-12-01T00:00:00.000Z
        expect 2026-11 lots 0 overage 4000
        buy small as a paid 2026-11-30T23:50:00Z
        expect 2026-11 lots 4000 overage 0 price 0
        left a 1000
        parts 2026-11 included 10000 lots 0 credits 5000 next 10000 overage open
        close 2026-11
        expect 2026-11 lots 4000 overage 0 price 0
        ",
    );
    check(
        "
        at 2026-11-10
        open pro
        overage on
        use 14000
        at 2026-12-01T00:00:00.000Z
        bought business at 2026-11-30T23:50:00Z
        expect 2026-11 quota 100000 version 2 included 14000 overage 0 price 0
        expect 2026-12 quota 100000
        same bought business at 2026-11-30T23:50:00Z
        close 2026-11
        expect 2026-11 included 14000 overage 0 price 0
        ",
    );
}

#[test]
fn a_payment_of_a_closed_month_or_of_a_clock_that_is_ahead_counts_from_where_it_may() {
    check(
        "
        at 2026-11-10
        open pro
        overage on
        use 14000
        at 2026-12-04
        close 2026-11
        buy small as a paid 2026-11-30T23:50:00Z
        bought business at 2026-11-30T23:50:00Z
        expect 2026-11 quota 10000 overage 4000    # billed is billed
        expect 2026-12 quota 100000 version 2
        left a 5000
        at 2026-12-31
        buy small as b paid 2027-01-01             # it is known now, so it was not paid tomorrow
        use 108000
        expect 2026-12 lots 8000
        ",
    );
}

#[test]
fn a_downgrade_that_was_paid_before_midnight_changes_nothing_that_was() {
    check(
        "
        at 2026-11-10
        open business
        at 2026-12-01T00:10:00.000Z
        bought pro at 2026-11-30T23:50:00Z
        expect 2026-11 quota 100000 version 1
        expect 2026-12 quota 100000 plan pro
        ",
    );
}
