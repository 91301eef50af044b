//! Random moments for faults. They are told where they are used, because they cannot be replayed exactly.

use std::time::Duration;

use anyhow::{Context, Result};

/// A random duration between the two, both in milliseconds.
///
/// # Errors
/// When the system has no randomness.
pub fn between_ms(min: u64, max: u64) -> Result<Duration> {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).context("the system has no randomness")?;
    let width = max.saturating_sub(min).saturating_add(1);
    Ok(Duration::from_millis(min.saturating_add(u64::from_le_bytes(bytes).rem_euclid(width))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_moments_stay_between_their_ends() {
        for _ in 0..100 {
            assert!((5..=7).contains(&between_ms(5, 7).unwrap().as_millis()));
        }
    }
}
