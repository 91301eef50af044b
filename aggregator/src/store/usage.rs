//! The sums that a usage report is built from.

use std::collections::BTreeMap;

use shared::ids::{AgentId, ProjectId};
use shared::time::Day;
use shared::units::Units;

use super::agent_sums::{self, AgentsPage};
use super::export::Exported;
use super::rollups::{self, Range};
use super::rows::{day, units};
use super::{Connection, Store, StoreError};
use super::{denials, ledger, stream};
use crate::ledger::forecast::PACE_DAYS;
use crate::metering::usage::Sums;
use crate::metering::usage::page::{LinePlace, Page, UsageLine};
use crate::projects::book::Book;

impl Store {
    /// The sums of a project's cells, all from one state of the books; one agent more than the page has, so that it
    /// is known whether others follow; none without a page.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn usage(&self, of: &Exported, page: Option<&Page>) -> Result<Sums, StoreError> {
        let range = of.range();
        let mut tx = self.read().await?;
        let watermark = stream::newest(&mut tx, &of.project).await?;
        let (tokens_in, tokens_out) = rollups::observed(&mut tx, range).await?;
        let by_agent = match page {
            Some(page) => {
                let wanted = AgentsPage::new(page.after.as_ref(), page.limit.saturating_add(1));
                agent_sums::by_agent(&mut tx, range, (page.order, &wanted)).await?
            }
            None => Vec::new(),
        };
        Ok(Sums {
            by_day: rollups::by_day(&mut tx, range).await?,
            by_agent,
            denials: denials::by_day(&mut tx, range).await?,
            watermark,
            tokens_in,
            tokens_out,
        })
    }

    /// What these agents used on each day of a report, and the number of the last event of the live stream that it includes.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn usage_of_agents(
        &self,
        of: &Exported,
        agents: &[AgentId],
    ) -> Result<(Vec<(Day, AgentId, Units)>, u64), StoreError> {
        let mut tx = self.read().await?;
        let watermark = stream::newest(&mut tx, &of.project).await?;
        Ok((rollups::by_agent_and_day(&mut tx, of.range(), agents).await?, watermark))
    }

    /// The book of a project, the live units of each day of all months that the span is in, and the number of the last event of
    /// the live stream that they include; `None` where there is no such project.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn usage_paid(
        &self,
        of: &Exported,
    ) -> Result<Option<(Book, BTreeMap<Day, Units>, u64)>, StoreError> {
        let (from, to) = (of.span.from().period().first_day(), of.span.to().period().last_day());
        let mut tx = self.read().await?;
        let watermark = stream::newest(&mut tx, &of.project).await?;
        let Some(book) = ledger::load(&mut tx, &of.project).await? else { return Ok(None) };
        let mut daily: BTreeMap<Day, Units> = BTreeMap::new();
        for (day, _, units) in rollups::by_day(&mut tx, Range { from, to, ..of.range() }).await? {
            let sum = daily.entry(day).or_default();
            *sum = sum.saturating_add(units);
        }
        Ok(Some((book, daily, watermark)))
    }

    /// A page of what was counted by day, agent and kind, in that order, and one line more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn usage_lines(
        &self,
        of: &Exported,
        after: Option<&LinePlace>,
        limit: usize,
    ) -> Result<Vec<UsageLine>, StoreError> {
        let query = rollups::lines_query(of.range(), (after, limit.saturating_add(1)));
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter().map(rollups::line).collect()
    }

    /// Live units of each day of the present month, and of those before it that the forecast's pace is taken from; today
    /// included.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn daily_units(
        &self,
        project: &ProjectId,
        today: Day,
    ) -> Result<BTreeMap<Day, Units>, StoreError> {
        daily(&mut *self.readers.acquire().await?, project, today).await
    }
}

/// As [`Store::daily_units`], as of what the connection sees.
pub(super) async fn daily(
    connection: &mut Connection,
    project: &ProjectId,
    today: Day,
) -> Result<BTreeMap<Day, Units>, StoreError> {
    let rows = sqlx::query(
        "SELECT day, CAST(SUM(units) AS BIGINT) AS units FROM usage_day
         WHERE project = $1 AND mode = 'live' AND day BETWEEN $2 AND $3 GROUP BY day",
    )
    .bind(project.as_str())
    .bind(i64::from(today.number().saturating_sub(PACE_DAYS).min(today.period().first_day().number())))
    .bind(i64::from(today.number()))
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok((day(row, "day")?, units(row, "units")?))).collect()
}
