//! Where the homes are, and what they tell of their leases.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use shared::home::leases::HomeTold;
use shared::home::{Home, HomeName};
use shared::ids::{Mode, ProjectId};
use shared::lease_question::LeaseQuestion;
use shared::sign::SigningKeys;
use shared::time::Timestamp;
use shared::wire::LEASES_PATH;

use crate::counters::Counters;
use crate::edge::client::EdgeClient;

/// The longest answer of an edge that is read: 200 holders of a home and of each of its sub-homes.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Where homes take policies and are asked.
#[derive(Debug, Clone)]
pub enum Homes {
    /// At the edge, over HTTP.
    Edge(Box<EdgeClient>),
    /// In a Redis.
    Redis(Counters),
}

impl From<EdgeClient> for Homes {
    fn from(edge: EdgeClient) -> Self {
        Self::Edge(Box::new(edge))
    }
}

impl Homes {
    /// Who has what of a project's units now, by the homes' names.
    ///
    /// # Errors
    /// Says why they did not tell.
    pub async fn leases(
        &self,
        project: &ProjectId,
        keys: &SigningKeys,
        now: Timestamp,
    ) -> Result<BTreeMap<HomeName, HomeTold>, String> {
        match self {
            Self::Edge(edge) => at_edge(edge, project, keys, now).await,
            Self::Redis(counters) => in_redis(counters, project, now).await,
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
