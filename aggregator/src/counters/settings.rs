//! The Redis that has the homes, and what is asked of it.

use std::fmt;

use redis_rows::Servers;
use shared::policy::Place;
use shared::units::Units;

/// `REDIS_URL`, which may have a password: it is shown without.
#[derive(Clone)]
pub struct RedisAddress {
    servers: Servers,
}

impl RedisAddress {
    /// Reads it.
    ///
    /// # Errors
    /// When it is none; what is accepted is told.
    pub fn parse(text: &str) -> Result<Self, String> {
        let servers = Servers::parse(text).map_err(|error| error.to_string())?;
        Ok(Self { servers })
    }

    /// The server, or those who know which one has what.
    #[must_use]
    pub fn servers(&self) -> &Servers {
        &self.servers
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.servers.fmt(f)
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.servers.fmt(f)
    }
}

/// A Redis, and what is asked of it.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// `REDIS_URL`.
    pub address: RedisAddress,
    /// How many of its replicas must have a write on their disks.
    pub replicas: u32,
    /// How many units of a project may be lost with it; `None` where its disk is waited for.
    pub accepted_loss: Option<Units>,
    /// Where homes are of projects that never moved.
    pub first: Place,
}

impl fmt::Display for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, replicas, accepted_loss, first } = self;
        write!(f, "COUNTERS={first} REDIS_URL={address} REDIS_REPLICAS={replicas}")?;
        if let Some(units) = accepted_loss { write!(f, " REDIS_ACCEPT_LOSS={units}") } else { Ok(()) }
    }
}
