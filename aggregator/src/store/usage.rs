//! The sums that a usage report is built from.

use std::collections::BTreeMap;

use shared::ids::{AgentId, Mode, ProjectId};
use shared::kind::Kind;
use shared::time::Day;
use shared::units::Units;
use sqlx::SqliteConnection;

use super::rows::{day, id, name, units};
use super::{Store, StoreError};
use crate::ledger::forecast::PACE_DAYS;
use crate::usage::{Span, Sums};

/// Which cells are summed.
#[derive(Clone, Copy)]
struct Range<'a> {
    project: &'a str,
    mode: &'a str,
    from: u32,
    to: u32,
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
            from: span.from().number(),
            to: span.to().number(),
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
             WHERE project = ? AND mode = 'live' AND day BETWEEN ? AND ? GROUP BY day",
        )
        .bind(project.as_str())
        .bind(today.number().saturating_sub(PACE_DAYS))
        .bind(today.number())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| Ok((day(row, "day")?, units(row, "units")?))).collect()
    }
}

async fn by_day(tx: &mut SqliteConnection, range: Range<'_>) -> Result<Vec<(Day, Kind, Units)>, StoreError> {
    let rows = sqlx::query(
        "SELECT day, kind, SUM(units) AS units FROM cell
         WHERE project = ? AND mode = ? AND day BETWEEN ? AND ?
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

async fn by_agent(tx: &mut SqliteConnection, range: Range<'_>) -> Result<Vec<(AgentId, Units)>, StoreError> {
    let rows = sqlx::query(
        "SELECT agent, SUM(units) AS units FROM cell
         WHERE project = ? AND mode = ? AND day BETWEEN ? AND ?
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

async fn observed(tx: &mut SqliteConnection, range: Range<'_>) -> Result<(Units, Units), StoreError> {
    let row = sqlx::query(
        "SELECT COALESCE(SUM(tokens_in), 0) AS tokens_in, COALESCE(SUM(tokens_out), 0) AS tokens_out FROM cell
         WHERE project = ? AND mode = ? AND day BETWEEN ? AND ?",
    )
    .bind(range.project)
    .bind(range.mode)
    .bind(range.from)
    .bind(range.to)
    .fetch_one(tx)
    .await?;
    Ok((units(&row, "tokens_in")?, units(&row, "tokens_out")?))
}
