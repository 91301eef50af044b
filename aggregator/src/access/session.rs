//! Sessions of people who signed in, and the one-time secrets that begin them.
//!
//! A secret's text goes to one browser, or into one address, once. Only its SHA-256 may be stored, and neither is logged.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use shared::time::Timestamp;

use crate::random::{self, NoRandomness};

/// How long a session lasts at most: a day's work.
pub const SESSION_MS_MAX: u64 = 12 * 60 * 60 * 1_000;

/// How long a session lasts without a call.
pub const IDLE_MS_MAX: u64 = 60 * 60 * 1_000;

/// How often the time of the last call is written: often enough for [`IDLE_MS_MAX`], and no write for each call.
pub const SEEN_MS: u64 = 60 * 1_000;

/// How long a sign-in link is accepted.
pub const LINK_MS_MAX: u64 = 60 * 60 * 1_000;

/// How long an invitation is accepted.
pub const INVITATION_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1_000;

/// For what a page proves that it is ours by.
const CSRF: &str = "csrf";

/// 256 bits.
const SECRET_BYTES: usize = 32;

/// What a secret is for; its text begins with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A session, in a cookie.
    Session,
    /// A link that signs in.
    Link,
    /// An invitation to a project.
    Invitation,
    /// A sign-in that is on its way by an identity provider, in a cookie.
    Errand,
}

impl Purpose {
    fn prefix(self) -> &'static str {
        match self {
            Self::Session => "mss_",
            Self::Link => "mlk_",
            Self::Invitation => "min_",
            Self::Errand => "mse_",
        }
    }
}

/// A secret's text; it has no `Debug` that shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

/// What is stored of a secret, and what it is looked up by.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

impl SecretText {
    /// A new secret.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate(purpose: Purpose) -> Result<Self, NoRandomness> {
        let secret = random::bytes::<SECRET_BYTES>()?;
        Ok(Self(format!("{}{}", purpose.prefix(), base16ct::lower::encode_string(&secret))))
    }

    /// What somebody sent, or `None` if no secret of ours for that looks like it.
    #[must_use]
    pub fn parse(purpose: Purpose, text: &str) -> Option<Self> {
        let hex = text.strip_prefix(purpose.prefix())?;
        let is_hex = hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        // Two hex digits for each byte.
        (is_hex && hex.len() == 2 * SECRET_BYTES).then(|| Self(text.to_owned()))
    }

    /// The text, for the one answer that shows it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What to store of it.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0.as_bytes()).into())
    }

    /// What a page of ours sends with every call that changes something. It follows from the secret, which other
    /// sites cannot read, and does not tell it.
    #[must_use]
    pub fn csrf(&self) -> String {
        self.derived(CSRF)
    }

    /// What follows from the secret for one use, as 64 hex digits: it tells neither the secret nor what follows from it
    /// for another use.
    #[must_use]
    pub fn derived(&self, label: &str) -> String {
        let mac = self.mac(label);
        mac.map(|mac| base16ct::lower::encode_string(&mac.finalize().into_bytes())).unwrap_or_default()
    }

    /// Whether that is what follows from the secret; takes the same time whatever was sent.
    #[must_use]
    pub fn is_derived(&self, label: &str, sent: &str) -> bool {
        let Ok(sent) = base16ct::lower::decode_vec(sent) else { return false };
        self.mac(label).is_some_and(|mac| mac.verify_slice(&sent).is_ok())
    }

    /// Whether a call was sent by a page of ours; takes the same time whatever was sent.
    #[must_use]
    pub fn is_csrf(&self, sent: &str) -> bool {
        self.is_derived(CSRF, sent)
    }

    fn mac(&self, label: &str) -> Option<Hmac<Sha256>> {
        // A key of any length is accepted.
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(self.0.as_bytes()).ok()?;
        Some(mac.chain_update(label))
    }
}

