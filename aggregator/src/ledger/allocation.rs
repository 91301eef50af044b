//! Allocation: which units are paid by what.
//!
//! The order is the seed's: the included quota, then top-up lots ("consume after the included quota"),
//! oldest first (design §5), then overage. Pure arithmetic; it must never look at a plan or a clock.

use shared::units::Units;

use super::entry::LotId;

/// What there is to pay with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// What is left of the included quota.
    pub included: Units,
    /// What is left of each lot, the oldest first.
    pub lots: Vec<(LotId, Units)>,
    /// What is left of the overage; `None` is without a limit.
    pub overage: Option<Units>,
}

/// What pays for what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allocation {
    /// Units of the included quota.
    pub included: Units,
    /// Units of each lot, the oldest first; lots that pay nothing are left out.
    pub lots: Vec<(LotId, Units)>,
    /// Units of overage.
    pub overage: Units,
    /// Units that nothing pays for.
    pub uncovered: Units,
}

impl Allocation {
    /// Units of all lots together.
    #[must_use]
    pub fn of_lots(&self) -> Units {
        self.lots.iter().fold(Units::ZERO, |sum, (_, units)| sum.saturating_add(*units))
    }
}

/// Spreads `units` over the sources.
#[must_use]
pub fn allocate(units: Units, sources: &Sources) -> Allocation {
    let (included, mut left) = take(units, sources.included);
    let mut lots = Vec::new();
    for (id, available) in &sources.lots {
        let (taken, rest) = take(left, *available);
        left = rest;
        if taken > Units::ZERO {
            lots.push((*id, taken));
        }
    }
    let (overage, uncovered) = take(left, sources.overage.unwrap_or(Units::MAX));
    Allocation { included, lots, overage, uncovered }
}

/// What of `units` the source can pay, and what it leaves.
fn take(units: Units, available: Units) -> (Units, Units) {
    let taken = units.min(available);
    (taken, units.saturating_sub(taken))
}
