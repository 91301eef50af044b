//! What agents are called in what leaves: by their names, or by a hash of them under a salt that stays here.

use std::fmt;

use shared::ids::{AgentId, SigningKeyId};
use shared::sign::{Purpose, SigningKey};

/// Hex digits of a hashed name: 128 bits, of which no two of a project's agents will be alike.
const DIGITS: usize = 32;
/// A shorter salt could be guessed together with the names.
pub const SALT_CHARS_MIN: usize = 16;

/// How agents are called.
#[derive(Clone)]
pub enum AgentNames {
    /// As they are.
    Plain,
    /// By a hash.
    Hashed(SigningKey),
}

impl fmt::Debug for AgentNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Hashed(_) => "hashed",
        })
    }
}

impl AgentNames {
    /// Reads the salt; without one, names are not hashed.
    ///
    /// # Errors
    /// Says what is accepted; never repeats the salt.
    pub fn parse(salt: &str) -> Result<Self, String> {
        if salt.is_empty() {
            return Ok(Self::Plain);
        }
        if salt.len() < SALT_CHARS_MIN {
            return Err(format!(
                "accepted are {SALT_CHARS_MIN} characters or more, such as `openssl rand -hex 16` prints"
            ));
        }
        let id = SigningKeyId::parse("salt").map_err(|error| error.to_string())?;
        Ok(Self::Hashed(SigningKey::new(Purpose::Reporter, id, salt.as_bytes().to_vec())))
    }

    /// What that agent is called from here on. The meter's own names stay: they tell nothing.
    #[must_use]
    pub fn of(&self, agent: &AgentId) -> AgentId {
        let Self::Hashed(salt) = self else { return agent.clone() };
        if !agent.is_named() {
            return agent.clone();
        }
        let hash = salt.mac_hex(&[agent.as_str().as_bytes()]);
        hash.get(..DIGITS).and_then(|hash| AgentId::parse(hash).ok()).unwrap_or_else(AgentId::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashed_names_tell_agents_apart_and_nothing_else() {
        let names = AgentNames::parse("0123456789abcdef").unwrap();
        let of = |name: &str| names.of(&AgentId::parse(name).unwrap());
        assert_eq!(of("bot").as_str().len(), DIGITS);
        assert_eq!(of("bot"), of("bot"));
        assert_ne!(of("bot"), of("bot2"));
        assert_ne!(
            of("bot"),
            AgentNames::parse("fedcba9876543210").unwrap().of(&AgentId::parse("bot").unwrap())
        );
        assert_eq!(of("~none"), AgentId::none());
        assert_eq!(AgentNames::Plain.of(&AgentId::other()), AgentId::other());
        let error = AgentNames::parse("short-salt").unwrap_err();
        assert!(!error.contains("short-salt") && !format!("{names:?}").contains("0123"), "{error}");
    }
}
