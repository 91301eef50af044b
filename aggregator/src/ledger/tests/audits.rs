//! The audit finds what was tampered with; that it finds nothing else is checked after every script line.

use std::collections::BTreeMap;

use shared::time::Period;
use shared::units::Units;

use super::super::audit::{Finding, audit};
use super::super::close::adjust;
use super::super::entry::{Account, Entry, EntryNumber, Usage};
use super::super::month::Seen;
use super::super::refusal::Refusal;
use super::super::state::Ledger;
use super::script::play;

/// Entries: 1 opened, 2 overage on, 3 lot bought, 4 November closed (10,000 quota, 5,000 of the lot, 500
/// × 0.6 = 300), 5 adjustment 1 (10 × 0.6 = 6), 6 adjustment 2 (5 × 0.6 = 3).
fn sample() -> (Ledger, BTreeMap<Period, Usage>) {
    let (ledger, totals, _) = play(
        "
        at 2026-11-01
        open pro
        overage on
        buy small as a
        use 15500
        at 2026-12-02
        close 2026-11
        late 2026-11 10
        late 2026-11 5
        expect 2026-11 overage 515 price 309 adjustments 2
        ",
    );
    (ledger, totals)
}

fn tampered(from: &str, to: &str) -> Result<Ledger, Refusal> {
    let text = serde_json::to_string(sample().0.entries()).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from} is once in {text}");
    let entries: Vec<Entry> = serde_json::from_str(&text.replace(from, to)).unwrap();
    Ledger::replay(entries)
}

