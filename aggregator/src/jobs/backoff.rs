//! How long a job waits before it tries again what failed.

use std::ops::RangeInclusive;

/// The wait after that many failures before this one: it doubles, from the first wait to the longest.
pub(super) fn backoff_ms(waits: &RangeInclusive<u64>, failures: u32) -> u64 {
    let doubled = 2_u64.checked_pow(failures).and_then(|factor| waits.start().checked_mul(factor));
    doubled.map_or(*waits.end(), |ms| ms.min(*waits.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_from_the_first_to_the_longest() {
        let waits = 250..=30_000;
        let all: Vec<u64> = (0..9).map(|failures| backoff_ms(&waits, failures)).collect();
        assert_eq!(all, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(backoff_ms(&waits, u32::MAX), 30_000);
        assert_eq!(backoff_ms(&(u64::MAX..=u64::MAX), 1), u64::MAX);
    }
}
