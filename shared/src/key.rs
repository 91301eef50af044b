//! Project keys: `pk_live_<project>_<key id>_<secret version>_<mac>`.
//!
//! A key carries its project and id under a MAC, so that an isolate refuses forgeries without I/O
//! (design §4). No part but the MAC is secret; whole keys must never be logged or stored.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::ids::{KeyId, Mode, ProjectId};
use crate::sign::{decode_secret, for_each_entry, is_same_secret, mac_bytes, mac_hex, mac_matches};

/// The MAC's length in hex digits: 128 bits.
const MAC_HEX_DIGITS: usize = 32;

/// The longest text that is looked at: longer than any key can be.
const KEY_BYTES_MAX: usize = 160;

/// What a project key proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectKey {
    /// The project it belongs to.
    pub project: ProjectId,
    /// Whether its units are billed.
    pub mode: Mode,
    /// Which of the project's keys it is.
    pub id: KeyId,
}

/// The versioned secrets under which keys are made; several while rotating.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecrets(BTreeMap<u32, Vec<u8>>);

impl fmt::Debug for KeySecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl KeySecrets {
    /// Reads `1:<hex>,2:<hex>`; the highest version makes new keys, every one verifies.
    ///
    /// # Errors
    /// Says which entry is not of that form; never repeats a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut secrets = BTreeMap::new();
        for_each_entry(text, "key secret", &mut |entry| {
            let (version, secret) = entry.split_once(':').ok_or("accepted is version:hex")?;
            let version = read_version(version)
                .ok_or_else(|| format!("got version {version:?}, accepted is a number from 1"))?;
            match secrets.insert(version, decode_secret(secret)?) {
                None => Ok(()),
                Some(_) => Err(format!("version {version} is there twice")),
            }
        })?;
        if secrets.is_empty() {
            return Err("no key secret: accepted is version:hex, such as 1:<64 hex digits>".to_owned());
        }
        Ok(Self(secrets))
    }

    /// No secrets: every key is refused.
    #[must_use]
    pub fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// For each version, the oldest first, a key for another purpose, which `label` names: HMAC-SHA256 of the label.
    #[must_use]
    pub fn derive(&self, label: &str) -> Vec<(u32, [u8; 32])> {
        let key = |(version, secret): (&u32, &Vec<u8>)| (*version, mac_bytes(secret, &[label.as_bytes()]));
        self.0.iter().map(key).collect()
    }

    /// Writes the key's text, with a MAC under the newest secret.
    #[must_use]
    pub fn mint(&self, key: &ProjectKey) -> String {
        let Some((version, secret)) = self.0.iter().next_back() else { return String::new() };
        let body = format!("pk_{}_{}_{}_{version}", key.mode, key.project, key.id);
        let mut mac = mac_hex(secret, &[body.as_bytes()]);
        mac.truncate(MAC_HEX_DIGITS);
        format!("{body}_{mac}")
    }

    /// The key that `text` is, or `None` if it is none of ours; takes constant time for the MAC.
    #[must_use]
    pub fn verify(&self, text: &str) -> Option<ProjectKey> {
        if text.len() > KEY_BYTES_MAX {
            return None;
        }
        let (body, mac) = text.rsplit_once('_')?;
        let mut fields = body.strip_prefix("pk_")?.split('_');
        let mode = Mode::parse(fields.next()?).ok()?;
        let project = ProjectId::parse(fields.next()?).ok()?;
        let id = KeyId::parse(fields.next()?).ok()?;
        let secret = self.0.get(&read_version(fields.next()?)?)?;
        if fields.next().is_some()
            || mac.len() != MAC_HEX_DIGITS
            || !mac_matches(secret, &[body.as_bytes()], mac)
        {
            return None;
        }
        Some(ProjectKey { project, mode, id })
    }
}

/// The key in an `Authorization` header, whose scheme is compared without case (RFC 9110 §11.1).
#[must_use]
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The least characters of the token that numbers are read with: a shorter one could be guessed.
pub const METRICS_TOKEN_CHARS_MIN: usize = 16;

/// Whether an `Authorization` header shows that token.
#[must_use]
pub fn shows(header: &str, token: &str) -> bool {
    is_same_secret(token, bearer(header).unwrap_or_default())
}

/// What numbers are read with, where they are not for everybody. It is a secret.
#[derive(Clone)]
pub struct MetricsToken(String);

