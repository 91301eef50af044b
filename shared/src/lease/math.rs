//! Integer arithmetic of amounts: it rounds as its names say and is held at the ends of its range.

/// a × b.
pub(crate) fn times(a: u64, b: u64) -> u64 {
    a.saturating_mul(b)
}

/// floor(a × b ÷ c), or zero where `c` is zero.
pub(crate) fn mul_div(a: u64, b: u64, c: u64) -> u64 {
    held(product(a, b).checked_div(u128::from(c)))
}

/// ceil(a × b ÷ c), or zero where `c` is zero.
pub(crate) fn mul_div_up(a: u64, b: u64, c: u64) -> u64 {
    held((c > 0).then(|| product(a, b).div_ceil(u128::from(c))))
}

/// a × b, which always fits.
fn product(a: u64, b: u64) -> u128 {
    u128::from(a).saturating_mul(u128::from(b))
}

fn held(quotient: Option<u128>) -> u64 {
    quotient.map_or(0, |quotient| u64::try_from(quotient).unwrap_or(u64::MAX))
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

    #[test]
    fn quotients_are_rounded_as_named_and_held() {
        for (a, b, c, down, up) in [
            (7, 3, 2, 10, 11),
            (6, 3, 2, 9, 9),
            (0, 3, 2, 0, 0),
            (7, 3, 0, 0, 0),
            (u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX),
            (u64::MAX, 3, 2, u64::MAX, u64::MAX),
            (u64::MAX, 2, 3, 12_297_829_382_473_034_410, 12_297_829_382_473_034_410),
            (1 << 40, 1 << 40, (1 << 30) + 1, 1_125_899_905_794_048, 1_125_899_905_794_049),
        ] {
            assert_eq!((mul_div(a, b, c), mul_div_up(a, b, c)), (down, up), "{a} × {b} ÷ {c}");
        }
    }
}
