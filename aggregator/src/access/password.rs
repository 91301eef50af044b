//! Passwords, hashed by Argon2id with the library's parameters, which are OWASP's: 19 MiB, two passes, one lane.
//!
//! Hashing takes tens of milliseconds of a processor: callers must not do it where others wait.

use std::sync::OnceLock;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};

use crate::random::{self, NoRandomness};

/// 128 bits (RFC 9106 §3.1).
const SALT_BYTES: usize = 16;

/// What to store of a password.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn hash(password: &str) -> Result<String, NoRandomness> {
    let salt = random::bytes::<SALT_BYTES>()?;
    // It refuses only parameters that these are not.
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|_| NoRandomness)
}

/// Whether that is the password; takes as long where nothing is stored, so that nobody learns what there is.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn is_password(stored: Option<&str>, password: &str) -> Result<bool, NoRandomness> {
    static NOBODYS: OnceLock<String> = OnceLock::new();
    let nobodys = match NOBODYS.get() {
        Some(hash) => hash,
        None => {
            let made = hash(&base16ct::lower::encode_string(&random::bytes::<SALT_BYTES>()?))?;
            NOBODYS.get_or_init(|| made)
        }
    };
    let Ok(parsed) = PasswordHash::new(stored.unwrap_or(nobodys)) else { return Ok(false) };
    let is_right = Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok();
    Ok(is_right && stored.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_again_and_nothing_else() {
        let stored = hash("correct horse battery").unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_ne!(hash("correct horse battery").unwrap(), stored, "each has a salt of its own");
        assert!(is_password(Some(&stored), "correct horse battery").unwrap());
        for (stored, password) in [
            (Some(&*stored), "correct horse battery "),
            (Some(&*stored), ""),
            (None, "correct horse battery"),
            (Some("no hash"), "correct horse battery"),
        ] {
            assert!(!is_password(stored, password).unwrap(), "{stored:?} {password:?}");
        }
    }
}
