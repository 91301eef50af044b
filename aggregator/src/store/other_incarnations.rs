//! What is merged of all lives of a home, for homes whose storage can be rolled back: they issue nothing before they
//! know it (`shared::home`).

use std::collections::BTreeMap;

use shared::ids::AgentId;
use shared::time::{Period, Timestamp};
use shared::units::Units;
use shared::wire::{Flush, Merged};

use super::ledger;
use super::rows::{id, name, number, units};
use super::{Connection, Store, StoreError};

/// Who asks, and what its policy limits.
#[derive(Debug, Clone)]
pub struct Asking {
    /// A flush of the life that asks, without its cells.
    pub life: Flush,
    /// The first period that is not final.
    pub first_open: Period,
    /// Whether the policy limits agents, so that their units are told too.
    pub agents: bool,
}

impl Store {
    /// What is merged of each period that has begun and is not final, as of now or later than the flush that asks.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn merged_lives(&self, asking: &Asking, now: Timestamp) -> Result<Vec<Merged>, StoreError> {
        let Asking { life, first_open, agents } = asking;
        let mut tx = self.read().await?;
        let sums = ledger::totals(&mut tx, &life.project, life.mode).await?;
        let lives = other_lives(&mut tx, life).await?;
        let mut of_agents =
            if *agents { agent_units(&mut tx, life, *first_open).await? } else { BTreeMap::new() };
        let begun = |period: &Period| *period <= now.period();
        let periods =
            std::iter::successors(Some(*first_open), |period| Some(period.next())).take_while(begun);
        let merged = |period| Merged {
            period,
            units: sums.get(&period).map_or(Units::ZERO, |sum| sum.units),
            lives,
            agents: of_agents.remove(&period).unwrap_or_default().into_iter().collect(),
        };
        Ok(periods.map(merged).collect())
    }
}

/// How many lives of the same source there were beside the one that asks.
async fn other_lives(tx: &mut Connection, life: &Flush) -> Result<u32, StoreError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS lives FROM source
         WHERE project = $1 AND mode = $2 AND source = $3 AND incarnation <> $4",
    )
    .bind(life.project.as_str())
    .bind(life.mode.as_str())
    .bind(life.source.as_str())
    .bind(life.incarnation.as_str())
    .fetch_one(tx)
    .await?;
    Ok(u32::try_from(number(&row, "lives")?).unwrap_or(u32::MAX))
}

/// The units of each named agent in each period from `first` on.
async fn agent_units(
    tx: &mut Connection,
    life: &Flush,
    first: Period,
) -> Result<BTreeMap<Period, Vec<(AgentId, Units)>>, StoreError> {
    let rows = sqlx::query(
        "SELECT period, agent, units FROM usage_agent
         WHERE project = $1 AND mode = $2 AND period >= $3 ORDER BY period, agent",
    )
    .bind(life.project.as_str())
    .bind(life.mode.as_str())
    .bind(first.to_string())
    .fetch_all(tx)
    .await?;
    let mut of: BTreeMap<Period, Vec<(AgentId, Units)>> = BTreeMap::new();
    for row in &rows {
        let agent = id(row, "agent", AgentId::parse)?;
        if agent.is_named() {
            of.entry(name(row, "period", Period::parse)?).or_default().push((agent, units(row, "units")?));
        }
    }
    Ok(of)
}
