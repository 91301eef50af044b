//! Medians, percentiles and ratios, in whole numbers. It must never measure, and never drop a value.

/// A median over nothing, or a ratio to nothing, does not exist.
pub(crate) fn median(values: &[u64]) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let upper = sorted.len().div_euclid(2);
    let high = *sorted.get(upper)?;
    if !sorted.len().is_multiple_of(2) {
        return Some(high);
    }
    let low = *sorted.get(upper.checked_sub(1)?)?;
    // Half way between the two in the middle, rounded down.
    Some(low.saturating_add(high.saturating_sub(low).div_euclid(2)))
}

/// The smallest value that at least `per_mille` thousandths of all values do not exceed (nearest rank).
pub(crate) fn percentile(values: &[u64], per_mille: u64) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let count = u64::try_from(sorted.len()).ok()?;
    let rank = count.checked_mul(per_mille)?.div_ceil(1_000).max(1);
    sorted.get(usize::try_from(rank.checked_sub(1)?).ok()?).copied()
}

/// How many thousandths of `whole` are in `part`, rounded to the nearest.
pub(crate) fn ratio_milli(part: u64, whole: u64) -> Option<u64> {
    let (part, whole) = (u128::from(part), u128::from(whole));
    let doubled = part.checked_mul(2_000)?.checked_add(whole)?;
    u64::try_from(doubled.checked_div(whole.checked_mul(2)?)?).ok()
}

/// `total` shared out over `count`, rounded down.
pub(crate) fn per(total: u64, count: u64) -> Option<u64> {
    total.checked_div(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        for (values, expected) in [
            (&[][..], None),
            (&[7], Some(7)),
            (&[9, 1, 5], Some(5)),
            (&[4, 1, 9, 2], Some(3)),
            (&[2, 1], Some(1)),
            (&[u64::MAX, u64::MAX], Some(u64::MAX)),
        ] {
            assert_eq!(median(values), expected, "{values:?}");
        }
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let hundred: Vec<u64> = (1..=100).rev().collect();
        for (per_mille, expected) in [(0, 1), (10, 1), (500, 50), (990, 99), (991, 100), (1_000, 100)] {
            assert_eq!(percentile(&hundred, per_mille), Some(expected), "{per_mille}");
        }
        assert_eq!(percentile(&[3], 990), Some(3));
        assert_eq!(percentile(&[], 990), None);
    }

    #[test]
    fn ratios_are_rounded_thousandths() {
        for (part, whole, expected) in [
            (1, 0, None),
            (0, 5, Some(0)),
            (1, 3, Some(333)),
            (2, 3, Some(667)),
            (1, 2_000, Some(1)),
            (1, 2_001, Some(0)),
            (92, 20, Some(4_600)),
            (u64::MAX, u64::MAX, Some(1_000)),
            (u64::MAX, 1, None),
        ] {
            assert_eq!(ratio_milli(part, whole), expected, "{part} / {whole}");
        }
    }
}
