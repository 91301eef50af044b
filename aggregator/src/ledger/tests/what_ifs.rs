//! A month on other terms, worked out by hand.

use shared::time::Period;
use shared::units::Units;

use super::super::entry::{OverageSetting, Usage};
use super::super::month::{Seen, month};
use super::super::what_if::{Draft, what_if};
use super::script::{eur, play, terms};

/// Plan, overage (`off`, `on` or a cap), units and anchors; then quota, lots, overage and what is refused; then the price.
type Case<'a> = (&'a str, &'a str, u64, u64, [u64; 4], i128);

fn check(script: &str, of: &str, cases: &[Case<'_>]) {
    let (ledger, totals, now) = play(script);
    let seen = Seen { totals: &totals, now };
    let period = Period::parse(of).unwrap();
    for (plan, overage, units, anchors, expected, price) in cases {
        let overage = match *overage {
            "off" => OverageSetting::Off,
            "on" => OverageSetting::On { cap: None },
            cap => OverageSetting::On { cap: Some(eur(cap.parse().unwrap())) },
        };
        let usage = Usage { units: Units::new(*units), anchors: Units::new(*anchors) };
        let draft = Draft { terms: &terms(plan), overage };
        let came = what_if(&ledger, seen, period, usage, draft).unwrap();
        let got = came.allocation;
        let parts = [got.included, got.of_lots(), got.overage, got.uncovered].map(Units::get);
        let bill = came.bill.total(ledger.currency()).unwrap();
        assert_eq!((parts, bill), (*expected, eur(*price)), "{plan} {overage:?} {units} {anchors}");
    }
    assert_eq!(ledger, play(script).0, "a question writes nothing");
}

#[test]
fn an_open_month_is_compared_with_its_own_lots() {
    // 5,000 units of a pack, of which November so far took 2,000. Pro's overage is 600 a 1,000 and an anchor is 2.
    let november = "
        at 2026-11-01
        open pro
        buy small
        use 12000
        anchors 10
    ";
    check(
        november,
        "2026-11",
        &[
            ("pro", "off", 12_000, 10, [10_000, 2_000, 0, 0], 20),
            ("pro", "off", 16_000, 0, [10_000, 5_000, 0, 1_000], 0),
            ("pro", "on", 16_000, 0, [10_000, 5_000, 1_000, 0], 600),
            ("pro", "300", 16_000, 0, [10_000, 5_000, 500, 500], 300),
            ("community", "on", 12_000, 0, [1_000, 5_000, 0, 6_000], 0),
            ("business", "off", 12_000, 10, [12_000, 0, 0, 0], 0),
            ("business", "on", 106_000, 0, [100_000, 5_000, 1_000, 0], 400),
        ],
    );
}

#[test]
fn a_closed_month_gets_back_what_lots_have_paid_since() {
    // October took 2,000 of the pack and November 3,000, which is all: October could have had the 5,000. What was
    // bought in November was not there for it.
    let closed = "
        at 2026-10-01
        open pro
        buy small
        use 12000
        at 2026-11-04
        close 2026-10
        use 13000
        buy small
        at 2026-12-04
        close 2026-11
    ";
    check(closed, "2026-10", &[("community", "off", 12_000, 0, [1_000, 5_000, 0, 6_000], 0)]);
    check(closed, "2026-11", &[("community", "off", 13_000, 0, [1_000, 8_000, 0, 4_000], 0)]);
}

#[test]
fn the_terms_that_were_in_force_give_the_month_as_it_is() {
    let script = "
        at 2026-11-01
        open pro
        overage cap 1000
        buy small
        use 17000
        anchors 3
    ";
    let (ledger, totals, now) = play(script);
    let seen = Seen { totals: &totals, now };
    let real = month(&ledger, seen, now.period()).unwrap();
    let draft = Draft { terms: &terms("pro"), overage: OverageSetting::On { cap: Some(eur(1_000)) } };
    let came = what_if(&ledger, seen, now.period(), real.counted, draft).unwrap();
    assert_eq!((came.allocation, came.bill), (real.allocation, real.bill));
}
