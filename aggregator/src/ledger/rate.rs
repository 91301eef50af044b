//! Rating: units beyond the quota become money.
//!
//! A price is computed from a total and rounded once, half up; it must never be the sum of rounded
//! parts, or a split month would cost more than a whole one (design §5: "overage = round-half-up(units
//! × rate / 1,000) minor units").

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::units::Units;

/// The rate of the units up to a bound, counted from the first unit of overage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tier {
    /// The last unit at this rate; `None` for the last tier.
    pub up_to: Option<Units>,
    /// Minor units per 1,000 units (seed: "the overage rate (per 1,000 requests)").
    pub per_1000: u64,
}

/// An overage rate: one tier on self-service plans, several where a contract says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<Tier>", into = "Vec<Tier>")]
pub struct Rate(Vec<Tier>);

const UNITS_PER_RATE: u128 = 1_000;

impl Rate {
    /// The most tiers of a contract; each is walked for every price.
    pub const TIERS_MAX: usize = 32;

    /// One rate for all units.
    #[must_use]
    pub fn flat(per_1000: u64) -> Self {
        Self(vec![Tier { up_to: None, per_1000 }])
    }

    /// Minor units per 1,000 units, where all units cost the same.
    #[must_use]
    pub fn flat_per_1000(&self) -> Option<u64> {
        match self.0.as_slice() {
            [only] => Some(only.per_1000),
            _ => None,
        }
    }

    /// Graduated tiers: each unit costs the rate of the tier that it falls in.
    ///
    /// # Errors
    /// When there are none or too many, the bounds do not rise, or the last is bounded.
    pub fn tiered(tiers: Vec<Tier>) -> Result<Self, String> {
        if tiers.is_empty() || tiers.len() > Self::TIERS_MAX {
            return Err(format!("tiers: got {}, accepted are 1 to {}", tiers.len(), Self::TIERS_MAX));
        }
        let mut below = Units::ZERO;
        let last = tiers.len().saturating_sub(1);
        for (index, tier) in tiers.iter().enumerate() {
            match tier.up_to {
                None if index == last => {}
                Some(bound) if index < last && bound > below => below = bound,
                Some(_) | None => {
                    return Err("tiers: got bounds that do not rise to an open last tier, accepted are \
                                rising bounds with none on the last"
                        .to_owned());
                }
            }
        }
        Ok(Self(tiers))
    }

    /// The price of so many units of overage, in minor units, rounded half up once.
    ///
    /// It cannot overflow: fewer than 2^53 units at less than 2^64 stay below 2^117.
    #[must_use]
    pub fn price_minor(&self, units: Units) -> i128 {
        let rounded =
            self.thousandths(units).saturating_add(UNITS_PER_RATE.div_euclid(2)).div_euclid(UNITS_PER_RATE);
        i128::try_from(rounded).unwrap_or(i128::MAX)
    }

    /// The price in thousandths of a minor unit, as it is before it is rounded.
    #[must_use]
    pub fn thousandths(&self, units: Units) -> u128 {
        let exact = self.spans().map(|span| {
            let inside = units.get().min(span.end).saturating_sub(span.start);
            u128::from(inside).saturating_mul(u128::from(span.per_1000))
        });
        exact.fold(0, u128::saturating_add)
    }

    /// How many units a spending cap pays for: the floor of cap × 1,000 / rate (design §5), so that
    /// their price never exceeds the cap. `None` where a rate of zero makes the cap unreachable.
    #[must_use]
    pub fn units_within(&self, cap_minor: u64) -> Option<Units> {
        let mut left = u128::from(cap_minor).saturating_mul(UNITS_PER_RATE);
        let mut units: u64 = 0;
        for span in self.spans() {
            let width = span.end.saturating_sub(span.start);
            let Some(affordable) = left.checked_div(u128::from(span.per_1000)) else {
                if span.end == u64::MAX {
                    return None;
                }
                units = units.saturating_add(width);
                continue;
            };
            if affordable < u128::from(width) {
                units = units.saturating_add(u64::try_from(affordable).unwrap_or(u64::MAX));
                break;
            }
            units = units.saturating_add(width);
            left = left.saturating_sub(u128::from(width).saturating_mul(u128::from(span.per_1000)));
        }
        Some(Units::new(units))
    }

