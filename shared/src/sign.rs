//! Signatures between machines.
//!
//! A request carries `Palveron-Signature: t=<unix>,k=<key id>,v1=<hex hmac-sha256>` over its method,
//! path, `t` and body (design §4). Comparison takes constant time; nothing here reads a clock.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::ids::SigningKeyId;
use crate::time::Timestamp;

/// The header that carries a request's signature.
pub const SIGNATURE_HEADER: &str = "palveron-signature";

/// How far a signature's time may lie from the receiver's clock, in seconds, either way.
pub const SKEW_SECONDS_MAX: u64 = 300;

/// The longest signature header that is looked at; ours are about 110 bytes.
const HEADER_BYTES_MAX: usize = 512;

/// HMAC-SHA256 of the parts, one after the other.
fn mac(secret: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    // HMAC takes keys of any length (RFC 2104 §3): longer ones are hashed, shorter ones padded.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap_or_else(|_| Hmac::new(&Default::default()));
    for part in parts {
        mac.update(part);
    }
    mac
}

/// HMAC-SHA256 of the parts.
#[must_use]
pub(crate) fn mac_bytes(secret: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    mac(secret, parts).finalize().into_bytes().into()
}

/// HMAC-SHA256 of the parts as 64 lowercase hex digits.
#[must_use]
pub(crate) fn mac_hex(secret: &[u8], parts: &[&[u8]]) -> String {
    base16ct::lower::encode_string(&mac_bytes(secret, parts))
}

/// Whether `hex` begins the HMAC of the parts; compares in constant time.
///
/// `hex` may be a truncation to at least 16 bytes (RFC 2104 §5).
#[must_use]
pub(crate) fn mac_matches(secret: &[u8], parts: &[&[u8]], hex: &str) -> bool {
    const TRUNCATED_BYTES_MIN: usize = 16;
    match base16ct::lower::decode_vec(hex) {
        Ok(bytes) if bytes.len() >= TRUNCATED_BYTES_MIN => {
            mac(secret, parts).verify_truncated_left(&bytes).is_ok()
        }
        Ok(_) | Err(_) => false,
    }
}

/// Whether somebody shows the secret that is known; compares in constant time.
#[must_use]
pub fn is_same_secret(known: &str, shown: &str) -> bool {
    mac(known.as_bytes(), &[]).verify_slice(&mac_bytes(shown.as_bytes(), &[])).is_ok()
}

/// What a signing key is for; a key of one purpose never verifies for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Homes sign their flushes with it.
    Edge,
    /// The aggregator signs policies with it.
    Policy,
    /// The edge signs what it forwards to the governance upstream.
    Upstream,
    /// An on-premise reporter signs its reports with it, and the aggregator their receipts.
    Reporter,
}

impl Purpose {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "edge" => Some(Self::Edge),
            "policy" => Some(Self::Policy),
            "upstream" => Some(Self::Upstream),
            // A reporter's key belongs to a reporter, never to the configuration of a machine of ours.
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Policy => "policy",
            Self::Upstream => "upstream",
            Self::Reporter => "reporter",
        }
    }
}

/// One shared secret between machines. Its bytes are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    purpose: Purpose,
    id: SigningKeyId,
    secret: Vec<u8>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("purpose", &self.purpose)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// A key that was made and kept elsewhere than in the configuration.
    #[must_use]
    pub fn new(purpose: Purpose, id: SigningKeyId, secret: Vec<u8>) -> Self {
        Self { purpose, id, secret }
    }

    /// Which key this is.
    #[must_use]
    pub fn id(&self) -> &SigningKeyId {
        &self.id
    }

    /// HMAC-SHA256 of the parts as 64 lowercase hex digits.
    #[must_use]
    pub fn mac_hex(&self, parts: &[&[u8]]) -> String {
        mac_hex(&self.secret, parts)
    }

    /// Whether `hex` is the full HMAC of the parts.
    #[must_use]
    pub fn verifies(&self, parts: &[&[u8]], hex: &str) -> bool {
        const MAC_HEX_DIGITS: usize = 64;
        hex.len() == MAC_HEX_DIGITS && mac_matches(&self.secret, parts, hex)
    }
}

