//! What units of a month cost under an offer, and from how many on a draft of a contract is cheaper than another offer.
//!
//! It compares prices as they are before they are rounded, so that one unit more or less decides. It is shown, never
//! billed.

use schemars::JsonSchema;
use serde::Serialize;
use shared::units::Units;

use crate::ledger::contract::{BaseFee, Contract, FeePer};
use crate::ledger::rate::{Rate, Tier};

/// A fixed sum a month, units that it covers, and what those beyond cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Offer {
    /// What a month costs whatever is used, in minor units.
    pub base_fee: u64,
    /// Units that it covers.
    pub included: Units,
    /// What those beyond cost; without it they are not served.
    pub tiers: Option<Rate>,
}

impl Offer {
    /// What a contract offers each month; nothing where its fixed sum is for the whole term.
    #[must_use]
    pub fn of(terms: &Contract) -> Option<Self> {
        let base_fee = match terms.base_fee {
            None => 0,
            Some(BaseFee { minor, per: FeePer::Month }) => minor,
            Some(BaseFee { per: FeePer::Term, .. }) => return None,
        };
        Some(Self { base_fee, included: terms.volume, tiers: Some(terms.rate.clone()) })
    }

    /// What so many units cost, in minor units and rounded once; `None` where they are not all served.
    #[must_use]
    pub fn price_minor(&self, units: Units) -> Option<i128> {
        let beyond = units.saturating_sub(self.included);
        let overage = match &self.tiers {
            Some(rate) => rate.price_minor(beyond),
            None if beyond == Units::ZERO => 0,
            None => return None,
        };
        Some(overage.saturating_add(i128::from(self.base_fee)))
    }

    /// The same in thousandths of a minor unit, which are never rounded; nothing is added where units are not served.
    fn thousandths(&self, units: Units) -> u128 {
        let beyond = units.saturating_sub(self.included);
        let overage = self.tiers.as_ref().map_or(0, |rate| rate.thousandths(beyond));
        u128::from(self.base_fee).saturating_mul(1_000).saturating_add(overage)
    }

    /// The most units that it serves.
    fn most(&self) -> Units {
        if self.tiers.is_some() { Units::MAX } else { self.included }
    }

    /// Where its price per unit changes.
    fn bends(&self) -> Vec<Units> {
        let tiers: Vec<Tier> = self.tiers.clone().map(Vec::from).unwrap_or_default();
        let bounds = tiers.into_iter().filter_map(|tier| tier.up_to);
        let beyond = bounds.map(|bound| self.included.saturating_add(bound).min(Units::MAX));
        beyond.chain([self.included]).collect()
    }
}

