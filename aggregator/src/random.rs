//! Randomness from the operating system. Nothing else in this crate may draw any.

use shared::ids::KeyId;

/// The operating system gave no randomness; nothing secret can be made without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct NoRandomness;

/// Letters and digits that are not mistaken for one another; 32, so that each takes five bits evenly.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Fifty bits: ids that a human may have to compare, unique within one project.
const ID_CHARS: usize = 10;

/// That many random bytes.
///
/// # Errors
/// When the operating system gives none.
pub fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A short random name of lowercase letters and digits; it is a name, not a secret.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn id() -> Result<String, NoRandomness> {
    let name = bytes::<ID_CHARS>()?.into_iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 31)));
    Ok(name.map(|byte| char::from(*byte)).collect())
}

/// A new key's id.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn key_id() -> Result<KeyId, NoRandomness> {
    KeyId::parse(&id()?).map_err(|_| NoRandomness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_key_ids_and_differ() {
        let ids: std::collections::BTreeSet<_> = (0..100).map(|_| key_id().unwrap()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.as_str().len() == ID_CHARS));
    }
}