/// The signing keys of one machine: the first of a purpose signs, every one verifies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningKeys(Vec<SigningKey>);

impl SigningKeys {
    /// These keys: the first of a purpose signs, every one verifies.
    #[must_use]
    pub fn of(keys: Vec<SigningKey>) -> Self {
        Self(keys)
    }

    /// The least a secret may be, in bytes: as strong as the hash.
    pub const SECRET_BYTES_MIN: usize = 32;

    /// Reads `edge:e1:<hex>,policy:p1:<hex>,…`.
    ///
    /// # Errors
    /// Says which entry is not of that form; never repeats a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keys: Vec<SigningKey> = Vec::new();
        for_each_entry(text, "signing key", &mut |entry| {
            let fields =
                entry.split_once(':').and_then(|(purpose, rest)| Some((purpose, rest.split_once(':')?)));
            let (purpose, (id, secret)) = fields.ok_or("accepted is purpose:id:hex")?;
            let purpose = Purpose::parse(purpose)
                .ok_or_else(|| format!("got purpose {purpose:?}, accepted are edge, policy and upstream"))?;
            let id = SigningKeyId::parse(id).map_err(|error| error.to_string())?;
            let secret = decode_secret(secret)?;
            if keys.iter().any(|key| key.purpose == purpose && key.id == id) {
                return Err(format!("{id} is there twice"));
            }
            keys.push(SigningKey { purpose, id, secret });
            Ok(())
        })?;
        Ok(Self(keys))
    }

    /// Reads what METER_SIGNING_KEYS says to a worker that needs a key of each of these purposes.
    ///
    /// # Errors
    /// Says what is wrong or missing; never repeats a secret.
    pub fn required(text: &str, purposes: &[Purpose]) -> Result<Self, String> {
        let keys = Self::parse(text).map_err(|error| format!("METER_SIGNING_KEYS: {error}"))?;
        match purposes.iter().find(|purpose| keys.current(**purpose).is_none()) {
            None => Ok(keys),
            Some(missing) => {
                let name = missing.as_str();
                Err(format!("METER_SIGNING_KEYS: no key of purpose {name}; add {name}:<id>:<64 hex digits>"))
            }
        }
    }

    /// The key that signs for `purpose`.
    #[must_use]
    pub fn current(&self, purpose: Purpose) -> Option<&SigningKey> {
        self.0.iter().find(|key| key.purpose == purpose)
    }

    /// The ids of all keys, which are no secret, the first of a purpose first.
    pub fn ids(&self) -> impl Iterator<Item = &SigningKeyId> {
        self.0.iter().map(SigningKey::id)
    }

    /// The key of that purpose and id.
    #[must_use]
    pub fn find(&self, purpose: Purpose, id: &SigningKeyId) -> Option<&SigningKey> {
        self.0.iter().find(|key| key.purpose == purpose && key.id == *id)
    }
}

/// Hands over the entries of a list with commas between them; an error names the entry that it is about.
pub(crate) fn for_each_entry(
    text: &str,
    what: &str,
    take: &mut dyn FnMut(&str) -> Result<(), String>,
) -> Result<(), String> {
    for (index, entry) in text.split(',').map(str::trim_ascii).filter(|entry| !entry.is_empty()).enumerate() {
        take(entry).map_err(|error| format!("{what} {}: {error}", index.saturating_add(1)))?;
    }
    Ok(())
}

/// Reads a secret written in lowercase hex; the message never repeats it.
pub(crate) fn decode_secret(hex: &str) -> Result<Vec<u8>, String> {
    let secret =
        base16ct::lower::decode_vec(hex).map_err(|_| "the secret is not lowercase hex".to_owned())?;
    if secret.len() < SigningKeys::SECRET_BYTES_MIN {
        return Err(format!(
            "the secret has {} bytes, accepted are {} or more",
            secret.len(),
            SigningKeys::SECRET_BYTES_MIN
        ));
    }
    Ok(secret)
}

