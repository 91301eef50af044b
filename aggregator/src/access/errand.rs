//! A sign-in that is on its way: one browser left for the identity provider and may come back, once and soon.
//!
//! All that it needs follows from one secret in a cookie of that browser. Nothing is kept of it here until it has
//! succeeded, so that nobody can fill the books by beginning.

use shared::time::Timestamp;
use shared::whole::whole;

use super::session::{Purpose, SecretText};
use crate::random::NoRandomness;

/// How long somebody may be away: the time to type a password, find a telephone and approve there.
pub const ERRAND_MS_MAX: u64 = 15 * 60 * 1_000;

/// One sign-in on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    secret: SecretText,
    began: Timestamp,
}

impl Errand {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn begin(now: Timestamp) -> Result<Self, NoRandomness> {
        Ok(Self { secret: SecretText::generate(Purpose::Errand)?, began: now })
    }

    /// The one that this browser began and this state names, unless it took too long; `None` where they do not fit.
    #[must_use]
    pub fn back(secret: SecretText, state: &str, now: Timestamp) -> Option<Self> {
        let (began, mac) = state.split_once('.')?;
        let errand = Self { secret, began: Timestamp::from_ms(whole(began)?) };
        let is_own = errand.secret.is_derived(&errand.label("state"), mac);
        let is_soon = errand.began <= now && now.ms_since(errand.began) < ERRAND_MS_MAX;
        (is_own && is_soon).then_some(errand)
    }

    /// The secret, for the browser's cookie.
    #[must_use]
    pub fn secret(&self) -> &SecretText {
        &self.secret
    }

    /// What comes back with the browser, so that no other can finish what this one began.
    #[must_use]
    pub fn state(&self) -> String {
        format!("{}.{}", self.began.as_ms(), self.secret.derived(&self.label("state")))
    }

    /// What the provider writes into its token, so that a token of another sign-in does not fit.
    #[must_use]
    pub fn nonce(&self) -> String {
        self.secret.derived(&self.label("nonce"))
    }

    /// What proves to the provider that whoever has the code also began (RFC 7636).
    #[must_use]
    pub fn verifier(&self) -> String {
        self.secret.derived(&self.label("verifier"))
    }

    fn label(&self, use_: &str) -> String {
        format!("{use_}\0{}", self.began.as_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errand_comes_back_to_its_own_browser_and_soon() {
        let start = Timestamp::from_ms(1_000_000_000_000);
        let errand = Errand::begin(start).unwrap();
        let other = Errand::begin(start).unwrap();
        let state = errand.state();
        let back = |secret: &Errand, state: &str, ms: u64| {
            Errand::back(secret.secret().clone(), state, Timestamp::from_ms(ms))
        };
        let began = start.as_ms();
        assert_eq!(back(&errand, &state, began), Some(errand.clone()));
        assert_eq!(back(&errand, &state, began + ERRAND_MS_MAX - 1), Some(errand.clone()));
        for (secret, state, ms) in [
            (&other, state.clone(), began),
            (&errand, state.clone(), began + ERRAND_MS_MAX),
            (&errand, state.clone(), began - 1),
            (&errand, state.replacen("1000", "1001", 1), began + 1_000_000_000),
            (&errand, other.state(), began),
            (&errand, String::new(), began),
            (&errand, ".".to_owned(), began),
            (&errand, format!("{began}."), began),
        ] {
            assert_eq!(back(secret, &state, ms), None, "{state} at {ms}");
        }
    }

    #[test]
    fn what_is_shown_of_an_errand_tells_nothing_else_of_it() {
        let errand = Errand::begin(Timestamp::from_ms(1)).unwrap();
        let (nonce, verifier) = (errand.nonce(), errand.verifier());
        assert!(nonce != verifier && !errand.state().contains(&nonce) && !errand.state().contains(&verifier));
        // RFC 7636 §4.1 wants 43 to 128 characters.
        assert_eq!((nonce.len(), verifier.len()), (64, 64));
    }
}
