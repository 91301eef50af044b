//! Integer arithmetic of amounts: it rounds as its names say and is held at the ends of its range.

/// a × b. The worker's platform multiplies to 64 bits only, and what looks for an overflow is long: it is here once.
#[inline(never)]
pub(crate) fn times(a: u64, b: u64) -> u64 {
    a.saturating_mul(b)
}

/// floor(a × b ÷ c), or zero where `c` is zero.
pub(crate) fn mul_div(a: u64, b: u64, c: u64) -> u64 {
    divided(a, b, 0, c)
}

/// ceil(a × b ÷ c), or zero where `c` is zero.
pub(crate) fn mul_div_up(a: u64, b: u64, c: u64) -> u64 {
    divided(a, b, c.saturating_sub(1), c)
}

/// (a × b + c) ÷ d, rounded down, or zero where `d` is zero. The sum always fits.
#[inline(never)]
fn divided(a: u64, b: u64, c: u64, d: u64) -> u64 {
    let sum = u128::from(a).wrapping_mul(u128::from(b)).wrapping_add(u128::from(c));
    let (Ok(high), low) = (u64::try_from(sum >> 64), low(sum)) else { return u64::MAX };
    if high == 0 || d == 0 {
        return low.checked_div(d).unwrap_or(0);
    }
    if high >= d {
        return u64::MAX;
    }
    // Digit by digit, as on paper: dividing 128 bits in general is a kilobyte, and seldom needed.
    let (mut quotient, mut rest) = (0_u64, high);
    for digit in (0..64).rev() {
        let carried = rest >> 63 == 1;
        rest = rest << 1 | low >> digit & 1;
        quotient <<= 1;
        if carried || rest >= d {
            rest = rest.wrapping_sub(d);
            quotient |= 1;
        }
    }
    quotient
}

/// The lower half.
pub(crate) fn low(n: u128) -> u64 {
    u64::try_from(n & u128::from(u64::MAX)).unwrap_or(0)
}

/// What a rate in thousandths per second makes in `ms`, rounded up.
pub(crate) fn in_ms(rate_milli: u64, ms: u64) -> u64 {
    mul_div_up(rate_milli, ms, 1_000_000)
}

/// A rate that is measured as it goes: requests counted, folded in a few times a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Rate {
    milli: u64,
    recent: u64,
    since: crate::time::Timestamp,
}

impl Rate {
    /// How often counts become a rate, in milliseconds.
    const FOLD_MS: u64 = 100;
    /// The memory of the rate, in milliseconds: as long as the last counts took, within these bounds.
    const MEMORY_MS: (u64, u64) = (1_000, 8_000);
    /// How many counts make a rate.
    const COUNTS: u64 = 16;

    /// Counts `n` at `now`.
    pub(crate) fn count(&mut self, now: crate::time::Timestamp, n: u64) {
        let passed = now.ms_since(self.since);
        if passed >= Self::FOLD_MS {
            self.fold(now, passed);
        }
        self.recent = self.recent.saturating_add(n);
    }

    fn fold(&mut self, now: crate::time::Timestamp, passed: u64) {
        let fresh = mul_div(self.recent, 1_000_000, passed);
        let (least, most) = Self::MEMORY_MS;
        let memory = mul_div(Self::COUNTS, 1_000_000, self.milli.max(1)).clamp(least, most);
        self.milli = if self.milli == 0 && passed > least {
            // The first count after silence says nothing about a rate yet.
            0
        } else if self.milli == 0 {
            fresh
        } else {
            let old = mul_div(self.milli, memory, memory.saturating_add(passed));
            old.saturating_add(mul_div(fresh, passed, memory.saturating_add(passed)))
        };
        self.recent = 0;
        self.since = now;
    }

    /// Thousandths per second at `now`.
    pub(crate) fn milli(&mut self, now: crate::time::Timestamp) -> u64 {
        let passed = now.ms_since(self.since);
        if passed >= Self::FOLD_MS {
            self.fold(now, passed);
        }
        self.milli
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn what_is_divided_on_paper_is_what_128_bits_say() {
        let mut random = Stream::new(11);
        let mut number = || random.bits() >> random.between(0, 63);
        let ends = [0, 1, 2, u64::from(u32::MAX), 1 << 63, u64::MAX];
        let mut cases: Vec<[u64; 3]> = (0..20_000).map(|_| [number(), number(), number()]).collect();
        cases.extend(ends.iter().flat_map(|a| ends.map(|b| ends.map(|c| [*a, b, c]))).flatten());
        for [a, b, c] in cases {
            let (product, by) = (u128::from(a) * u128::from(b), u128::from(c));
            let held = |n: Option<u128>| n.map_or(0, |n| u64::try_from(n).unwrap_or(u64::MAX));
            assert_eq!(mul_div(a, b, c), held(product.checked_div(by)), "{a} × {b} ÷ {c}");
            let up = if by == 0 { None } else { Some(product.div_ceil(by)) };
            assert_eq!(mul_div_up(a, b, c), held(up), "{a} × {b} ÷ {c}, up");
        }
    }
}
