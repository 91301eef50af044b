//! Tokens of people and programs that administer projects: `pat_…` for one project, `pot_…` for operators; and of programs
//! that report units of one, `pet_…`.
//!
//! A token's text is shown once, when it is made. Only its SHA-256 may be stored, and neither is logged.

use std::fmt;

use sha2::{Digest, Sha256};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::ids::ProjectId;

use crate::access::{Role, Scope};
use crate::random::{self, NoRandomness};

/// 256 bits.
const SECRET_BYTES: usize = 32;

/// What a token of a project is for: what a member of a role does, or reporting what was served elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    /// As [`Role::Owner`].
    Owner,
    /// As [`Role::Admin`].
    Admin,
    /// As [`Role::Finance`].
    Finance,
    /// As [`Role::Viewer`].
    Viewer,
    /// Reports units and reads nothing.
    Emitter,
}

impl TokenRole {
    /// Every role of a token.
    pub const ALL: [Self; 5] = [Self::Owner, Self::Admin, Self::Finance, Self::Viewer, Self::Emitter];

    /// What is accepted, in words.
    pub const ACCEPTS: &'static str = "owner, admin, finance, viewer or emitter";

    /// The role that no member has.
    pub const EMITTER: &'static str = "emitter";

    /// The role's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.of_member().map_or(Self::EMITTER, Role::as_str)
    }

    /// The role of that name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// What a token of this role reaches.
    #[must_use]
    pub fn scope(self, project: ProjectId) -> Scope {
        match self.of_member() {
            Some(role) => Scope::Project { project, role },
            None => Scope::Emitter { project },
        }
    }

    fn of_member(self) -> Option<Role> {
        match self {
            Self::Owner => Some(Role::Owner),
            Self::Admin => Some(Role::Admin),
            Self::Finance => Some(Role::Finance),
            Self::Viewer => Some(Role::Viewer),
            Self::Emitter => None,
        }
    }
}

impl fmt::Display for TokenRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A new token's text; it has no `Debug` that shows it.
pub struct TokenText(String);

/// What is stored of a token and what it is looked up by.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(…)")
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl TokenText {
    /// A new token for `scope`.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate(scope: &Scope) -> Result<Self, NoRandomness> {
        let prefix = match scope {
            Scope::Operator => "pot_",
            Scope::Project { .. } => "pat_",
            Scope::Emitter { .. } => "pet_",
        };
        let secret = random::bytes::<SECRET_BYTES>()?;
        Ok(Self(format!("{prefix}{}", base16ct::lower::encode_string(&secret))))
    }

    /// The text, for the one answer that shows it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What to store of it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl TokenHash {
    /// The hash of what a client sent, or `None` if no token of ours looks like that.
    #[must_use]
    pub fn of_client_text(text: &str) -> Option<Self> {
        let hex = ["pat_", "pot_", "pet_"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
        // Two hex digits for each byte.
        let well_formed = hex.len() == 2 * SECRET_BYTES && hex.bytes().all(|b| b.is_ascii_hexdigit());
        well_formed.then(|| Self(Sha256::digest(text.as_bytes()).into()))
    }

    /// The hash's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_text_and_by_no_other() {
        let token = TokenText::generate(&Scope::Operator).unwrap();
        assert_eq!(TokenHash::of_client_text(token.expose()), Some(token.hash()));
        let other = TokenText::generate(&Scope::Operator).unwrap();
        assert_ne!(TokenHash::of_client_text(other.expose()), Some(token.hash()));
        for garbled in
            ["", "pot_", &token.expose()[1..], &token.expose()[..67], &format!("{}0", token.expose())]
        {
            assert_eq!(TokenHash::of_client_text(garbled), None, "{garbled:?}");
        }
    }

    #[test]
    fn a_token_is_never_shown_by_debug() {
        let token = TokenText::generate(&Scope::Operator).unwrap();
        assert_eq!(format!("{token:?} {:?}", token.hash()), "TokenText(…) TokenHash(…)");
    }
}
