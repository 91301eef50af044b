//! What units of a month cost under an offer, and for how many of them a draft of a contract is cheaper than another offer.
//!
//! It compares prices as they are before they are rounded, so that one unit more or less decides. It is shown, never
//! billed.

use std::cmp::Ordering;

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

    /// The same in thousandths of a minor unit, which are never rounded.
    fn thousandths(&self, units: u64) -> Option<i128> {
        let beyond = Units::new(units).saturating_sub(self.included);
        let overage = match &self.tiers {
            Some(rate) => rate.thousandths(beyond),
            None if beyond == Units::ZERO => 0,
            None => return None,
        };
        // Fewer than 2^53 units at less than 2^64 each, and 2^74 beside them, stay far below 2^127.
        i128::try_from(u128::from(self.base_fee).saturating_mul(1_000).saturating_add(overage)).ok()
    }

    /// From which units on the price of one more may be another, or there is none.
    fn bends(&self) -> Vec<u64> {
        let tiers: Vec<Tier> = self.tiers.clone().map(Vec::from).unwrap_or_default();
        let bounds = tiers.into_iter().filter_map(|tier| tier.up_to);
        let ends = bounds.map(|bound| self.included.saturating_add(bound)).chain([self.included]);
        // The last unit of a tier ends the one line and begins the other, and the one after it may not be served at all.
        ends.flat_map(|end| [end.get(), end.get().saturating_add(1)]).collect()
    }
}

/// How a draft compares with what there is at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// So many units cost less on the draft.
    Cheaper,
    /// They cost the same.
    Same,
    /// They cost more on the draft.
    Dearer,
    /// At present they are not all served.
    Alone,
}

/// Units a month for which a draft compares in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Range {
    /// The fewest of them.
    pub from: Units,
    /// The most of them; `null` where there is no end.
    pub to: Option<Units>,
    /// How it compares.
    pub draft: Compared,
}

/// How a draft compares with an offer, whatever number of units a month has: ranges in rising order without a gap, each
/// different from its neighbours.
///
/// What a draft does not serve it is dearer for, or the same where the offer does not serve it either.
#[must_use]
pub fn ranges(draft: &Offer, present: &Offer) -> Vec<Range> {
    let beyond_all = Units::MAX.get().saturating_add(1);
    let mut bends: Vec<u64> = [draft.bends(), present.bends(), vec![0, beyond_all]].concat();
    bends.retain(|bend| *bend <= beyond_all);
    bends.sort_unstable();
    bends.dedup();
    let mut begun: Vec<(u64, Compared)> = Vec::new();
    for (from, end) in bends.iter().zip(bends.iter().skip(1)) {
        for (at, compared) in runs(draft, present, *from, *end) {
            if begun.last().is_none_or(|(_, before)| *before != compared) {
                begun.push((at, compared));
            }
        }
    }
    let ends = begun.iter().skip(1).map(|(next, _)| Some(Units::new(next.saturating_sub(1))));
    let ends: Vec<Option<Units>> = ends.chain([None]).collect();
    let range = |((from, draft), to)| Range { from: Units::new(from), to, draft };
    begun.into_iter().zip(ends).map(range).collect()
}

/// The runs of one comparison between two bends, `end` not included, by where they begin. There both prices are
/// straight lines, which cross once at most: where is found by one division.
fn runs(draft: &Offer, present: &Offer, from: u64, end: u64) -> Vec<(u64, Compared)> {
    let apart = |units: u64| {
        let (draft, present) = (draft.thousandths(units), present.thousandths(units));
        match (draft, present) {
            (Some(draft), Some(present)) => Ok(draft.saturating_sub(present)),
            (Some(_), None) => Err(Compared::Alone),
            (None, Some(_)) => Err(Compared::Dearer),
            (None, None) => Err(Compared::Same),
        }
    };
    let at_first = match apart(from) {
        Ok(apart) => apart,
        Err(compared) => return vec![(from, compared)],
    };
    let last = end.saturating_sub(1);
    let each = if last > from {
        apart(from.saturating_add(1)).map_or(0, |next| next.saturating_sub(at_first))
    } else {
        0
    };
    let mut all = vec![(from, compared(at_first))];
    let mut turn = |units: u64, to: i128| {
        if units <= last {
            all.push((units, compared(to)));
        }
    };
    if at_first == 0 {
        turn(from.saturating_add(1), each);
    } else if each != 0 && at_first.signum() != each.signum() {
        // After so many more units nothing is left of the difference, and after one more it has turned.
        let (whole, rest) = (
            at_first.unsigned_abs().div_euclid(each.unsigned_abs()),
            at_first.unsigned_abs().rem_euclid(each.unsigned_abs()),
        );
        let met = u64::try_from(whole).map_or(u64::MAX, |whole| from.saturating_add(whole));
        if rest == 0 {
            turn(met, 0);
        }
        turn(met.saturating_add(1), each);
    }
    all
}

/// What a difference of prices says.
fn compared(apart: i128) -> Compared {
    match apart.cmp(&0) {
        Ordering::Less => Compared::Cheaper,
        Ordering::Equal => Compared::Same,
        Ordering::Greater => Compared::Dearer,
    }
}

#[cfg(test)]
mod tests;
