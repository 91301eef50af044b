//! Identifiers, as types that cannot be malformed.
//!
//! Parsing happens once, at the edge of the program; a value of these types is never checked again.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use core::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::excerpt::beginning;

/// Why a text is not an identifier. The message says what was got and what is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: got {got:?}, accepted is {accepts}")]
pub struct IdError {
    /// The identifier's name, such as `project`.
    pub field: &'static str,
    /// What was got, cut to its first characters.
    pub got: String,
    /// What would have been accepted, in words.
    pub accepts: &'static str,
}

impl IdError {
    fn new(field: &'static str, got: &str, accepts: &'static str) -> Self {
        // Enough to recognise the text, too little to fill a log with it.
        const GOT_CHARS_MAX: usize = 40;
        Self { field, got: beginning(got, GOT_CHARS_MAX).to_owned(), accepts }
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $field:literal, $accepts:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses the identifier.
            ///
            /// # Errors
            /// Says which field, what was got and what is accepted.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let accepted: fn(&str) -> bool = $check;
                if accepted(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError::new($field, text, $accepts))
                }
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl core::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }
    };
}

/// Lowercase letters, digits and inner hyphens, `max` bytes at most.
fn is_slug(text: &str, max: usize) -> bool {
    !text.is_empty()
        && text.len() <= max
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Lowercase letters and digits, between `min` and `max` bytes.
fn is_code(text: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

text_id!(
    /// A customer's project: what is metered, limited and billed.
    ProjectId,
    "project",
    "1 to 48 of a-z, 0-9 and inner hyphens",
    |text| is_slug(text, 48)
);

text_id!(
    /// An enterprise contract, which covers projects and their on-premise reporters.
    ContractId,
    "contract",
    "1 to 48 of a-z, 0-9 and inner hyphens",
    |text| is_slug(text, 48)
);

text_id!(
    /// Names one project key, so that it can be revoked alone; the key's secret part is its MAC.
    KeyId,
    "key",
    "4 to 16 of a-z and 0-9",
    |text| is_code(text, 4, 16)
);

text_id!(
    /// Names one signing key between machines, such as `e1`.
    SigningKeyId,
    "key id",
    "1 to 16 of a-z and 0-9",
    |text| is_code(text, 1, 16)
);

text_id!(
    /// One life of a source's storage: a new one begins whenever that storage is lost or restored.
    Incarnation,
    "incarnation",
    "8 to 32 of a-z and 0-9",
    |text| is_code(text, 8, 32)
);

text_id!(
    /// What sends cells: a home (`home`) or an on-premise reporter (its own name).
    SourceId,
    "source",
    "1 to 48 of a-z, 0-9 and inner hyphens",
    |text| is_slug(text, 48)
);

text_id!(
    /// A customer's AI agent, for the usage breakdown.
    ///
    /// 1 to 128 visible ASCII characters (design §4); names that begin with `~` are the meter's own.
    AgentId,
    "agent",
    "1 to 128 visible ASCII characters, the first not ~",
    |text| {
        (1..=AgentId::BYTES_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic())
            && (!text.starts_with('~') || text == AgentId::NONE || text == AgentId::OTHER)
    }
);

impl AgentId {
    /// The longest agent id, in bytes of its encoded form (design §4).
    pub const BYTES_MAX: usize = 128;
    /// The agent of requests that name none.
    pub const NONE: &'static str = "~none";
    /// Where agents beyond a day's limit are folded, with exact totals.
    pub const OTHER: &'static str = "~other";

    /// The agent of a request that names none.
    #[must_use]
    pub fn none() -> Self {
        Self(Self::NONE.to_owned())
    }

    /// The agent that stands for all beyond a day's limit.
    #[must_use]
    pub fn other() -> Self {
        Self(Self::OTHER.to_owned())
    }

    /// Whether a customer chose this name; the meter's own are never counted against a plan.
    #[must_use]
    pub fn is_named(&self) -> bool {
        !self.0.starts_with('~')
    }

    /// Takes what a client sent: visible ASCII as it is, other text, which is NFC by then, percent-encoded.
    ///
    /// # Errors
    /// When the text is empty, too long once encoded, or begins with the reserved `~`.
    pub fn from_client(text: &str) -> Result<Self, IdError> {
        let id = if text.bytes().all(|b| b.is_ascii_graphic()) {
            Self::parse(text)?
        } else {
            Self::parse(&utf8_percent_encode(text, NOT_VISIBLE).to_string())?
        };
        if id.is_named() {
            Ok(id)
        } else {
            Err(IdError::new("agent", text, "a name that does not begin with ~"))
        }
    }
}

/// What is not visible in an agent's name, beside all that is not ASCII; and the sign of the encoding itself.
const NOT_VISIBLE: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

impl SourceId {
    /// The source of every home's cells.
    #[must_use]
    pub fn home() -> Self {
        Self("home".to_owned())
    }
}

/// Whether a key's units are billed. Each mode of a project has a home and an allowance of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Counted and billed.
    Live,
    /// Decided and counted apart, never billed.
    Test,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 2] = [Self::Live, Self::Test];

    /// `live` or `test`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }

    /// Parses `live` or `test`.
    ///
    /// # Errors
    /// For any other text.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| IdError::new("mode", text, "live or test"))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_ids_are_slugs() {
        for good in ["a", "demo", "acme-eu-1", "0"] {
            assert_eq!(ProjectId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a/b", "ä", &"a".repeat(49)] {
            assert!(ProjectId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn agents_are_visible_ascii_and_other_text_is_percent_encoded() {
        let agent = |text: &str| AgentId::from_client(text).map(|id| id.as_str().to_owned());
        assert_eq!(agent("support-bot").unwrap(), "support-bot");
        assert_eq!(agent("größe 1").unwrap(), "gr%C3%B6%C3%9Fe%201");
        assert!(agent("").is_err());
        assert!(agent("~other").is_err(), "reserved names are not a client's to choose");
        assert!(agent(&"a".repeat(129)).is_err());
        assert!(agent(&"ä".repeat(30)).is_err(), "the limit holds for the encoded form");
    }

    #[test]
    fn an_id_that_was_read_back_is_checked_again() {
        assert!(serde_json::from_str::<ProjectId>("\"demo\"").is_ok());
        assert!(serde_json::from_str::<ProjectId>("\"De mo\"").is_err());
    }
}
