//! What an overview is made of, all read from one state of the books.

use std::collections::BTreeMap;

use serde_json::Value;
use shared::denials::Denials;
use shared::ids::{Mode, ProjectId};
use shared::time::{Period, Timestamp};
use shared::units::Units;

use super::payments::is_buying;
use super::rollups::Range;
use super::rows::{instant, number, optional};
use super::{Connection, Store, StoreError, agent_sums, denials, ledger, rollups, stream, usage, webhooks};
use crate::metering::overview::{Known, WebhookHealth};
use crate::webhooks::health::Health;

/// The last minute, which a limit per minute is compared with.
const MINUTE_MS: u64 = 60_000;

impl Store {
    /// What the books know of a project now; `None` where there is no such project.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn overview(&self, project: &ProjectId, now: Timestamp) -> Result<Option<Known>, StoreError> {
        let mut tx = self.read().await?;
        let Some(book) = ledger::load(&mut tx, project).await? else { return Ok(None) };
        let (today, period) = (now.day(), now.period());
        let of = |from| Range { project: project.as_str(), mode: Mode::Live.as_str(), from, to: today };
        let mut kinds = BTreeMap::new();
        for (_, kind, units) in rollups::by_day(&mut tx, of(today)).await? {
            let sum: &mut Units = kinds.entry(kind).or_default();
            *sum = sum.saturating_add(units);
        }
        let mut refused = (Denials::NONE, Denials::NONE);
        for ((day, _), denials) in denials::by_day(&mut tx, of(period.first_day())).await? {
            refused.1 = refused.1.plus(denials);
            if day == today {
                refused.0 = refused.0.plus(denials);
            }
        }
        Ok(Some(Known {
            watermark: stream::newest(&mut tx, project).await?,
            daily: usage::daily(&mut tx, project, today).await?,
            today: kinds,
            denials: refused,
            last_minute: last_minute(&mut tx, project, now).await?,
            agents: agents(&mut tx, project, period).await?,
            last_flush: last_flush(&mut tx, project).await?,
            webhooks: health(&mut tx, project).await?,
            tops_up: is_buying(&mut tx, project).await?,
            book,
        }))
    }
}

/// Live units that were counted in the last minute, as the live stream told of them.
async fn last_minute(tx: &mut Connection, project: &ProjectId, now: Timestamp) -> Result<u64, StoreError> {
    let since = Timestamp::from_ms(now.as_ms().saturating_sub(MINUTE_MS));
    let mut sum = 0_u64;
    for data in stream::counted_since(tx, project, since).await? {
        let data: Value = serde_json::from_str(&data)
            .map_err(|error| StoreError::Unreadable { column: "data", got: error.to_string() })?;
        if data.get("mode").and_then(Value::as_str) == Some(Mode::Live.as_str()) {
            sum = sum.saturating_add(data.get("added").and_then(Value::as_u64).unwrap_or_default());
        }
    }
    Ok(sum)
}

/// How many agents that a customer named were used in a month.
async fn agents(tx: &mut Connection, project: &ProjectId, period: Period) -> Result<u64, StoreError> {
    let row = agent_sums::named_agents(tx, project, period).await?;
    number(&row, "agents")
}

async fn last_flush(tx: &mut Connection, project: &ProjectId) -> Result<Option<Timestamp>, StoreError> {
    let row = sqlx::query(
        "SELECT MAX(last_seen_ms) AS last_seen_ms FROM source
         WHERE project = $1 AND mode = 'live' AND incarnation <> 'cloudevents'",
    )
    .bind(project.as_str())
    .fetch_one(tx)
    .await?;
    optional(&row, "last_seen_ms", instant)
}

async fn health(tx: &mut Connection, project: &ProjectId) -> Result<WebhookHealth, StoreError> {
    let mut health = WebhookHealth::default();
    for endpoint in webhooks::of_project(tx, project).await? {
        let count = match endpoint.health {
            Health::Well => &mut health.well,
            Health::Failing { .. } => &mut health.failing,
            Health::Disabled { .. } => &mut health.disabled,
        };
        *count = count.saturating_add(1);
    }
    let row = sqlx::query(
        "SELECT COUNT(*) AS waiting FROM webhook_delivery WHERE project = $1 AND state = 'waiting'",
    )
    .bind(project.as_str())
    .fetch_one(tx)
    .await?;
    Ok(WebhookHealth { waiting: number(&row, "waiting")?, ..health })
}
