//! The signature of Stripe's deliveries, verified over the raw bytes of the body.
//!
//! `Stripe-Signature: t=<unix>,v1=<hex hmac-sha256>,…` over `t "." body`; the whole `whsec_…` is the key.
//! While a secret is rotated Stripe sends one `v1` for each, and we may know several too: any secret with
//! any `v1` will do. This is stricter than the official libraries: one `t` of digits only, and a time from
//! the future is refused as one from the past is. Nothing here reads a clock or parses the body.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use shared::time::Timestamp;

/// The header that carries the signatures.
pub const SIGNATURE_HEADER: &str = "stripe-signature";

/// How far a delivery's time may lie from our clock, in seconds, either way (Stripe's own tolerance).
pub const TOLERANCE_S: u64 = 300;

/// The longest header that is looked at: Stripe's have about 100 bytes for each secret.
const HEADER_BYTES_MAX: usize = 4_096;

/// The most `v1` that are compared; each costs a hash of the body.
const SIGNATURES_MAX: usize = 16;

/// Why a delivery is not believed to come from Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// There is no header, or it is not of the documented form.
    #[error("the Stripe-Signature header is missing or not t=…,v1=…")]
    Malformed,
    /// No `v1` was made with any of our secrets.
    #[error("no signature was made with a secret of STRIPE_WEBHOOK_SECRET")]
    NoMatch,
    /// It was signed too long ago, or ahead of our clock.
    #[error("the signature's time is more than {TOLERANCE_S} s from ours")]
    Expired,
}

/// The secrets of our webhook endpoints; several while one is rotated. They are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WebhookSecrets(Vec<String>);

impl fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookSecrets({} hidden)", self.0.len())
    }
}

