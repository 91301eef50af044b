//! The sums that a usage report is built from.

use std::collections::BTreeMap;

use shared::ids::{AgentId, Mode, ProjectId};
use shared::kind::Kind;
use shared::time::Day;
use shared::units::Units;

use super::rows::{day, id, name, units};
use super::{Connection, Store, StoreError};
use crate::ledger::forecast::PACE_DAYS;
use crate::usage::{Span, Sums};

/// Which cells are summed.
#[derive(Clone, Copy)]
struct Range<'a> {
    project: &'a str,
    mode: &'a str,
    from: i64,
    to: i64,
}

impl Store {
    /// The sums of a project's cells, all from one state of the books.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn usage(&self, project: &ProjectId, mode: Mode, span: Span) -> Result<Sums, StoreError> {
        let range = Range {
            project: project.as_str(),
            mode: mode.as_str(),
            from: i64::from(span.from().number()),
            to: i64::from(span.to().number()),
        };
        let mut tx = self.read().await?;
        let (tokens_in, tokens_out) = observed(&mut tx, range).await?;
        Ok(Sums {
            by_day: by_day(&mut tx, range).await?,
            by_agent: by_agent(&mut tx, range).await?,
            tokens_in,
            tokens_out,
        })
    }

    /// Live units of each day that the forecast's pace is taken from, today included.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn daily_units(
        &self,
        project: &ProjectId,
        today: Day,
    ) -> Result<BTreeMap<Day, Units>, StoreError> {
        let rows = sqlx::query(
            "SELECT day, SUM(units) AS units FROM cell
             WHERE project = $1 AND mode = 'live' AND day BETWEEN $2 AND $3 GROUP BY day",
        )
        .bind(project.as_str())
        .bind(i64::from(today.number().saturating_sub(PACE_DAYS)))
        .bind(i64::from(today.number()))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| Ok((day(row, "day")?, units(row, "units")?))).collect()
    }
}

async fn by_day(tx: &mut Connection, range: Range<'_>) -> Result<Vec<(Day, Kind, Units)>, StoreError> {
    let rows = sqlx::query(
        "SELECT day, kind, SUM(units) AS units FROM cell
         WHERE project = $1 AND mode = $2 AND day BETWEEN $3 AND $4
         GROUP BY day, kind",
    )
    .bind(range.project)
    .bind(range.mode)
    .bind(range.from)
    .bind(range.to)
    .fetch_all(tx)
    .await?;
    rows.iter()
        .map(|row| Ok((day(row, "day")?, name(row, "kind", Kind::parse)?, units(row, "units")?)))
        .collect()
}

async fn by_agent(tx: &mut Connection, range: Range<'_>) -> Result<Vec<(AgentId, Units)>, StoreError> {
    let rows = sqlx::query(
        "SELECT agent, SUM(units) AS units FROM cell
         WHERE project = $1 AND mode = $2 AND day BETWEEN $3 AND $4
         GROUP BY agent",
    )
    .bind(range.project)
    .bind(range.mode)
    .bind(range.from)
    .bind(range.to)
    .fetch_all(tx)
    .await?;
    rows.iter().map(|row| Ok((id(row, "agent", AgentId::parse)?, units(row, "units")?))).collect()
}

async fn observed(tx: &mut Connection, range: Range<'_>) -> Result<(Units, Units), StoreError> {
    let row = sqlx::query(
        "SELECT COALESCE(SUM(tokens_in), 0) AS tokens_in, COALESCE(SUM(tokens_out), 0) AS tokens_out FROM cell
         WHERE project = $1 AND mode = $2 AND day BETWEEN $3 AND $4",
    )
    .bind(range.project)
    .bind(range.mode)
    .bind(range.from)
    .bind(range.to)
    .fetch_one(tx)
    .await?;
    Ok((units(&row, "tokens_in")?, units(&row, "tokens_out")?))
}