/// From how many units a month on a draft is always cheaper than an offer, or serves what that does not. `None`: never.
#[must_use]
pub fn cheaper_from(draft: &Offer, present: &Offer) -> Option<Units> {
    let is_not_cheaper = |units: Units| draft.thousandths(units) >= present.thousandths(units);
    let last = present.most();
    let mut bends: Vec<Units> = [draft.bends(), present.bends(), vec![Units::ZERO, last]].concat();
    bends.retain(|bend| *bend <= last);
    bends.sort_unstable();
    bends.dedup();
    // Between two bends both prices are straight lines, which cross once at most.
    let Some(at) = bends.iter().rposition(|bend| is_not_cheaper(*bend)) else { return Some(Units::ZERO) };
    let (Some(mut not), following) = (bends.get(at).copied(), bends.get(at.saturating_add(1))) else {
        return None;
    };
    let Some(mut cheaper) = following.copied() else {
        // Beyond what the present offer serves the draft is the only one.
        return (last < Units::MAX).then(|| last.saturating_add(Units::new(1)));
    };
    while cheaper.saturating_sub(not) > Units::new(1) {
        let half = cheaper.saturating_sub(not).get().div_euclid(2);
        let middle = not.saturating_add(Units::new(half));
        if is_not_cheaper(middle) { not = middle } else { cheaper = middle }
    }
    Some(cheaper)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(base_fee: u64, included: u64, tiers: &[(Option<u64>, u64)]) -> Offer {
        let tier = |(up_to, per_1000): &(Option<u64>, u64)| Tier {
            up_to: up_to.map(Units::new),
            per_1000: *per_1000,
        };
        let tiers = (!tiers.is_empty()).then(|| Rate::tiered(tiers.iter().map(tier).collect()).unwrap());
        Offer { base_fee, included: Units::new(included), tiers }
    }

    #[test]
    fn the_first_number_from_which_a_draft_is_always_cheaper_is_found_to_the_unit() {
        // 49.00 a month, 10,000 units, then 6.00 per 1,000.
        let pro = offer(4_900, 10_000, &[(None, 600)]);
        let free = offer(0, 1_000, &[]);
        for (draft, present, from) in [
            // 100.00 for 100,000: 51.00 more are 8,500 units of overage at 0.6 cents, and one more is cheaper.
            (offer(10_000, 100_000, &[(None, 100)]), &pro, Some(18_501)),
            // Without a base fee it is cheaper from the first unit on; where nothing is used both cost, and it costs less.
            (offer(0, 5_000, &[(None, 600)]), &pro, Some(0)),
            // As dear as the plan to its quota and then at half of its rate.
            (offer(4_900, 10_000, &[(None, 300)]), &pro, Some(10_001)),
            // The same, or dearer without an end.
            (pro.clone(), &pro, None),
            (offer(4_899, 10_000, &[(None, 601)]), &pro, None),
            // Cheaper for a while from 18,501 on, dearer in its first tier: 550.00 instead of 409.00 at 70,000 units, which
            // half of the rate makes up for within 47,000 more.
            (offer(10_000, 20_000, &[(Some(50_000), 900), (None, 300)]), &pro, Some(117_001)),
            // What the present plan does not serve, the draft does alone.
            (offer(10_000, 100_000, &[(None, 100)]), &free, Some(1_001)),
            (offer(0, 0, &[(None, 1)]), &offer(1, 5_000, &[]), Some(5_001)),
        ] {
            assert_eq!(cheaper_from(&draft, present), from.map(Units::new), "{draft:?} {present:?}");
        }
    }

    #[test]
    fn what_is_found_is_what_trying_every_number_finds() {
        let drafts = [
            offer(50, 30, &[(Some(10), 900), (Some(60), 2_000), (None, 100)]),
            offer(20, 0, &[(Some(100), 500), (None, 1_500)]),
            offer(0, 400, &[(None, 70)]),
            offer(90, 10, &[(None, 700)]),
        ];
        let presents = [
            offer(30, 50, &[(None, 800)]),
            offer(40, 200, &[]),
            offer(0, 0, &[(Some(40), 2_500), (None, 650)]),
        ];
        for (draft, present) in drafts.iter().flat_map(|draft| presents.iter().map(move |of| (draft, of))) {
            let is_cheaper = |units: &u64| {
                let units = Units::new(*units);
                present.price_minor(units).is_none() || draft.thousandths(units) < present.thousandths(units)
            };
            // Beyond 2,000 units only the last tiers matter; where they never meet the last number is not cheaper.
            let tried = (0..=20_000_u64).rev().find(|units| !is_cheaper(units)).map_or(0, |last| last + 1);
            let expected = (tried <= 20_000).then(|| Units::new(tried));
            assert_eq!(cheaper_from(draft, present), expected, "{draft:?} {present:?}");
        }
    }

    #[test]
    fn a_price_is_the_fixed_sum_and_what_is_beyond_rounded_once() {
        let pro = offer(4_900, 10_000, &[(None, 600)]);
        for (units, minor) in [(0, 4_900), (10_000, 4_900), (10_001, 4_901), (20_000, 10_900)] {
            assert_eq!(pro.price_minor(Units::new(units)), Some(minor), "{units}");
        }
        let free = offer(0, 1_000, &[]);
        assert_eq!([1_000, 1_001].map(|units| free.price_minor(Units::new(units))), [Some(0), None]);
    }
}