impl SecretHash {
    /// The hash's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// How somebody signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// By a password.
    Password,
    /// By a link that somebody with access to the books made.
    Link,
    /// By accepting an invitation.
    Invitation,
    /// By an identity provider, which has proven who it is.
    Provider,
}

impl Begun {
    const ALL: [Self; 4] = [Self::Password, Self::Link, Self::Invitation, Self::Provider];

    /// The way in one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Link => "link",
            Self::Invitation => "invitation",
            Self::Provider => "provider",
        }
    }

    /// The way of that word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.as_str() == text)
    }
}

/// When a session began and was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When somebody signed in.
    pub began: Timestamp,
    /// The last call, or up to [`SEEN_MS`] before it.
    pub seen: Timestamp,
}

impl Times {
    /// When it ends, whatever happens.
    #[must_use]
    pub fn expires(self) -> Timestamp {
        self.began.plus_ms(SESSION_MS_MAX)
    }

    /// When it ends unless there is another call.
    #[must_use]
    pub fn idle_ends(self) -> Timestamp {
        self.seen.plus_ms(IDLE_MS_MAX).min(self.expires())
    }

    /// Whether it goes on.
    #[must_use]
    pub fn is_alive(self, now: Timestamp) -> bool {
        now < self.idle_ends()
    }

    /// Whether the time of this call has to be written.
    #[must_use]
    pub fn is_stale(self, now: Timestamp) -> bool {
        now.ms_since(self.seen) >= SEEN_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_for_one_purpose_and_never_shown() {
        let secret = SecretText::generate(Purpose::Link).unwrap();
        assert_eq!(SecretText::parse(Purpose::Link, secret.expose()), Some(secret.clone()));
        assert_eq!(SecretText::parse(Purpose::Session, secret.expose()), None);
        let text = secret.expose();
        for garbled in ["", "mlk_", &text[1..], &text[..67], &format!("{text}0"), &text.to_uppercase()] {
            assert_eq!(SecretText::parse(Purpose::Link, garbled), None, "{garbled:?}");
        }
        assert_eq!(format!("{secret:?} {:?}", secret.hash()), "SecretText(…) SecretHash(…)");
        assert_ne!(SecretText::generate(Purpose::Link).unwrap().hash(), secret.hash());
    }

    #[test]
    fn what_a_page_sends_follows_from_its_session_alone() {
        let one = SecretText::generate(Purpose::Session).unwrap();
        let other = SecretText::generate(Purpose::Session).unwrap();
        let csrf = one.csrf();
        assert_eq!(csrf.len(), 64);
        assert!(one.is_csrf(&csrf) && !other.is_csrf(&csrf));
        for wrong in ["", &csrf[..62], &csrf.to_uppercase(), one.expose()] {
            // Digits alone are the same in capitals; a hash without a letter is not to be expected.
            assert!(!one.is_csrf(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_session_ends_after_an_hour_of_nothing_and_after_twelve_hours_at_last() {
        let began = Timestamp::from_ms(1_000_000_000_000);
        let at = |seen: u64| Times { began, seen: began.plus_ms(seen) };
        for (seen, now, alive) in [
            (0, 0, true),
            (0, IDLE_MS_MAX - 1, true),
            (0, IDLE_MS_MAX, false),
            (IDLE_MS_MAX - 1, IDLE_MS_MAX, true),
            (SESSION_MS_MAX - 10, SESSION_MS_MAX - 1, true),
            (SESSION_MS_MAX - 10, SESSION_MS_MAX, false),
        ] {
            assert_eq!(at(seen).is_alive(began.plus_ms(now)), alive, "seen {seen}, now {now}");
        }
        assert!(!at(0).is_stale(began.plus_ms(SEEN_MS - 1)) && at(0).is_stale(began.plus_ms(SEEN_MS)));
        assert_eq!(at(SESSION_MS_MAX - 10).idle_ends(), at(0).expires());
    }
}
