//! Where the homes are, and what they tell of their leases.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde::Deserialize;
use shared::home::leases::HomeTold;
use shared::home::{Home, HomeName};
use shared::ids::{Mode, ProjectId};
use shared::lease_question::LeaseQuestion;
use shared::policy::{Place, SignedPolicy};
use shared::sign::SigningKeys;
use shared::time::Timestamp;
use shared::wire::{LEASES_PATH, POLICY_PATH};

use crate::counters::Counters;
use crate::edge::client::EdgeClient;
use crate::projects::project::Project;
use crate::projects::stay::Stay;

/// The longest answer of an edge that is read: 200 holders of a home and of each of its sub-homes.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Where homes take policies and are asked.
#[derive(Debug, Clone)]
pub struct Homes {
    edge: Box<EdgeClient>,
    redis: Option<Counters>,
    /// Where they are of projects that never moved.
    first: Place,
}

impl From<EdgeClient> for Homes {
    fn from(edge: EdgeClient) -> Self {
        Self { edge: Box::new(edge), redis: None, first: Place::DurableObject }
    }
}

/// Why homes cannot be at a place.
#[derive(Debug, thiserror::Error)]
pub enum NotThere {
    /// Nothing says where that is.
    #[error("{0}")]
    Unset(&'static str),
    /// It does not answer.
    #[error("{0}")]
    Away(String),
}

/// What an edge answers to a policy.
#[derive(Debug, Deserialize)]
pub struct Installed {
    /// The version that its homes have.
    pub version: u64,
    /// Where it can look for homes; releases before do not say it.
    #[serde(default)]
    pub places: Vec<Place>,
}

impl Homes {
    /// The same with a Redis that has homes too.
    #[must_use]
    pub fn with_redis(self, redis: Counters) -> Self {
        Self { redis: Some(redis), ..self }
    }

    /// The same where those of projects that never moved are at a place.
    #[must_use]
    pub fn beginning_at(self, first: Place) -> Self {
        Self { first, ..self }
    }

    /// The edge, which has the homes in Durable Objects.
    #[must_use]
    pub fn edge(&self) -> &EdgeClient {
        &self.edge
    }

    /// The Redis, where there is one.
    #[must_use]
    pub fn redis(&self) -> Option<&Counters> {
        self.redis.as_ref()
    }

    /// Where homes are of projects that never moved.
    #[must_use]
    pub fn first(&self) -> Place {
        self.first
    }

    /// Where a project's homes are, or which they are leaving.
    #[must_use]
    pub fn stay(&self, project: &Project) -> Stay {
        project.homes.unwrap_or(Stay::first(self.first))
    }

    /// Sends a signed policy to the homes in Durable Objects.
    ///
    /// # Errors
    /// Says why they do not have it.
    pub async fn push(&self, signed: &SignedPolicy) -> Result<Option<Installed>, String> {
        let body = serde_json::to_vec(signed).map_err(|error| error.to_string())?;
        let (status, body) =
            self.edge.post_json(POLICY_PATH, body).await.map_err(|error| error.to_string())?;
        if status != StatusCode::OK {
            return Err(format!("the edge answered {status}"));
        }
        // An edge that names no version has nonetheless said that it has what was sent.
        Ok(serde_json::from_slice(&body).ok())
    }

    /// Asks whether homes could be at a place: whether it answers, and whether the edge can look there. The edge is asked
    /// by the policy that its homes have or are to have.
    ///
    /// # Errors
    /// When they could not.
    pub async fn check(&self, to: Place, signed: &SignedPolicy, home: &HomeName) -> Result<(), NotThere> {
        let redis = self.redis.as_ref().ok_or(NotThere::Unset(
            "`meter serve` knows no Redis: set REDIS_URL, beside COUNTERS=durable_object while homes are in Durable Objects",
        ))?;
        redis.read(home).await.map_err(|error| NotThere::Away(format!("the Redis: {error}")))?;
        let installed = self
            .push(signed)
            .await
            .map_err(|why| NotThere::Away(format!("the edge that EDGE_URL names: {why}")))?;
        if installed.is_some_and(|installed| installed.places.contains(&to)) {
            return Ok(());
        }
        Err(NotThere::Unset(match to {
            Place::Redis => {
                "the edge knows no Redis: set REDIS_URL there, beside COUNTERS=durable_object, and start it again"
            }
            Place::DurableObject => {
                "the edge has no homes in Durable Objects: it needs the worker with the homes"
            }
        }))
    }

    /// Who has what of a project's units now, by the homes' names.
    ///
    /// # Errors
    /// Says why they did not tell.
    pub async fn leases(
        &self,
        project: &Project,
        keys: &SigningKeys,
        now: Timestamp,
    ) -> Result<BTreeMap<HomeName, HomeTold>, String> {
        match (self.stay(project).place, &self.redis) {
            (Place::DurableObject, _) => at_edge(&self.edge, &project.id, keys, now).await,
            (Place::Redis, Some(counters)) => in_redis(counters, &project.id, now).await,
            (Place::Redis, None) => Err("REDIS_URL is not set".to_owned()),
        }
    }
}

async fn at_edge(
    edge: &EdgeClient,
    project: &ProjectId,
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<BTreeMap<HomeName, HomeTold>, String> {
    let question = LeaseQuestion { leases_of: project.clone(), asked: now }.sign(keys)?;
    let body = serde_json::to_vec(&question).map_err(|error| error.to_string())?;
    let answer = edge.ask_json(LEASES_PATH, body, ANSWER_BYTES_MAX).await;
    match answer.map_err(|error| error.to_string())? {
        (StatusCode::OK, body) => {
            serde_json::from_slice(&body).map_err(|error| format!("its answer cannot be read: {error}"))
        }
        (StatusCode::NOT_FOUND, _) => Err("it is of a release that does not tell".to_owned()),
        (status, _) => Err(format!("it answered {status}")),
    }
}

async fn in_redis(
    counters: &Counters,
    project: &ProjectId,
    now: Timestamp,
) -> Result<BTreeMap<HomeName, HomeTold>, String> {
    let mut told = BTreeMap::new();
    for mode in Mode::ALL {
        let name = HomeName { project: project.clone(), mode };
        let snapshot = counters.read(&name).await.map_err(|error| error.to_string())?;
        let home = Home::load(snapshot.stored.rows, now).map_err(|error| error.to_string())?;
        let home = home.map(|home| home.leases(now));
        // Nothing stands between a Redis and isolates.
        told.insert(name, HomeTold { home, sub_homes: BTreeMap::new(), silent: 0 });
    }
    Ok(told)
}
