//! Randomness from the operating system. Nothing else in this crate may draw any.

/// The operating system gave no randomness; no process can be told from another without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct NoRandomness;

/// Four words that name this process, and that no other ever had.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn words() -> Result<[u32; 4], NoRandomness> {
    let mut words = [0; 4];
    for word in &mut words {
        *word = getrandom::u32().map_err(|_| NoRandomness)?;
    }
    Ok(words)
}
