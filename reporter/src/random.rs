//! Randomness from the operating system. Nothing else in this crate may draw any.

use shared::ids::Incarnation;
use shared::random::Stream;

/// The operating system gave no randomness; no life of a folder can be told from another without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct NoRandomness;

/// Names a new life of a data folder: 128 bits, so that no two are ever called the same.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn incarnation() -> Result<Incarnation, NoRandomness> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|_| NoRandomness)?;
    Incarnation::parse(&format!("{:032x}", u128::from_be_bytes(bits))).map_err(|_| NoRandomness)
}

/// A stream for jitter.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn jitter() -> Result<Stream, NoRandomness> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|_| NoRandomness)?;
    Ok(Stream::new(u64::from_be_bytes(seed)))
}
