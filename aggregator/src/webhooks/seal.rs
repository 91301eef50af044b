//! Secrets at rest: sealed with XChaCha20-Poly1305 under a key that is not in the database.
//!
//! A sealed secret names its key, so that keys rotate; it is bound to its endpoint, so that nobody who writes to
//! the database can move it to another.

use std::collections::BTreeMap;
use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use shared::key::KeySecrets;

use super::sign::{SECRET_BYTES, Secret};

/// What keys that follow from the secrets of project keys are derived for.
const LABEL: &str = "palveron webhook secrets";

/// Random for each sealing: with 192 bits none ever comes twice.
pub const NONCE_BYTES: usize = 24;

/// The keys that secrets are sealed with: the newest seals, every one opens.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKeys(BTreeMap<String, [u8; 32]>, String);

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// A sealed secret, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which key opens it.
    pub key: String,
    /// The nonce and what was sealed.
    pub bytes: Vec<u8>,
}

impl SealKeys {
    /// Keys from `METER_SECRET_KEY` (`1:<hex>,2:<hex>`, the highest version seals) and, for what was sealed before
    /// there was one, keys that follow from the secrets of project keys.
    #[must_use]
    pub fn new(own: Option<&KeySecrets>, project_keys: &KeySecrets) -> Self {
        let derived = |prefix: &'static str, secrets: &KeySecrets| {
            secrets.derive(LABEL).into_iter().map(move |(version, key)| (format!("{prefix}{version}"), key))
        };
        let fallback: Vec<_> = derived("k", project_keys).collect();
        let chosen: Vec<_> = own.map(|own| derived("s", own).collect()).unwrap_or_default();
        let newest = chosen.last().or(fallback.last()).map(|(id, _)| id.clone()).unwrap_or_default();
        Self(fallback.into_iter().chain(chosen).collect(), newest)
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn newest(&self) -> &str {
        &self.1
    }

    /// Seals a secret of an endpoint; `None` where there is no key.
    #[must_use]
    pub fn seal(&self, secret: &Secret, endpoint: &str, nonce: [u8; NONCE_BYTES]) -> Option<Sealed> {
        let cipher = XChaCha20Poly1305::new(self.0.get(&self.1)?.into());
        let payload = Payload { msg: secret.as_bytes(), aad: endpoint.as_bytes() };
        let sealed = cipher.encrypt(&XNonce::from(nonce), payload).ok()?;
        Some(Sealed { key: self.1.clone(), bytes: [&nonce[..], &sealed].concat() })
    }

    /// Opens a sealed secret of an endpoint; `None` where its key is not here or it was tampered with.
    #[must_use]
    pub fn open(&self, sealed: &Sealed, endpoint: &str) -> Option<Secret> {
        let cipher = XChaCha20Poly1305::new(self.0.get(&sealed.key)?.into());
        let (nonce, msg) = sealed.bytes.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg, aad: endpoint.as_bytes() };
        let opened = cipher.decrypt(&XNonce::from(*nonce), payload).ok()?;
        Some(Secret::new(<[u8; SECRET_BYTES]>::try_from(opened).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(text: &str) -> KeySecrets {
        KeySecrets::parse(text).unwrap()
    }

    #[test]
    fn what_is_sealed_is_opened_by_its_key_for_its_endpoint_only() {
        let (one, two) = (format!("1:{}", "ab".repeat(32)), format!("2:{}", "cd".repeat(32)));
        let before = SealKeys::new(None, &secrets(&one));
        let secret = Secret::new([7; 32]);
        let sealed = before.seal(&secret, "wh_a", [1; NONCE_BYTES]).unwrap();
        assert_eq!(sealed.key, "k1");
        assert!(!sealed.bytes.windows(4).any(|bytes| bytes == [7; 4]), "it is there in the clear");
        assert_eq!(before.open(&sealed, "wh_a"), Some(secret.clone()));
        assert_eq!(before.open(&sealed, "wh_b"), None);
        let mut tampered = sealed.clone();
        tampered.bytes[30] ^= 1;
        assert_eq!(before.open(&tampered, "wh_a"), None);
        assert_eq!(before.open(&Sealed { bytes: vec![0; 5], ..sealed.clone() }, "wh_a"), None);
        // A key of its own comes to it later; what was sealed before still opens.
        let after = SealKeys::new(Some(&secrets(&format!("{one},{two}"))), &secrets(&one));
        assert_eq!((after.newest(), after.open(&sealed, "wh_a")), ("s2", Some(secret.clone())));
        assert_eq!(after.seal(&secret, "wh_a", [1; NONCE_BYTES]).unwrap().key, "s2");
        // The secrets of project keys were rotated without it.
        assert_eq!(SealKeys::new(None, &secrets(&two)).open(&sealed, "wh_a"), None);
        assert!(SealKeys::new(None, &KeySecrets::none()).seal(&secret, "wh_a", [1; NONCE_BYTES]).is_none());
        assert_eq!(format!("{after:?}"), r#"["k1", "s1", "s2"]"#);
    }
}
