//! Signatures of deliveries, as Standard Webhooks 1.0 has them, so that receivers verify with its libraries.
//!
//! `webhook-signature` carries one `v1,<base64>` for each secret in force: after a rotation the old one goes on
//! signing for a while, and a receiver may change over whenever it likes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use shared::time::Timestamp;

/// The header with the event's id.
pub const ID_HEADER: &str = "webhook-id";
/// The header with the attempt's time in seconds.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header with the signatures.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// How long a secret goes on signing after it was rotated away: a day for receivers to change over.
pub const OVERLAP_MS: u64 = 24 * 60 * 60 * 1_000;

/// 256 bits.
pub const SECRET_BYTES: usize = 32;

/// What deliveries to an endpoint are signed with; it has no `Debug` that shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; SECRET_BYTES]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// A secret of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be sealed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// `whsec_…`, for the one answer that shows it.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.0))
    }

    /// Reads `whsec_…`, as it was shown.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// `v1,<base64>` over id, time and body.
    fn sign(&self, id: &str, at: Timestamp, body: &str) -> String {
        let mac = self.mac(id, &at.as_seconds().to_string(), body.as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }

    /// Whether one of the signatures is by this secret, for receivers; `at` is the time as its header has it.
    #[must_use]
    pub fn has_signed(&self, signatures: &str, id: &str, at: &str, body: &[u8]) -> bool {
        let given = signatures.split(' ').filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
        // Compared in constant time.
        given.into_iter().any(|given| self.mac(id, at, body).verify_slice(&given).is_ok())
    }

    fn mac(&self, id: &str, at: &str, body: &[u8]) -> Hmac<Sha256> {
        // HMAC takes keys of any length, so this one too.
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| Hmac::new(&Default::default()));
        for part in [id.as_bytes(), b".", at.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac
    }
}

/// The value of `webhook-signature`: a signature by each secret, the newest first.
#[must_use]
pub fn signatures(secrets: &[Secret], id: &str, at: Timestamp, body: &str) -> String {
    secrets.iter().map(|secret| secret.sign(id, at, body)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    // The message is that of the standard's own test suites; the value was computed by another implementation.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let secret = Secret::new(std::array::from_fn(|at| u8::try_from(at).unwrap()));
        assert_eq!(secret.expose(), "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        let at = Timestamp::from_ms(1_614_265_330_999);
        let signed = signatures(
            &[secret.clone(), secret],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            at,
            r#"{"test": 2432232314}"#,
        );
        let (first, second) = signed.split_once(' ').unwrap();
        assert_eq!(first, second);
        assert_eq!(first, "v1,O4Gjv1HqPqsMrjmczoggs/sWA8gZD0VyHG+fLh4+ktI=");
    }

    #[test]
    fn what_another_secret_signed_or_somebody_changed_is_not_signed() {
        let secret = Secret::parse("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        let other = Secret::new([7; 32]);
        let signed = signatures(&[other.clone(), secret.clone()], "a", Timestamp::from_ms(5_000), "{}");
        assert!(secret.has_signed(&signed, "a", "5", b"{}") && other.has_signed(&signed, "a", "5", b"{}"));
        for (signed, id, at, body) in [
            (&*signed, "b", "5", "{}"),
            (&signed, "a", "6", "{}"),
            (&signed, "a", "5", "[]"),
            ("v1,", "a", "5", "{}"),
        ] {
            assert!(!secret.has_signed(signed, id, at, body.as_bytes()), "{signed} {id} {at} {body}");
        }
        assert!(!Secret::new([8; 32]).has_signed(&signed, "a", "5", b"{}"));
        for text in ["whsec_", "whsec_AAEC", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "whsec_!"] {
            assert_eq!(Secret::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new([7; 32])), "Secret(…)");
    }
}