    fn spans(&self) -> impl Iterator<Item = Span> {
        let starts = std::iter::once(0).chain(self.0.iter().filter_map(|tier| tier.up_to).map(Units::get));
        self.0.iter().zip(starts).map(|(tier, start)| Span {
            start,
            end: tier.up_to.map_or(u64::MAX, Units::get),
            per_1000: tier.per_1000,
        })
    }
}

/// A tier as a half-open range of overage units.
struct Span {
    start: u64,
    end: u64,
    per_1000: u64,
}

impl TryFrom<Vec<Tier>> for Rate {
    type Error = String;
    fn try_from(tiers: Vec<Tier>) -> Result<Self, String> {
        Self::tiered(tiers)
    }
}

impl From<Rate> for Vec<Tier> {
    fn from(rate: Rate) -> Self {
        rate.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiers(rows: &[(Option<u64>, u64)]) -> Result<Rate, String> {
        let tier = |(up_to, per_1000): &(Option<u64>, u64)| Tier {
            up_to: up_to.map(Units::new),
            per_1000: *per_1000,
        };
        Rate::tiered(rows.iter().map(tier).collect())
    }

    #[test]
    fn prices_round_half_up_once() {
        // 600 per 1,000 is 0.6 a unit: 1 → 0.6 → 1, 2 → 1.2 → 1; 500 per 1,000: 1 → 0.5 → 1, 3 → 1.5 → 2.
        for (per_1000, units, minor) in [
            (600, 0, 0),
            (600, 1, 1),
            (600, 2, 1),
            (500, 1, 1),
            (500, 3, 2),
            (499, 1, 0),
            (400, 2_500, 1_000),
        ] {
            assert_eq!(Rate::flat(per_1000).price_minor(Units::new(units)), minor, "{units} at {per_1000}");
        }
        let most = Rate::flat(u64::MAX).price_minor(Units::MAX);
        assert!(most > 0, "the largest price is still a number: {most}");
    }

    #[test]
    fn a_cap_buys_whole_units_and_never_costs_more_than_itself() {
        // 1,000 × 1,000 / 600 = 1,666.67 → 1,666 units, which cost 999.6 → 1,000.
        for (cap, per_1000, units) in [(1_000, 600, 1_666), (0, 600, 0), (1, 600, 1), (1_000, 1, 1_000_000)] {
            let rate = Rate::flat(per_1000);
            assert_eq!(rate.units_within(cap), Some(Units::new(units)), "{cap} at {per_1000}");
            assert!(rate.price_minor(Units::new(units)) <= i128::from(cap));
        }
        assert_eq!(Rate::flat(0).units_within(5), None);
    }

    #[test]
    fn tiers_are_graduated() {
        // The first 1,000 at 600, the next 9,000 at 400, then 200.
        let rate = tiers(&[(Some(1_000), 600), (Some(10_000), 400), (None, 200)]).unwrap();
        for (units, minor) in [(1_000, 600), (1_001, 600), (2_000, 1_000), (10_000, 4_200), (11_000, 4_400)] {
            assert_eq!(rate.price_minor(Units::new(units)), minor, "{units}");
        }
        for (cap, units) in [(600, 1_000), (1_000, 2_000), (4_200, 10_000), (4_400, 11_000), (599, 998)] {
            assert_eq!(rate.units_within(cap), Some(Units::new(units)), "{cap}");
        }
        // Three units at 0.6 leave 0.2 of a cap of 2: that buys one more in the next tier.
        let narrow = tiers(&[(Some(3), 600), (None, 200)]).unwrap();
        assert_eq!(narrow.units_within(2), Some(Units::new(4)));
        // Tiers that cost nothing are passed.
        let free_first = tiers(&[(Some(100), 0), (None, 1_000)]).unwrap();
        assert_eq!(free_first.units_within(5), Some(Units::new(105)));
    }

    #[test]
    fn tiers_that_cannot_be_meant_are_refused() {
        for bad in [
            vec![],
            vec![(Some(5), 1)],
            vec![(None, 1), (None, 2)],
            vec![(Some(9), 1), (Some(9), 2), (None, 3)],
            vec![(Some(0), 1), (None, 3)],
        ] {
            assert!(tiers(&bad).is_err(), "{bad:?}");
        }
    }
}
