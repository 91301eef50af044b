//! What is merged of all lives of a home, for homes whose storage can be rolled back: they issue nothing before they
//! know it (`shared::home`).

use std::collections::BTreeMap;

use shared::ids::AgentId;
use shared::time::{Period, Timestamp};
use shared::units::Units;
use shared::window::Window;
use shared::wire::{Flush, Merged, Stranded};

use super::rows::{int, name, number, of_life, units};
use super::{Connection, DbRow, Store, StoreError, agent_sums, homes, ledger};

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
        let others = other_lives(&mut tx, life).await?;
        let window = others.iter().filter_map(|other| other.window).reduce(Window::most);
        let last_seen: Vec<Timestamp> =
            others.iter().filter(|other| !other.ended_in_order).map(|other| other.last_seen).collect();
        let recent = lives_since(Timestamp::from_ms(now.as_ms().saturating_sub(RECENT_MS)), &last_seen);
        let mut stranded = stranded(&mut tx, life).await?;
        let mut of_agents =
            if *agents { agent_units(&mut tx, life, *first_open).await? } else { BTreeMap::new() };
        let begun = |period: &Period| *period <= now.period();
        let periods =
            std::iter::successors(Some(*first_open), |period| Some(period.next())).take_while(begun);
        let merged = |period: Period| {
            let lives = lives_since(period.start(), &last_seen);
            let lost = Units::new(lost.get().saturating_mul(u64::from(lives)));
            Merged {
                period,
                units: sums.get(&period).map_or(Units::ZERO, |sum| sum.units),
                lives,
                stranded: stranded.remove(&period).unwrap_or_default().saturating_add(lost),
                agents: of_agents.remove(&period).unwrap_or_default().into_iter().collect(),
                window,
                recent: Some(recent),
            }
        };
        Ok(periods.map(merged).collect())
    }
}

/// For so long after it was last heard a life may go on issuing permits unheard, in milliseconds, though a later one has
/// begun: longer than any server that was cut off is asked by those who do not know it yet.
const RECENT_MS: u64 = 600_000;

/// How many of the other lives may have issued something since `start`.
///
/// Where a later life was heard before that, an earlier one had ended by then: of all lives that were heard only before
/// it, one alone may have gone on.
fn lives_since(start: Timestamp, last_seen: &[Timestamp]) -> u32 {
    let heard = last_seen.iter().filter(|at| **at >= start).count();
    let before = usize::from(heard < last_seen.len());
    u32::try_from(heard.saturating_add(before)).unwrap_or(u32::MAX)
}

/// A life of the same source as the one that asks.
struct OtherLife {
    last_seen: Timestamp,
    /// Then it has told everything.
    ended_in_order: bool,
    /// What it has told last of its permits.
    window: Option<Window>,
}

/// The lives of the same source beside the one that asks.
async fn other_lives(tx: &mut Connection, life: &Flush) -> Result<Vec<OtherLife>, StoreError> {
    let rows = of_life(
        sqlx::query(
            "SELECT source.last_seen_ms, source.permits, retired.permits AS last_permits
         FROM source LEFT JOIN retired
           ON retired.project = source.project AND retired.mode = source.mode
          AND retired.source = source.source AND retired.incarnation = source.incarnation
         WHERE source.project = $1 AND source.mode = $2 AND source.source = $3 AND source.incarnation <> $4",
        ),
        life,
    )
    .fetch_all(tx)
    .await?;
    let read = |row: &DbRow| {
        let last = homes::read_window(row, "last_permits")?;
        Ok(OtherLife {
            last_seen: Timestamp::from_ms(number(row, "last_seen_ms")?),
            ended_in_order: last.is_some(),
            window: last.or(homes::read_window(row, "permits")?),
        })
    };
    rows.iter().map(read).collect()
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
            lives_since(november.start(), &heard)
        };
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[start - 1]), 1, "it may have gone on into the month, unheard");
        assert_eq!(of(&[start - 9, start - 5, start - 1]), 1, "but only the last of them");
        assert_eq!(of(&[start - 9, start - 5, start, start + 7]), 3);
    }
}