/// What a signature covers.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The request's method, in capitals.
    pub method: &'a str,
    /// The request's path and query, as sent.
    pub path: &'a str,
    /// The exact body, or what is signed in its place.
    pub body: &'a [u8],
}

/// Why a signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature, it is not of the right form, or no known key made it.
    #[error("the request is not signed by a known key")]
    Rejected,
    /// The signature is right but its time is too far from ours.
    #[error("the signature's time is more than {SKEW_SECONDS_MAX} s away")]
    Expired,
}

impl Signed<'_> {
    fn mac_hex(&self, key: &SigningKey, t: &str) -> String {
        key.mac_hex(&self.parts(t))
    }

    // A newline can be in none of the first three parts, so no two requests give the same text.
    fn parts<'b>(&'b self, t: &'b str) -> [&'b [u8]; 7] {
        [t.as_bytes(), b"\n", self.method.as_bytes(), b"\n", self.path.as_bytes(), b"\n", self.body]
    }

    /// The header's value for this request at `now`.
    #[must_use]
    pub fn sign(&self, key: &SigningKey, now: Timestamp) -> String {
        let t = now.as_seconds().to_string();
        format!("t={t},k={},v1={}", key.id, self.mac_hex(key, &t))
    }

    /// Checks the header's value at `now` and says which key made it.
    ///
    /// # Errors
    /// [`SignatureError::Expired`] only for signatures that are right otherwise, so that a stranger
    /// learns nothing from it.
    pub fn verify<'k>(
        &self,
        header: &str,
        keys: &'k SigningKeys,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<&'k SigningKey, SignatureError> {
        let (t, id, v1) = read_header(header).ok_or(SignatureError::Rejected)?;
        let key = keys.find(purpose, &id).ok_or(SignatureError::Rejected)?;
        if !key.verifies(&self.parts(t), v1) {
            return Err(SignatureError::Rejected);
        }
        let seconds: u64 = t.parse().map_err(|_| SignatureError::Rejected)?;
        if seconds.abs_diff(now.as_seconds()) > SKEW_SECONDS_MAX {
            return Err(SignatureError::Expired);
        }
        Ok(key)
    }
}

/// When a verified header was signed, in seconds since the epoch, and the first 128 bits of its MAC: enough to tell
/// it from every other. `None` for what is no header.
#[must_use]
pub fn fingerprint(header: &str) -> Option<(u64, u128)> {
    let (t, _, v1) = read_header(header)?;
    Some((t.parse().ok()?, u128::from_str_radix(v1.get(..32)?, 16).ok()?))
}

/// Whether a header's value has the form of a signature, and the key that it names is known: what can be said before
/// the body is there.
#[must_use]
pub fn names_key(header: &str, keys: &SigningKeys, purpose: Purpose) -> bool {
    read_header(header).is_some_and(|(_, id, _)| keys.find(purpose, &id).is_some())
}

/// Which key a header's value names, where it has the form of a signature.
#[must_use]
pub fn named_key(header: &str) -> Option<SigningKeyId> {
    read_header(header).map(|(_, id, _)| id)
}

