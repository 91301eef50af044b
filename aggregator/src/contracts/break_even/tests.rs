//! Where prices meet, to the unit.

use proptest::prelude::*;

use super::Compared::{Alone, Cheaper, Dearer, Same};
use super::*;

fn offer(base_fee: u64, included: u64, tiers: &[(Option<u64>, u64)]) -> Offer {
    let tier =
        |(up_to, per_1000): &(Option<u64>, u64)| Tier { up_to: up_to.map(Units::new), per_1000: *per_1000 };
    let tiers = (!tiers.is_empty()).then(|| Rate::tiered(tiers.iter().map(tier).collect()).unwrap());
    Offer { base_fee, included: Units::new(included), tiers }
}

/// The ranges as where each begins, after a look at where each ends.
fn begun(draft: &Offer, present: &Offer) -> Vec<(u64, Compared)> {
    let ranges = ranges(draft, present);
    assert_eq!(ranges.first().unwrap().from, Units::ZERO, "the first begins with nothing");
    assert_eq!(ranges.last().unwrap().to, None, "the last has no end");
    for pair in ranges.windows(2) {
        assert_eq!(pair[0].to.unwrap().get() + 1, pair[1].from.get(), "no gap: {ranges:?}");
        assert_ne!(pair[0].draft, pair[1].draft, "neighbours differ: {ranges:?}");
    }
    ranges.iter().map(|range| (range.from.get(), range.draft)).collect()
}

#[test]
fn where_a_draft_is_cheaper_is_told_to_the_unit() {
    // 49.00 a month, 10,000 units, then 6.00 per 1,000.
    let pro = offer(4_900, 10_000, &[(None, 600)]);
    let free = offer(0, 1_000, &[]);
    for (draft, present, expected) in [
        // 100.00 for 100,000: 51.00 more are 8,500 units of overage at 0.6 cents, where both cost the same.
        (offer(10_000, 100_000, &[(None, 100)]), &pro, vec![(0, Dearer), (18_500, Same), (18_501, Cheaper)]),
        // Without a base fee, and at twice the rate from half of the quota on: cheaper up to some number only. 49.00 are
        // 4,083.3 units at 1.2 cents.
        (offer(0, 5_000, &[(None, 1_200)]), &pro, vec![(0, Cheaper), (9_084, Dearer)]),
        // As dear as the plan to its quota and then at half of its rate.
        (offer(4_900, 10_000, &[(None, 300)]), &pro, vec![(0, Same), (10_001, Cheaper)]),
        // The same.
        (pro.clone(), &pro, vec![(0, Same)]),
        // A cent less for ever, or until a hundredth of a cent more for each unit has taken it.
        (offer(4_899, 10_000, &[(None, 600)]), &pro, vec![(0, Cheaper)]),
        (offer(4_899, 10_000, &[(None, 601)]), &pro, vec![(0, Cheaper), (11_000, Same), (11_001, Dearer)]),
        // Cheaper for a while from 18,501 on, dearer in its first tier: at 0.9 cents from 20,000 on the 9.00 that it was
        // ahead are gone after 3,000 units, and half of the rate beyond 70,000 makes up for 141.00 within 47,000 more.
        (
            offer(10_000, 20_000, &[(Some(50_000), 900), (None, 300)]),
            &pro,
            vec![
                (0, Dearer),
                (18_500, Same),
                (18_501, Cheaper),
                (23_000, Same),
                (23_001, Dearer),
                (117_000, Same),
                (117_001, Cheaper),
            ],
        ),
        // What the present plan does not serve, the draft does alone.
        (offer(10_000, 100_000, &[(None, 100)]), &free, vec![(0, Dearer), (1_001, Alone)]),
        (
            offer(0, 0, &[(None, 1)]),
            &offer(1, 5_000, &[]),
            vec![(0, Cheaper), (1_000, Same), (1_001, Dearer), (5_001, Alone)],
        ),
        // And what the draft does not, it has no price for.
        (free.clone(), &pro, vec![(0, Cheaper), (1_001, Dearer)]),
        (free.clone(), &offer(0, 2_000, &[]), vec![(0, Same), (1_001, Dearer), (2_001, Same)]),
    ] {
        assert_eq!(begun(&draft, present), expected, "{draft:?} {present:?}");
    }
}

#[test]
fn the_largest_terms_are_compared_without_overflow() {
    let most = Units::MAX.get();
    let dear = offer(most, 0, &[(None, most)]);
    assert_eq!(begun(&dear, &offer(most, 0, &[(None, most)])), [(0, Same)]);
    assert_eq!(begun(&dear, &offer(0, most, &[(None, most)])), [(0, Dearer)]);
    // One unit in thousandths less than the largest fixed sum: they meet at the last unit.
    let meets = offer(0, 0, &[(Some(most - 1), 1_000), (None, 1)]);
    assert_eq!(begun(&meets, &offer(most, 0, &[(None, 0)])), [(0, Cheaper)]);
    let meets = offer(0, 0, &[(None, 1_000)]);
    assert_eq!(begun(&meets, &offer(most, 0, &[(None, 0)])), [(0, Cheaper), (most, Same)]);
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

/// So many units are tried one by one; beyond them all curves of [`an_offer`] have only their last tier.
const TRIED: u64 = 600;

prop_compose! {
    /// Small numbers, so that curves meet often, and on a unit as often as between two.
    fn an_offer()(
        base_fee in 0_u64..40,
        included in 0_u64..80,
        widths in prop::collection::vec((1_u64..40, 0_u64..6), 0..4),
        last in 0_u64..6,
        is_open in prop::bool::weighted(0.8),
    ) -> Offer {
        let mut bound = 0;
        let mut tiers = Vec::new();
        for (width, rate) in widths {
            bound += width;
            tiers.push((Some(bound), rate * 250));
        }
        tiers.push((None, last * 250));
        if !is_open {
            tiers.clear();
        }
        offer(base_fee, included, &tiers)
    }
}

/// The comparison of one number, by the prices alone.
fn tried(draft: &Offer, present: &Offer, units: u64) -> Compared {
    match (draft.thousandths(units), present.thousandths(units)) {
        (Some(draft), Some(present)) if draft < present => Cheaper,
        (Some(draft), Some(present)) if draft == present => Same,
        (None, None) => Same,
        (Some(_), None) => Alone,
        (Some(_) | None, Some(_)) => Dearer,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ranges_are_what_trying_every_number_finds(draft in an_offer(), present in an_offer()) {
        let begun = begun(&draft, &present);
        let told = |units: u64| begun.iter().rfind(|(from, _)| *from <= units).unwrap().1;
        for units in 0..=TRIED {
            prop_assert_eq!(told(units), tried(&draft, &present, units), "{} {:?}", units, &begun);
        }
        // Where a range begins further out, what is before and what is there are tried too.
        for (from, _) in begun.iter().filter(|(from, _)| *from > TRIED) {
            for units in [from - 1, *from, from + 1] {
                prop_assert_eq!(told(units), tried(&draft, &present, units), "{} {:?}", units, &begun);
            }
        }
        prop_assert_eq!(told(Units::MAX.get()), tried(&draft, &present, Units::MAX.get()));
    }
}
