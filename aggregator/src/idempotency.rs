//! Idempotency: a caller names a call, and the same call again is answered the same and changes nothing.
//!
//! A name counts for one credential, so no tenant can meet another's. The answer is kept sealed under a key
//! that only that credential gives: answers carry secrets that are shown once, and a copy of the database
//! must not be able to show them again. Nothing here may be stored but [`Once::id`], [`Once::request`] and
//! what [`Once::seal`] gives.
//!
//! A handler takes part with two lines (see `http/call.rs`): `let mut change = call.begin(&app).await?;`
//! before it writes, and `change.answer(status, &body).await` instead of committing. What is written in
//! between, the name and the answer are one transaction; a call that is refused leaves no trace and may be
//! sent again.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::random::{self, NoRandomness};

/// The longest name of a call.
pub const KEY_CHARS_MAX: usize = 255;

/// How long a name is remembered: longer than anybody retries.
pub const REMEMBERED_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

/// The size of a ChaCha20-Poly1305 nonce (RFC 8439).
const NONCE_BYTES: usize = 12;

/// A call that is to take effect once.
#[derive(Clone)]
pub struct Once {
    id: [u8; 32],
    request: [u8; 32],
    seal: [u8; 32],
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Once(…)")
    }
}

/// What a call was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body.
    pub body: String,
}

/// Whether a text may name a call.
#[must_use]
pub fn is_key(text: &str) -> bool {
    (1..=KEY_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Once {
    /// The call that `credential` names `key`. `target` is what is called (method and path) and `body` what
    /// is sent: another of either is another call.
    #[must_use]
    pub fn new(credential: &str, key: &str, target: &str, body: &[u8]) -> Self {
        let request = Sha256::new().chain_update(target).chain_update([0]).chain_update(body);
        Self {
            id: derive(credential, "call", key),
            request: request.finalize().into(),
            seal: derive(credential, "answer", key),
        }
    }

    /// What the call is looked up by.
    #[must_use]
    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// The hash of what was called and sent.
    #[must_use]
    pub fn request(&self) -> &[u8; 32] {
        &self.request
    }

    /// Seals an answer for storage.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn seal(&self, answer: &FirstAnswer) -> Result<Vec<u8>, NoRandomness> {
        let nonce = random::bytes::<NONCE_BYTES>()?;
        let plain = [&answer.status.to_be_bytes()[..], answer.body.as_bytes()].concat();
        let payload = Payload { msg: &plain, aad: &self.id };
        // It fails only for a body of 256 GiB.
        let sealed = self.cipher().encrypt(&Nonce::from(nonce), payload).map_err(|_| NoRandomness)?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Opens a stored answer; `None` where somebody changed it.
    #[must_use]
    pub fn open(&self, stored: &[u8]) -> Option<FirstAnswer> {
        let (nonce, sealed) = stored.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: &self.id };
        let plain = self.cipher().decrypt(&Nonce::from(*nonce), payload).ok()?;
        let (status, body) = plain.split_first_chunk::<2>()?;
        Some(FirstAnswer {
            status: u16::from_be_bytes(*status),
            body: String::from_utf8(body.to_vec()).ok()?,
        })
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(&Key::from(self.seal))
    }
}

fn derive(credential: &str, purpose: &str, key: &str) -> [u8; 32] {
    // A credential of any length keys an HMAC.
    let Ok(mac) = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(credential.as_bytes()) else {
        return Sha256::digest(credential).into();
    };
    mac.chain_update(purpose).chain_update([0]).chain_update(key).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_belongs_to_its_credential_and_a_call_to_its_target_and_body() {
        let one = Once::new("Bearer pat_1", "k", "POST /a", b"{}");
        let same = Once::new("Bearer pat_1", "k", "POST /a", b"{}");
        assert_eq!((one.id(), one.request()), (same.id(), same.request()));
        for other in [
            Once::new("Bearer pat_2", "k", "POST /a", b"{}"),
            Once::new("Bearer pat_1", "K", "POST /a", b"{}"),
        ] {
            assert_ne!(one.id(), other.id());
        }
        for other in [
            Once::new("Bearer pat_1", "k", "POST /b", b"{}"),
            Once::new("Bearer pat_1", "k", "POST /a", b"{ }"),
        ] {
            assert_eq!(one.id(), other.id());
            assert_ne!(one.request(), other.request());
        }
    }

    #[test]
    fn only_the_same_credential_opens_an_answer() {
        let once = Once::new("Bearer pat_1", "k", "POST /a", b"{}");
        let answer = FirstAnswer { status: 201, body: r#"{"token":"pat_secret"}"#.to_owned() };
        let stored = once.seal(&answer).unwrap();
        assert_eq!(once.open(&stored), Some(answer.clone()));
        assert!(!stored.windows(6).any(|window| window == b"secret"));
        assert_ne!(once.seal(&answer).unwrap(), stored, "each sealing has a nonce of its own");
        assert_eq!(Once::new("Bearer pat_2", "k", "POST /a", b"{}").open(&stored), None);
        for at in 0..stored.len() {
            let mut touched = stored.clone();
            touched[at] ^= 1;
            assert_eq!(once.open(&touched), None, "byte {at}");
        }
        assert_eq!(once.open(&[]), None);
    }

    #[test]
    fn names_are_visible_ascii() {
        for (text, accepted) in [("a", true), ("4f1e-…", false), ("", false), ("a b", false), ("!~", true)]
        {
            assert_eq!(is_key(text), accepted, "{text:?}");
        }
        assert!(is_key(&"k".repeat(255)) && !is_key(&"k".repeat(256)));
    }
}
