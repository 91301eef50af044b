//! What is merged of all lives of a home, for homes whose storage can be rolled back: they issue nothing before they
//! know it (`shared::home`).

use std::collections::BTreeMap;

use shared::ids::AgentId;
use shared::time::{Period, Timestamp};
use shared::units::Units;
use shared::wire::{Flush, Merged, Stranded};

use super::rows::{int, name, number, of_life, units};
use super::{Connection, Store, StoreError, agent_sums, homes, ledger};

/// Who asks, and what its policy limits.
#[derive(Debug, Clone)]
pub struct Asking {
    /// A flush of the life that asks, without its cells.
    pub life: Flush,
    /// The first period that is not final.
    pub first_open: Period,
    /// Whether the policy limits agents, so that their units are told too.
    pub agents: bool,
    /// What each life in a Redis that did not end in order may have issued and not told, where the life that asks does
    /// not know it by its own policy.
    pub lost: Units,
}

impl Store {
    /// What is merged of each period that has begun and is not final, as of now or later than the flush that asks.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn merged_lives(&self, asking: &Asking, now: Timestamp) -> Result<Vec<Merged>, StoreError> {
        let Asking { life, first_open, agents, lost } = asking;
        let mut tx = self.read().await?;
        let sums = ledger::totals(&mut tx, &life.project, life.mode).await?;
        let last_seen = other_lives(&mut tx, life).await?;
        let mut stranded = stranded(&mut tx, life).await?;
        let window = homes::last_window(&mut tx, life).await?;
        let mut of_agents =
            if *agents { agent_units(&mut tx, life, *first_open).await? } else { BTreeMap::new() };
        let begun = |period: &Period| *period <= now.period();
        let periods =
            std::iter::successors(Some(*first_open), |period| Some(period.next())).take_while(begun);
        let merged = |period| {
            let lives = lives_in(period, &last_seen);
            let lost = Units::new(lost.get().saturating_mul(u64::from(lives)));
            Merged {
                period,
                units: sums.get(&period).map_or(Units::ZERO, |sum| sum.units),
                lives,
                stranded: stranded.remove(&period).unwrap_or_default().saturating_add(lost),
                agents: of_agents.remove(&period).unwrap_or_default().into_iter().collect(),
                window,
            }
        };
        Ok(periods.map(merged).collect())
    }
}

/// How many of the other lives may have issued something in that period.
///
/// Where a later life was heard before the period began, an earlier one had ended by then: of all lives that were heard
/// only before it, one alone may have gone on into it.
fn lives_in(period: Period, last_seen: &[Timestamp]) -> u32 {
    let heard = last_seen.iter().filter(|at| **at >= period.start()).count();
    let before = usize::from(heard < last_seen.len());
    u32::try_from(heard.saturating_add(before)).unwrap_or(u32::MAX)
}

/// When each life of the same source was last heard, beside the one that asks and those that have ended in order: these
/// have told everything.
async fn other_lives(tx: &mut Connection, life: &Flush) -> Result<Vec<Timestamp>, StoreError> {
    let rows = of_life(sqlx::query(
        "SELECT last_seen_ms FROM source
         WHERE project = $1 AND mode = $2 AND source = $3 AND incarnation <> $4
           AND NOT EXISTS (SELECT 1 FROM retired
                           WHERE retired.project = source.project AND retired.mode = source.mode
                             AND retired.source = source.source AND retired.incarnation = source.incarnation)",
    ), life)
    .fetch_all(tx)
    .await?;
    rows.iter().map(|row| Ok(Timestamp::from_ms(number(row, "last_seen_ms")?))).collect()
}

/// Notes what a flush tells to be stranded; an older flush that comes late changes nothing.
pub(super) async fn note_stranded(tx: &mut Connection, flush: &Flush) -> Result<(), StoreError> {
    for Stranded { period, units } in &flush.stranded {
        of_life(
            sqlx::query(
                "INSERT INTO stranded (project, mode, source, incarnation, period, seq, units)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (project, mode, source, incarnation, period) DO UPDATE SET
                 seq = excluded.seq, units = excluded.units
             WHERE excluded.seq >= stranded.seq",
            ),
            flush,
        )
        .bind(period.to_string())
        .bind(int(flush.seq))
        .bind(int(units.get()))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// What the other lives of the same source have told to be stranded.
async fn stranded(tx: &mut Connection, life: &Flush) -> Result<BTreeMap<Period, Units>, StoreError> {
    let rows = of_life(
        sqlx::query(
            "SELECT period, CAST(SUM(units) AS BIGINT) AS units FROM stranded
         WHERE project = $1 AND mode = $2 AND source = $3 AND incarnation <> $4 GROUP BY period",
        ),
        life,
    )
    .fetch_all(tx)
    .await?;
    rows.iter().map(|row| Ok((name(row, "period", Period::parse)?, units(row, "units")?))).collect()
}

/// The units of each named agent in each period from `first` on.
async fn agent_units(
    tx: &mut Connection,
    life: &Flush,
    first: Period,
) -> Result<BTreeMap<Period, Vec<(AgentId, Units)>>, StoreError> {
    let found = agent_sums::by_month(tx, (life.project.as_str(), life.mode.as_str()), first).await?;
    let mut of: BTreeMap<Period, Vec<(AgentId, Units)>> = BTreeMap::new();
    for (period, agent, units) in found {
        if agent.is_named() {
            of.entry(period).or_default().push((agent, units));
        }
    }
    Ok(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_that_had_ended_before_a_month_hold_nothing_of_it() {
        let november = Period::parse("2026-11").unwrap();
        let start = november.start().as_ms();
        let of = |heard: &[u64]| {
            let heard: Vec<Timestamp> = heard.iter().copied().map(Timestamp::from_ms).collect();
            lives_in(november, &heard)
        };
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[start - 1]), 1, "it may have gone on into the month, unheard");
        assert_eq!(of(&[start - 9, start - 5, start - 1]), 1, "but only the last of them");
        assert_eq!(of(&[start - 9, start - 5, start, start + 7]), 3);
    }
}