#[test]
fn what_was_changed_is_found() {
    let november = Period::parse("2026-11").unwrap();
    let close = EntryNumber(4);
    let cases = [
        // The close bills less than its cells give.
        (r#""minor":"300""#, r#""minor":"299""#, vec![Finding::CloseDiffers(close)]),
        // The close says that less was counted, and moves as before.
        (
            r#""counted":{"units":15500,"anchors":0},"floor":0"#,
            r#""counted":{"units":15499,"anchors":0},"floor":0"#,
            vec![Finding::CloseDiffers(close)],
        ),
        // An adjustment that pays back.
        (r#""minor":"3""#, r#""minor":"-3""#, vec![Finding::FellSilently(EntryNumber(6))]),
        // A number that was given twice.
        (r#""number":2,"counted""#, r#""number":1,"counted""#, vec![Finding::Misnumbered(EntryNumber(6))]),
        // An adjustment that counts less than before: the following one then stands alone.
        (
            r#""number":1,"counted":{"units":15510,"#,
            r#""number":1,"counted":{"units":15499,"#,
            vec![Finding::FellSilently(EntryNumber(5))],
        ),
        // Units that no cell has counted.
        (
            r#"{"from":{"overage":"2026-11"},"to":{"used":"2026-11"},"units":5}"#,
            r#"{"from":{"overage":"2026-11"},"to":{"used":"2026-11"},"units":6}"#,
            vec![Finding::UsedDiffers(november)],
        ),
        // Late units charged to a quota that was used up.
        (
            r#"{"from":{"overage":"2026-11"},"to":{"used":"2026-11"},"units":5}"#,
            r#"{"from":{"included":"2026-11"},"to":{"used":"2026-11"},"units":5}"#,
            vec![Finding::QuotaExceeded(november)],
        ),
        // Overage that the customer had never turned on.
        (
            r#"{"on":{"cap":null}}"#,
            r#""off""#,
            vec![Finding::CloseDiffers(close), Finding::OverageExceeded(november)],
        ),
    ];
    for (from, to, expected) in cases {
        let (_, totals) = sample();
        let ledger = tampered(from, to).unwrap();
        let found = audit(ledger.entries(), ledger.balances(), &totals);
        assert_eq!(found, expected, "{from} → {to}");
    }
}

#[test]
fn balances_that_are_not_those_of_the_entries_are_found() {
    let (ledger, totals) = sample();
    let used = Account::Used(Period::parse("2026-11").unwrap());
    let mut kept = ledger.balances().clone();
    kept.insert(used, 15_516);
    let found = audit(ledger.entries(), &kept, &totals);
    assert_eq!(found, [Finding::Unbalanced("1".to_owned()), Finding::BalanceDiffers(used)]);
    // Two errors that cancel out.
    let included = Account::Included(Period::parse("2026-11").unwrap());
    kept.insert(included, -10_001);
    let found = audit(ledger.entries(), &kept, &totals);
    assert_eq!(found, [Finding::BalanceDiffers(included), Finding::BalanceDiffers(used)]);
    let broken = audit(&ledger.entries()[1..], ledger.balances(), &totals);
    assert!(matches!(broken.as_slice(), [Finding::Broken(_)]), "{broken:?}");
}

#[test]
fn a_total_that_fell_is_refused_and_not_adjusted() {
    let (ledger, _) = sample();
    let november = Period::parse("2026-11").unwrap();
    for (units, anchors) in [(15_514, 0), (15_514, 7)] {
        let usage = Usage { units: Units::new(units), anchors: Units::new(anchors) };
        let totals = BTreeMap::from([(november, usage)]);
        let seen = Seen { totals: &totals, now: november.end() };
        let refused = adjust(&ledger, seen, november);
        let (counted, got) = (Units::new(15_515), Units::new(units));
        assert_eq!(refused, Err(Refusal::TotalFell { period: november, counted, got }));
    }
}

#[test]
fn lost_cells_are_found() {
    let (ledger, mut totals) = sample();
    let november = Period::parse("2026-11").unwrap();
    totals.insert(november, Usage { units: Units::new(15_514), ..Usage::default() });
    assert_eq!(
        audit(ledger.entries(), ledger.balances(), &totals),
        vec![Finding::CellsBelowBilled(november)]
    );
}

#[test]
fn entries_that_are_no_ledger_are_refused() {
    let (ledger, _) = sample();
    let entries = ledger.entries().to_vec();
    let without = |index: usize| {
        let mut fewer = entries.clone();
        fewer.remove(index);
        fewer
    };
    assert_eq!(Ledger::replay(vec![]), Err(Refusal::NotOpened));
    assert_eq!(Ledger::replay(without(0)), Err(Refusal::NotOpened));
    assert_eq!(
        Ledger::replay(without(2)),
        Err(Refusal::OutOfOrder { expected: EntryNumber(3), got: EntryNumber(4) })
    );
    let mut earlier = entries.clone();
    earlier[3].at = shared::time::Timestamp::from_ms(0);
    assert_eq!(
        Ledger::replay(earlier),
        Err(Refusal::OutOfOrder { expected: EntryNumber(4), got: EntryNumber(4) })
    );
    let mut twice = entries.clone();
    twice.push(Entry { number: EntryNumber(7), ..entries[3].clone() });
    assert!(Ledger::replay(twice).is_err(), "a period closes once");
    let mut opened_again = entries.clone();
    opened_again.push(Entry { number: EntryNumber(7), at: entries[5].at, ..entries[0].clone() });
    assert_eq!(Ledger::replay(opened_again), Err(Refusal::NotOpened));
    // A lot is never drawn below zero: 5,001 of 5,000.
    let overdrawn =
        tampered(r#""to":{"used":"2026-11"},"units":5000}"#, r#""to":{"used":"2026-11"},"units":5001}"#);
    let lot = super::super::entry::LotId(EntryNumber(3));
    assert_eq!(
        overdrawn,
        Err(Refusal::Overdrawn { entry: EntryNumber(4), account: Account::Lot(lot), balance: -1 })
    );
}

#[test]
fn a_clock_that_was_set_back_holds_the_ledger_at_its_last_instant() {
    let (ledger, _, _) = play(
        "
        at 2026-11-10
        open pro
        at 2026-11-09
        buy small as a               # accepted, and written as of the 10th
        plan business
        use 12000
        left a 5000                  # of business, though the clock says that it is not in force yet
        overage on
        same overage on
        verdict open
        ",
    );
    let opened = ledger.entries()[0].at;
    assert!(ledger.entries().iter().all(|entry| entry.at == opened));
}