/// Splits `t=…,k=…,v1=…`; each field must be there exactly once, others are refused.
fn read_header(header: &str) -> Option<(&str, SigningKeyId, &str)> {
    if header.len() > HEADER_BYTES_MAX {
        return None;
    }
    let (mut t, mut k, mut v1) = (None, None, None);
    for field in header.split(',') {
        let (name, value) = field.split_once('=')?;
        let slot = match name {
            "t" => &mut t,
            "k" => &mut k,
            "v1" => &mut v1,
            _ => return None,
        };
        if slot.replace(value).is_some() {
            return None;
        }
    }
    let t = t.filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()))?;
    Some((t, SigningKeyId::parse(k?).ok()?, v1?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> SigningKeys {
        SigningKeys::parse(&format!(
            "edge:e1:{},edge:e2:{},policy:e1:{}",
            "11".repeat(32),
            "22".repeat(32),
            "33".repeat(32)
        ))
        .unwrap()
    }

    const NOW: Timestamp = Timestamp::from_ms(1_795_000_000_000);
    const INGEST: Signed<'_> = Signed { method: "POST", path: "/ingest", body: b"{}" };

    #[test]
    fn the_mac_is_hmac_sha256_as_in_rfc_4231() {
        let hex = mac_hex(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert!(mac_matches(b"Jefe", &[b"what do ya want for nothing?"], &hex));
        assert!(!mac_matches(b"Jefe", &[b"what do ya want for nothing?"], &hex[..30]));
    }

    #[test]
    fn a_signature_verifies_with_each_active_key_of_its_purpose() {
        let keys = keys();
        for id in ["e1", "e2"] {
            let key = keys.find(Purpose::Edge, &SigningKeyId::parse(id).unwrap()).unwrap();
            let header = INGEST.sign(key, NOW);
            assert_eq!(
                INGEST.verify(&header, &keys, Purpose::Edge, NOW).map(|key| key.id().as_str()),
                Ok(id)
            );
            assert_eq!(INGEST.verify(&header, &keys, Purpose::Policy, NOW), Err(SignatureError::Rejected));
        }
    }

    #[test]
    fn any_change_to_what_is_signed_is_refused() {
        let keys = keys();
        let header = INGEST.sign(keys.current(Purpose::Edge).unwrap(), NOW);
        let changed = [
            Signed { method: "PUT", ..INGEST },
            Signed { path: "/ingest?x", ..INGEST },
            Signed { body: b"{ }", ..INGEST },
        ];
        for signed in changed {
            assert_eq!(signed.verify(&header, &keys, Purpose::Edge, NOW), Err(SignatureError::Rejected));
        }
    }

    #[test]
    fn the_window_is_exactly_300_seconds_either_way() {
        let keys = keys();
        let header = INGEST.sign(keys.current(Purpose::Edge).unwrap(), NOW);
        let at = |seconds: u64| {
            INGEST.verify(&header, &keys, Purpose::Edge, Timestamp::from_ms(seconds * 1_000)).map(|_| ())
        };
        let t = NOW.as_seconds();
        assert_eq!(at(t - 300), Ok(()));
        assert_eq!(at(t + 300), Ok(()));
        assert_eq!(at(t - 301), Err(SignatureError::Expired));
        assert_eq!(at(t + 301), Err(SignatureError::Expired));
    }

    #[test]
    fn headers_of_another_form_are_refused() {
        let keys = keys();
        let good = INGEST.sign(keys.current(Purpose::Edge).unwrap(), NOW);
        let v1 = good.split("v1=").nth(1).unwrap();
        let t = NOW.as_seconds();
        let cases = [
            String::new(),
            "t=,k=e1,v1=".to_owned(),
            format!("k=e1,v1={v1}"),
            format!("t={t},k=e1"),
            format!("t={t},k=e9,v1={v1}"),
            format!("t={t},k=e1,v1={}", &v1[..32]),
            format!("t={t},k=e1,v1={}", v1.to_uppercase()),
            format!("t={t},t={t},k=e1,v1={v1}"),
            format!("t={t},k=e1,v1={v1},v2=x"),
            format!("t=-{t},k=e1,v1={v1}"),
            format!("t={}{t},k=e1,v1={v1}", "9".repeat(30)),
            format!(" t={t},k=e1,v1={v1}"),
            "x".repeat(10_000),
        ];
        for case in cases {
            assert_eq!(
                INGEST.verify(&case, &keys, Purpose::Edge, NOW),
                Err(SignatureError::Rejected),
                "{case:.80}"
            );
        }
    }

    #[test]
    fn short_or_doubled_secrets_are_refused_without_being_repeated() {
        let error = SigningKeys::parse("edge:e1:abcd").unwrap_err();
        assert_eq!(error, "signing key 1: the secret has 2 bytes, accepted are 32 or more");
        let secret = "ab".repeat(32);
        let error = SigningKeys::parse(&format!("edge:e1:{secret},edge:e1:{secret}")).unwrap_err();
        assert!(!error.contains(&secret));
        assert!(!format!("{:?}", keys()).contains("1111"));
    }
}
