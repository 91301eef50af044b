//! What pays for units: the plan, lots, or overage.
//!
//! A home issues what the plan includes first, then what lots have, then overage, and each unit keeps what it was issued
//! from until it is served or comes back. So the sums of what answers have said are those of the bill, as soon as
//! nothing is out any more. Nothing is decided by it, and nothing is billed by it: the ledger divides what was counted.

use core::fmt;

use serde::{Deserialize, Serialize};

/// What pays for a unit, the cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The plan's units of the month.
    Included,
    /// A lot that was bought or given.
    Lot,
    /// Neither: it is billed at the rate of overage.
    Overage,
}

impl Source {
    /// All of them, in the order in which they pay.
    pub const ALL: [Self; 3] = [Self::Included, Self::Lot, Self::Overage];

    /// As it is written in headers and bodies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Included => "included",
            Self::Lot => "lot",
            Self::Overage => "overage",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Units by what pays for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Paid {
    /// By the plan.
    pub included: u64,
    /// By lots.
    pub lot: u64,
    /// By overage.
    pub overage: u64,
}

impl Paid {
    /// The dearest that pays for any of them; nothing pays for no units.
    #[must_use]
    pub const fn source(self) -> Option<Source> {
        match self {
            Self { overage: 1.., .. } => Some(Source::Overage),
            Self { lot: 1.., .. } => Some(Source::Lot),
            Self { included: 1.., .. } => Some(Source::Included),
            Self { .. } => None,
        }
    }

    /// Whether more than one thing pays for them.
    #[must_use]
    pub fn is_mixed(self) -> bool {
        [self.included, self.lot, self.overage].into_iter().filter(|units| *units > 0).count() > 1
    }
}

/// What of a number of units is beyond the plan's. The rest is included, so that what a release does not know of is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beyond {
    /// Units of lots.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) lot: u64,
    /// Units of overage.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) overage: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_zero(units: &u64) -> bool {
    *units == 0
}

impl From<Paid> for Beyond {
    fn from(Paid { lot, overage, .. }: Paid) -> Self {
        Self { lot, overage }
    }
}

impl Beyond {
    /// Nothing but included units.
    pub(crate) const NONE: Self = Self { lot: 0, overage: 0 };

    /// Units that were served without a lease: nobody knows what else is left.
    pub(crate) const fn all_overage(units: u64) -> Self {
        Self { lot: 0, overage: units }
    }

    pub(crate) const fn is_none(&self) -> bool {
        self.lot == 0 && self.overage == 0
    }

    const fn sum(self) -> u64 {
        self.lot.saturating_add(self.overage)
    }

    /// What pays for `units` of which this is beyond.
    pub(crate) const fn of(self, units: u64) -> Paid {
        Paid { included: units.saturating_sub(self.sum()), lot: self.lot, overage: self.overage }
    }

    /// The same for fewer units: the dearest are kept.
    pub(crate) fn within(self, units: u64) -> Self {
        let overage = self.overage.min(units);
        Self { lot: self.lot.min(units.saturating_sub(overage)), overage }
    }

    pub(crate) fn add(&mut self, more: Self) {
        self.lot = self.lot.saturating_add(more.lot);
        self.overage = self.overage.saturating_add(more.overage);
    }

    pub(crate) fn remove(&mut self, less: Self) {
        self.lot = self.lot.saturating_sub(less.lot);
        self.overage = self.overage.saturating_sub(less.overage);
    }

    /// Takes `cost` of the `units` of which this is beyond, the cheapest first, and says what of them is beyond.
    pub(crate) fn take(&mut self, units: u64, cost: u64) -> Self {
        if self.is_none() {
            return Self::NONE;
        }
        let left = cost.saturating_sub(units.saturating_sub(self.sum()));
        let lot = left.min(self.lot);
        let taken = Self { lot, overage: left.saturating_sub(lot).min(self.overage) };
        self.remove(taken);
        taken
    }

    /// What pays for the next `cost` of `units`.
    pub(crate) fn next(mut self, units: u64, cost: u64) -> Paid {
        self.take(units, cost).of(cost)
    }
}

/// What a month has to pay with before overage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Funds {
    pub(crate) included: u64,
    pub(crate) lots: u64,
}

impl Funds {
    /// Issues `units`, where `net` are out or served already, of which `beyond` are beyond the plan's; says what of the
    /// new ones is.
    pub(crate) fn issue(self, net: u64, beyond: &mut Beyond, units: u64) -> Beyond {
        // Releases before did not divide what they issued, and nobody knows what earlier lives of a storage did.
        let undivided = net.saturating_sub(beyond.sum()).saturating_sub(self.included);
        let earlier = self.spread(*beyond, undivided);
        beyond.add(earlier);
        let free = self.included.saturating_sub(net.saturating_sub(beyond.sum()));
        let issued = self.spread(*beyond, units.saturating_sub(free));
        beyond.add(issued);
        issued
    }