impl MetricsToken {
    /// Reads the setting.
    ///
    /// # Errors
    /// Says what is accepted, and never what was set.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() < METRICS_TOKEN_CHARS_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "accepted are {METRICS_TOKEN_CHARS_MIN} characters or more of ASCII, without spaces"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether an `Authorization` header shows it.
    #[must_use]
    pub fn is_shown_in(&self, authorization: &str) -> bool {
        shows(authorization, &self.0)
    }
}

impl fmt::Debug for MetricsToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetricsToken(..)")
    }
}

/// A version without sign or leading zeros, so that each key has one spelling.
fn read_version(text: &str) -> Option<u32> {
    let version: u32 = text.parse().ok()?;
    (version > 0 && version.to_string() == text).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ProjectKey {
        ProjectKey {
            project: ProjectId::parse("acme-eu").unwrap(),
            mode: Mode::Live,
            id: KeyId::parse("k7f3").unwrap(),
        }
    }

    fn secrets(versions: &[u32]) -> KeySecrets {
        let text: Vec<_> = versions.iter().map(|v| format!("{v}:{}", format!("{v:02}").repeat(32))).collect();
        KeySecrets::parse(&text.join(",")).unwrap()
    }

    #[test]
    fn only_who_shows_the_whole_token_reads_the_numbers() {
        let token = MetricsToken::parse("sixteen-letters!").unwrap();
        for (shown, reads) in [
            ("Bearer sixteen-letters!", true),
            ("bearer sixteen-letters!", true),
            ("Bearer sixteen-letters", false),
            ("Basic sixteen-letters!", false),
            ("sixteen-letters!", false),
            ("", false),
        ] {
            assert_eq!(token.is_shown_in(shown), reads, "{shown:?}");
        }
        assert!(!format!("{token:?}").contains("sixteen"));
    }

    #[test]
    fn a_token_that_is_short_or_no_header_can_carry_is_refused_without_being_shown() {
        for text in ["", "fifteen-letters", "sixteen letters!!", "sechzehn-bücher!"] {
            let error = MetricsToken::parse(text).unwrap_err();
            assert!(error.contains("16 characters") && !error.contains("letters"), "{error}");
        }
    }

    #[test]
    fn a_minted_key_verifies_while_its_secret_is_known() {
        let text = secrets(&[1]).mint(&key());
        assert!(text.starts_with("pk_live_acme-eu_k7f3_1_"), "{text}");
        assert_eq!(secrets(&[1]).verify(&text), Some(key()));
        assert_eq!(secrets(&[1, 2]).verify(&text), Some(key()), "old keys live on while rotating");
        assert_eq!(secrets(&[2]).verify(&text), None);
        assert!(secrets(&[1, 2]).mint(&key()).contains("_2_"));
    }

    #[test]
    fn every_single_changed_character_is_refused() {
        let secrets = secrets(&[1, 11]);
        let text = secrets.mint(&key());
        for at in 0..text.len() {
            for replacement in ['0', '1', 'a', 'f', 'z', '_', '-', 'A', ' '] {
                let mut forged: Vec<char> = text.chars().collect();
                if forged[at] == replacement {
                    continue;
                }
                forged[at] = replacement;
                assert_eq!(secrets.verify(&forged.iter().collect::<String>()), None);
            }
            assert_eq!(secrets.verify(&text[..at]), None);
        }
        assert_eq!(secrets.verify(&format!("{text}0")), None);
        assert_eq!(secrets.verify(&"p".repeat(1_000)), None);
        assert_eq!(secrets.verify("pk_live_é_k7f3_1_00000000000000000000000000000000"), None);
    }

    #[test]
    fn the_bearer_scheme_is_compared_without_case() {
        assert_eq!(bearer("Bearer pk_x"), Some("pk_x"));
        assert_eq!(bearer("bearer  pk_x"), Some("pk_x"));
        for bad in ["", "Bearer", "Bearer ", "Basic pk_x", "pk_x", "Bearerpk_x"] {
            assert_eq!(bearer(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn secrets_are_checked_when_read_and_never_shown() {
        for bad in ["", "1", "0:ab", "01:ab", "x:ab", "1:zz", "1:abcd"] {
            assert!(KeySecrets::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(format!("{:?}", secrets(&[1, 2])), "[1, 2]");
    }
}
