//! The sums that a usage report is built from.

use std::collections::BTreeMap;

use shared::ids::{Mode, ProjectId};
use shared::time::Day;
use shared::units::Units;

use super::rollups::{self, Range};
use super::rows::{day, units};
use super::{Store, StoreError};
use crate::ledger::forecast::PACE_DAYS;
use crate::usage::{Span, Sums};

impl Store {
    /// The sums of a project's cells, all from one state of the books.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn usage(&self, project: &ProjectId, mode: Mode, span: Span) -> Result<Sums, StoreError> {
        let range =
            Range { project: project.as_str(), mode: mode.as_str(), from: span.from(), to: span.to() };
        let mut tx = self.read().await?;
        let (tokens_in, tokens_out) = rollups::observed(&mut tx, range).await?;
        Ok(Sums {
            by_day: rollups::by_day(&mut tx, range).await?,
            by_agent: rollups::by_agent(&mut tx, range).await?,
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
            "SELECT day, CAST(SUM(units) AS BIGINT) AS units FROM usage_day
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