    /// What pays for `units` that the plan does not include, where lots have paid for `beyond.lot`.
    fn spread(self, beyond: Beyond, units: u64) -> Beyond {
        let lot = units.min(self.lots.saturating_sub(beyond.lot));
        Beyond { lot, overage: units.saturating_sub(lot) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::random::Stream;

    #[test]
    fn units_are_issued_from_the_plan_then_from_lots_then_from_overage() {
        let funds = Funds { included: 20, lots: 10 };
        let mut beyond = Beyond::default();
        let mut net = 0;
        for (units, expected) in [(15, (15, 0, 0)), (10, (5, 5, 0)), (10, (0, 5, 5)), (3, (0, 0, 3))] {
            let paid = funds.issue(net, &mut beyond, units).of(units);
            assert_eq!((paid.included, paid.lot, paid.overage), expected, "{units} after {net}");
            net += units;
        }
    }

    #[test]
    fn the_cheapest_is_spent_first_and_names_the_dearest_of_a_mixture() {
        let mut beyond = Beyond { lot: 2, overage: 3 };
        let (mut units, mut sources) = (7, Vec::new());
        for cost in [1, 2, 3, 1] {
            let paid = beyond.take(units, cost).of(cost);
            units -= cost;
            sources.push((paid.source().unwrap(), paid.is_mixed()));
        }
        let [included, lot, overage] = Source::ALL;
        assert_eq!(sources, [(included, false), (lot, true), (overage, true), (overage, false)]);
        assert_eq!((units, beyond), (0, Beyond::NONE));
        assert_eq!(Paid::default().source(), None);
    }

    #[test]
    fn what_was_not_divided_before_is_divided_as_if_it_had_been_issued_first() {
        let funds = Funds { included: 20, lots: 10 };
        for (net, expected) in [(0, (5, 0, 0)), (18, (2, 3, 0)), (27, (0, 3, 2)), (40, (0, 0, 5))] {
            let mut beyond = Beyond::default();
            let paid = funds.issue(net, &mut beyond, 5).of(5);
            assert_eq!((paid.included, paid.lot, paid.overage), expected, "{net}");
            assert_eq!(beyond.of(net + 5).included, (net + 5).min(20), "{net}");
        }
    }

    /// A crowd takes units, serves some of them, and gives the others back, over and over. Once nothing is out and more
    /// than the cheaper ones was served, as many were told of each as the ledger finds when it divides the sum.
    #[test]
    fn what_was_told_adds_up_to_what_is_billed() {
        for seed in 0..2_000 {
            let mut random = Stream::new(seed);
            let funds = Funds { included: random.between(0, 60), lots: random.between(0, 60) };
            let (mut net, mut issued, mut told) = (0_u64, Beyond::default(), Paid::default());
            let mut hands: Vec<(u64, Beyond)> = Vec::new();
            let serve = |(units, beyond): &mut (u64, Beyond), cost: u64, told: &mut Paid| {
                let paid = beyond.take(*units, cost).of(cost);
                *units -= cost;
                told.included += paid.included;
                told.lot += paid.lot;
                told.overage += paid.overage;
            };
            for _ in 0..random.between(1, 60) {
                let units = random.between(1, 12);
                hands.push((units, funds.issue(net, &mut issued, units)));
                net += units;
                let which =
                    usize::try_from(random.between(0, u64::try_from(hands.len() - 1).unwrap())).unwrap();
                let hand = &mut hands[which];
                let cost = random.between(0, hand.0);
                serve(hand, cost, &mut told);
                let back = random.between(0, hand.0);
                let of_back = hand.1.take(hand.0, back);
                hand.0 -= back;
                issued.remove(of_back);
                net -= back;
            }
            let mut served = told.included + told.lot + told.overage;
            let billed = served.saturating_sub(funds.included + funds.lots);
            assert!(told.overage >= billed, "seed {seed}: {told:?} of {served}, {funds:?}");
            assert!(told.included <= funds.included && told.lot <= funds.lots, "seed {seed}: {told:?}");
            // Everything comes back, and others serve on from it.
            for (units, beyond) in hands {
                issued.remove(beyond);
                net -= units;
            }
            assert_eq!(net, served, "seed {seed}: nothing is out");
            for _ in 0..130 {
                let mut hand = (1, funds.issue(net, &mut issued, 1));
                net += 1;
                serve(&mut hand, 1, &mut told);
                served += 1;
            }
            let lots = served.saturating_sub(funds.included).min(funds.lots);
            let included = served.min(funds.included);
            let bill = Paid { included, lot: lots, overage: served - included - lots };
            assert_eq!(told, bill, "seed {seed}");
        }
    }
}
