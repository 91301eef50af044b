//! When holders report to a home whose rows many processes write: each has a turn of its own, so that they seldom come
//! before each other.

use crate::lease::math::mul_div;
use crate::time::Timestamp;

/// In so long every holder has a turn, in milliseconds: the shortest time between two reports of one.
const ROUND_MS: u64 = 500;

/// After how long a holder reports that was to report after `report_ms`: at that of its turns which is nearest. It is at
/// that place among so many holders.
pub(super) fn turn_ms(now: Timestamp, report_ms: u64, (place, holders): (u64, u64)) -> u64 {
    let turn = mul_div(ROUND_MS, place, holders);
    let earliest = now.plus_ms(report_ms.saturating_sub(ROUND_MS.div_euclid(2)));
    let passed = earliest.as_ms().rem_euclid(ROUND_MS);
    let until = turn.saturating_add(ROUND_MS).saturating_sub(passed).rem_euclid(ROUND_MS);
    earliest.plus_ms(until).ms_since(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_report_one_after_the_other_and_about_when_they_were_to() {
        let turns = [(0, 4), (1, 4), (2, 4), (3, 4)];
        for (at, report_ms) in [(10_000, 500), (10_003, 880), (10_499, 3_000), (10_250, 8_000)] {
            let now = Timestamp::from_ms(at);
            for (place, holders) in turns {
                let after = turn_ms(now, report_ms, (place, holders));
                assert!(after.abs_diff(report_ms) <= ROUND_MS.div_euclid(2), "{at}: {report_ms}: {after}");
                assert_eq!((at + after).rem_euclid(ROUND_MS), place * 125, "{at}: {report_ms}");
            }
        }
        assert_eq!(turn_ms(Timestamp::from_ms(7), 500, (0, 0)), 493, "whoever is alone");
    }
}