impl WebhookSecrets {
    /// Reads `whsec_…,whsec_…`.
    ///
    /// # Errors
    /// Says what is accepted, without repeating what might be a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let secrets: Vec<String> = text.split(',').map(|secret| secret.trim().to_owned()).collect();
        let is_secret = |secret: &String| secret.len() > "whsec_".len() && secret.starts_with("whsec_");
        if secrets.iter().all(is_secret) {
            Ok(Self(secrets))
        } else {
            Err("accepted are secrets such as whsec_…, several separated by commas".to_owned())
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that Stripe signed `body`, within the tolerance around `now`.
    ///
    /// # Errors
    /// Says why it is not believed.
    pub fn verify(&self, header: &[u8], body: &[u8], now: Timestamp) -> Result<(), Unverified> {
        let (time, signatures) = parts(header).ok_or(Unverified::Malformed)?;
        let signed = |secret: &String| {
            // HMAC takes keys of any length; the fallback is never reached.
            let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
            let mut mac = mac.unwrap_or_else(|_| Hmac::new(&Default::default()));
            mac.update(time.as_bytes());
            mac.update(b".");
            mac.update(body);
            // Every signature is compared, each in constant time.
            signatures.iter().filter(|signature| mac.clone().verify_slice(signature).is_ok()).count() > 0
        };
        if !self.0.iter().any(signed) {
            return Err(Unverified::NoMatch);
        }
        // Twenty digits may be more than a number holds; such a time is far away, not garbage.
        let time: u64 = time.parse().map_err(|_| Unverified::Expired)?;
        if time.abs_diff(now.as_seconds()) > TOLERANCE_S { Err(Unverified::Expired) } else { Ok(()) }
    }
}

/// The text of `t` and every `v1` as bytes.
fn parts(header: &[u8]) -> Option<(&str, Vec<Vec<u8>>)> {
    let header = std::str::from_utf8(header).ok().filter(|header| header.len() <= HEADER_BYTES_MAX)?;
    let (mut time, mut signatures) = (None, Vec::new());
    for item in header.split(',') {
        match item.split_once('=')? {
            ("t", value) => {
                let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                if !digits || time.replace(value).is_some() {
                    return None;
                }
            }
            // What is no hex is no signature of anything; others in the header may be.
            ("v1", value) => signatures.extend(base16ct::lower::decode_vec(value)),
            // Other schemes are for other readers; `v0` is for Stripe's own tests.
            _ => {}
        }
    }
    let few = !signatures.is_empty() && signatures.len() <= SIGNATURES_MAX;
    time.filter(|_| few).map(|time| (time, signatures))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;
    const NOW_S: u64 = 1_795_435_200;

    fn sign(secret: &str, time: &str, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(body);
        base16ct::lower::encode_string(&mac.finalize().into_bytes())
    }

    fn judge(header: &str) -> Result<(), Unverified> {
        let secrets = WebhookSecrets::parse("whsec_new,whsec_old").unwrap();
        secrets.verify(header.as_bytes(), BODY, Timestamp::from_ms(NOW_S * 1_000))
    }

    #[test]
    fn any_secret_with_any_signature_will_do() {
        let now = NOW_S.to_string();
        let (new, old) = (sign("whsec_new", &now, BODY), sign("whsec_old", &now, BODY));
        let other = sign("whsec_other", &now, BODY);
        for header in [
            format!("t={now},v1={new}"),
            format!("t={now},v1={old}"),
            format!("t={now},v1={new},v1={old}"),
            format!("t={now},v1={old},v1={new}"),
            format!("t={now},v1={other},v1={new},v0=x"),
            format!("v1={new},t={now}"),
            format!("t={now},v1=nothex,v1={new}"),
        ] {
            assert_eq!(judge(&header), Ok(()), "{header}");
        }
    }

    #[test]
    fn everything_else_is_refused_for_its_reason() {
        use Unverified::{Expired, Malformed, NoMatch};
        let now = NOW_S.to_string();
        let good = sign("whsec_new", &now, BODY);
        let cases = [
            (String::new(), Malformed),
            ("garbage".to_owned(), Malformed),
            (format!("t={now}"), Malformed),
            (format!("v1={good}"), Malformed),
            (format!("t=,v1={good}"), Malformed),
            (format!("t=-1,v1={good}"), Malformed),
            (format!("t= {now},v1={good}"), Malformed),
            (format!("t={now},t={now},v1={good}"), Malformed),
            (format!("t={now},v1=nothex"), Malformed),
            (format!("t={now}{},v1={good}", ",v1=00".repeat(16)), Malformed),
            (format!("t={now},v1={good}{}", " ".repeat(HEADER_BYTES_MAX)), Malformed),
            (format!("t={now},v0={good}"), Malformed),
            (format!("t={now},v1={}", sign("whsec_other", &now, BODY)), NoMatch),
            (format!("t={now},v1={}", sign("new", &now, BODY)), NoMatch),
            (format!("t={now},v1={}", sign("whsec_new", &now, b"{}")), NoMatch),
            (format!("t={},v1={good}", NOW_S + 1), NoMatch),
            (format!("t={now},v1={}", &good[..62]), NoMatch),
            (format!("t={now},v1={}", good.to_uppercase()), Malformed),
        ];
        for (header, expected) in cases {
            assert_eq!(judge(&header), Err(expected), "{header}");
        }
        let huge = "9".repeat(30);
        assert_eq!(judge(&format!("t={huge},v1={}", sign("whsec_new", &huge, BODY))), Err(Expired));
    }

    #[test]
    fn the_tolerance_is_exact_to_the_second_both_ways() {
        for (offset, expected) in [
            (-301, Err(Unverified::Expired)),
            (-300, Ok(())),
            (0, Ok(())),
            (300, Ok(())),
            (301, Err(Unverified::Expired)),
        ] {
            let time = NOW_S.checked_add_signed(offset).unwrap().to_string();
            let header = format!("t={time},v1={}", sign("whsec_old", &time, BODY));
            assert_eq!(judge(&header), expected, "{offset}");
        }
    }

    /// Headers made and judged by Stripe's own library for Python.
    #[test]
    fn the_official_library_judges_alike_except_where_we_are_stricter() {
        let text = include_str!("../../../tests/vectors/stripe-signatures.json");
        let rows: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        assert!(rows.len() > 25);
        for row in rows {
            let word = |name: &str| row[name].as_str().unwrap_or_default();
            let now = Timestamp::from_ms(row["now_s"].as_u64().unwrap() * 1_000);
            let secrets = WebhookSecrets::parse(word("secrets")).unwrap();
            let ours = secrets.verify(word("header").as_bytes(), word("body").as_bytes(), now).is_ok();
            let expected = row["accepted"] == true && row["stricter"].is_null();
            assert_eq!(ours, expected, "{}", word("what"));
        }
    }

    #[test]
    fn a_body_need_not_be_text() {
        let secrets = WebhookSecrets::parse("whsec_new").unwrap();
        let (body, now) = ([0xff, 0x00, 0xfe], NOW_S.to_string());
        let header = format!("t={now},v1={}", sign("whsec_new", &now, &body));
        assert_eq!(secrets.verify(header.as_bytes(), &body, Timestamp::from_ms(NOW_S * 1_000)), Ok(()));
    }

    #[test]
    fn secrets_are_checked_and_never_shown() {
        for bad in ["", "whsec_", "sk_live_hunter2", "whsec_a,,whsec_b"] {
            let error = WebhookSecrets::parse(bad).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let shown = format!("{:?}", WebhookSecrets::parse("whsec_hunter2, whsec_other").unwrap());
        assert_eq!(shown, "WebhookSecrets(2 hidden)");
    }
}
