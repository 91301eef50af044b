//! Burn-down: what pays for what, and in which order.

use shared::units::Units;

use super::super::allocation::{Allocation, Sources, allocate};
use super::super::entry::{EntryNumber, LotId};
use super::script::check;

/// Rows are `used | included | lots, oldest first | overage limit → included | lots | overage | uncovered`.
const ALLOCATIONS: &str = "
0      | 1000 | -         | 0  → 0    | -       | 0   | 0
1      | 1000 | 500       | 0  → 1    | 0       | 0   | 0
1000   | 1000 | 500       | 0  → 1000 | 0       | 0   | 0
1001   | 1000 | 500       | 0  → 1000 | 1       | 0   | 0
1500   | 1000 | 500       | 0  → 1000 | 500     | 0   | 0
1501   | 1000 | 500       | 0  → 1000 | 500     | 0   | 1
1501   | 1000 | 500       | ∞  → 1000 | 500     | 1   | 0
1600   | 1000 | 200 300   | 50 → 1000 | 200 300 | 50  | 50
1200   | 1000 | 200 300   | ∞  → 1000 | 200 0   | 0   | 0
1201   | 1000 | 200 300   | ∞  → 1000 | 200 1   | 0   | 0
1400   | 1000 | 0 300 300 | ∞  → 1000 | 0 300 100 | 0 | 0
500    | 0    | 100 100   | ∞  → 0    | 100 100 | 300 | 0
500    | 0    | -         | ∞  → 0    | -       | 500 | 0
500    | 0    | -         | 0  → 0    | -       | 0   | 500
9007199254740991 | 1 | 1  | ∞  → 1    | 1       | 9007199254740989 | 0
";

#[test]
fn units_are_paid_by_the_quota_then_the_oldest_lot_then_overage() {
    let number = |text: &str| Units::new(text.trim().parse().unwrap());
    let list =
        |text: &str| -> Vec<Units> { text.split_whitespace().filter(|t| *t != "-").map(number).collect() };
    let named = |units: Vec<Units>| -> Vec<(LotId, Units)> {
        (1..).map(|n| LotId(EntryNumber(n))).zip(units).collect()
    };
    for row in ALLOCATIONS.lines().filter(|row| !row.is_empty()) {
        let (given, expected) = row.split_once('→').unwrap();
        let given: Vec<&str> = given.split('|').collect();
        let expected: Vec<&str> = expected.split('|').collect();
        let overage = (given[3].trim() != "∞").then(|| number(given[3]));
        let sources = Sources { included: number(given[1]), lots: named(list(given[2])), overage };
        let mut lots = named(list(expected[1]));
        lots.retain(|(_, units)| *units > Units::ZERO);
        let (overage, uncovered) = (number(expected[2]), number(expected[3]));
        let wanted = Allocation { included: number(expected[0]), lots, overage, uncovered };
        assert_eq!(allocate(number(given[0]), &sources), wanted, "{row}");
    }
}

#[test]
fn a_month_takes_the_quota_first_and_then_the_lots() {
    check(
        "
        at 2026-11-01
        open pro                     # 10,000 a month, overage 600 per 1,000, off
        use 9999 on 2026-11-02
        buy small as a
        expect included 9999 lots 0 overage 0 price 0
        left a 5000
        use 1 on 2026-11-03
        left a 5000                  # the quota is used up exactly, the lot is whole
        use 2000 on 2026-11-04
        expect included 10000 lots 2000 overage 0 uncovered 0 price 0
        left a 3000
        buy medium as b
        use 4000 on 2026-11-05       # 3,000 of a, then 1,000 of b
        left a 0
        left b 24000
        verdict served 24000
        at 2026-12-01
        close 2026-11
        expect 2026-11 included 10000 lots 6000 overage 0 price 0
        left a 0
        left b 24000
        ",
    );
}

#[test]
fn a_credit_is_spent_like_a_lot_in_its_turn() {
    check(
        "
        open community
        use 1000 on 2026-11-02
        verdict exhausted not_offered
        credit 300 as c              # older than the pack, so it is spent first
        plan pro
        buy small as a
        use 9200 on 2026-11-03       # 10,200 in all: the quota of pro, then 200 of the credit
        left c 100
        left a 5000
        use 150 on 2026-11-04        # 100 of the credit, 50 of the pack
        left c 0
        left a 4950
        refused refund c 1           # nobody paid for it
        refused dispute c open
        refused credit 0 as d
        ",
    );
}

#[test]
fn the_cap_is_reached_and_not_exceeded() {
    check(
        "
        open pro
        overage cap 1000             # 1,000 × 1,000 / 600 = 1,666.67 → 1,666 units
        parts 2026-11 included 10000 lots 0 credits 0 next 10000 overage 1666
        use 10000 on 2026-11-02
        verdict served 1666
        use 1665 on 2026-11-03
        expect overage 1665 price 999     # 1,665 × 0.6 = 999.0
        verdict served 1
        use 1 on 2026-11-03
        expect overage 1666 price 1000    # 999.6, half up
        verdict exhausted cap_reached
        buy small as a               # covers the overage of its own month
        expect lots 1666 overage 0 price 0
        left a 3334
        verdict served 5000          # 3,334 of the lot and the whole cap again
        at 2026-12-01
        close 2026-11
        expect 2026-11 lots 1666 overage 0 price 0
        ",
    );
}

#[test]
fn a_lowered_cap_or_a_toggle_turned_off_does_not_forgive_what_was_served() {
    check(
        "
        open pro
        overage on
        use 15000 on 2026-11-02      # 5,000 of overage × 0.6 = 3,000
        expect overage 5000 price 3000
        overage cap 600              # 1,000 units from now on: the home stops
        parts 2026-11 included 10000 lots 0 credits 0 next 10000 overage 1000
        expect overage 5000 uncovered 0 price 3000
        overage off
        expect overage 5000 price 3000
        at 2026-12-02
        expect overage 0 uncovered 0
        use 10001
        expect overage 0 uncovered 1 # it was off in all of December
        close 2026-11
        expect 2026-11 overage 5000 price 3000
        ",
    );
}
