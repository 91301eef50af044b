//! What pays for a month's units as they are counted: the plan, then lots, then overage; and where one follows another.
//!
//! It is told by what is counted, as the month would be billed now. A lot that is bought or a larger plan makes what came
//! before cheaper, and so the payer may go back.

use shared::source::{Paid, Source};
use shared::units::Units;

use super::allocation::Allocation;

/// One payer follows another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// What paid before.
    pub before: Source,
    /// What pays now.
    pub after: Source,
    /// How many units of the month were counted by then.
    pub units: Units,
}

/// What pays for the last unit that anything pays for; `None` where nothing was counted.
#[must_use]
pub fn payer(allocation: &Allocation) -> Option<Source> {
    paid(allocation).source()
}

fn paid(allocation: &Allocation) -> Paid {
    Paid {
        included: allocation.included.get(),
        lot: allocation.of_lots().get(),
        overage: allocation.overage.get(),
    }
}

/// How one came from `before` to what pays now, step by step. In a month that `begins` the first step is to what pays for
/// its first unit.
#[must_use]
pub fn turns(before: Source, begins: bool, allocation: &Allocation) -> Vec<Turn> {
    let paid = paid(allocation);
    let pays = |source| match source {
        Source::Included => paid.included,
        Source::Lot => paid.lot,
        Source::Overage => paid.overage,
    };
    let Some(last) = paid.source() else { return Vec::new() };
    let mut at = before;
    let mut turns = Vec::new();
    let mut turn = |at: &mut Source, after, units| {
        if *at != after {
            turns.push(Turn { before: *at, after, units: Units::new(units) });
            *at = after;
        }
    };
    if begins && let Some(first) = Source::ALL.into_iter().find(|source| pays(*source) > 0) {
        turn(&mut at, first, 0);
    }
    let counted = [paid.included, paid.lot, paid.overage, allocation.uncovered.get()];
    if last < at {
        turn(&mut at, last, counted.into_iter().fold(0, u64::saturating_add));
    }
    let mut units = 0_u64;
    for source in Source::ALL {
        if source > at && pays(source) > 0 {
            turn(&mut at, source, units);
        }
        units = units.saturating_add(pays(source));
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::entry::{EntryNumber, LotId};
    use Source::{Included, Lot, Overage};

    fn of(included: u64, lot: u64, overage: u64) -> Allocation {
        let lots = if lot > 0 { vec![(LotId(EntryNumber(2)), Units::new(lot))] } else { Vec::new() };
        let uncovered = Units::ZERO;
        Allocation { included: Units::new(included), lots, overage: Units::new(overage), uncovered }
    }

    #[test]
    fn each_payer_is_told_once_and_a_jump_leaves_none_out() {
        type Case = (Source, bool, Allocation, &'static [(Source, Source, u64)]);
        let cases: &[Case] = &[
            // Within the plan nothing is told, nor again what was told.
            (Included, true, of(9, 0, 0), &[]),
            (Included, false, of(10, 0, 0), &[]),
            (Lot, false, of(10, 4, 0), &[]),
            (Included, false, of(10, 1, 0), &[(Included, Lot, 10)]),
            (Included, false, of(10, 5, 7), &[(Included, Lot, 10), (Lot, Overage, 15)]),
            (Included, false, of(10, 0, 7), &[(Included, Overage, 10)]),
            // A lot that is bought, or a larger plan, pays for what was counted before.
            (Overage, false, of(10, 7, 0), &[(Overage, Lot, 17)]),
            (Overage, false, of(17, 0, 0), &[(Overage, Included, 17)]),
            // A month begins with what pays for its first unit, however far it came at once.
            (Overage, true, of(3, 0, 0), &[(Overage, Included, 0)]),
            (Overage, true, of(10, 0, 2), &[(Overage, Included, 0), (Included, Overage, 10)]),
            (Lot, true, of(0, 5, 0), &[]),
            (Included, true, of(0, 5, 0), &[(Included, Lot, 0)]),
            // Nothing was counted yet.
            (Overage, true, of(0, 0, 0), &[]),
        ];
        for (before, begins, allocation, expected) in cases {
            let told = turns(*before, *begins, allocation);
            let told: Vec<_> = told.iter().map(|turn| (turn.before, turn.after, turn.units.get())).collect();
            assert_eq!(&told, expected, "{before} {begins} {allocation:?}");
        }
    }

    #[test]
    fn what_nothing_pays_for_changes_no_payer() {
        let exhausted = Allocation { uncovered: Units::new(3), ..of(10, 2, 0) };
        assert_eq!(payer(&exhausted), Some(Lot));
        assert_eq!(turns(Lot, false, &exhausted), []);
    }
}
