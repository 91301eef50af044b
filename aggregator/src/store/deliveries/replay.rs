//! Sending again what a receiver has not got, or wants once more.

use serde_json::json;
use shared::ids::ProjectId;
use shared::time::Timestamp;
use sqlx::Row;

use super::{Delivery, find};
use crate::access::trail::{Action, Deed};
use crate::store::rows::{ms, name, number};
use crate::store::webhooks::Asked;
use crate::store::{Connection, StoreError, Work, events, webhooks};
use crate::webhooks::event::EventType;
use crate::webhooks::health::Health;
use crate::webhooks::schedule::{State, Waiting};

impl Work {
    /// Begins a new round of a delivery now, wherever it stood.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn replay_delivery(
        &mut self,
        project: &ProjectId,
        webhook: &str,
        delivery: &str,
        now: Timestamp,
    ) -> Result<Asked<Delivery>, StoreError> {
        let endpoint = webhooks::find(&mut self.tx, project, webhook).await?;
        let found = find(&mut self.tx, project, webhook, delivery).await?;
        let (Some(endpoint), Some(found)) = (endpoint, found) else { return Ok(Asked::Unknown) };
        if matches!(endpoint.health, Health::Disabled { .. }) {
            return Ok(Asked::Disabled);
        }
        let State::Waiting(waiting) = found.state.replayed(now) else { return Ok(Asked::Unknown) };
        begin_round(&mut self.tx, delivery, waiting).await?;
        events::set_due(&mut self.tx, webhook).await?;
        let deed =
            Deed::new(project, Action::WebhookReplayed, webhook).became(&json!({ "delivery": delivery }));
        self.note(&deed, now).await?;
        Ok(Asked::Done(Delivery { state: State::Waiting(waiting), ..found }))
    }

    /// Begins a new round of everything since an instant that the endpoint wants and has not got: what was given up,
    /// and what happened while it was disabled or not there yet. At most `limit` of each, the oldest first; says how
    /// many.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn replay_since(
        &mut self,
        project: &ProjectId,
        webhook: &str,
        (since, now): (Timestamp, Timestamp),
        limit: u32,
    ) -> Result<Asked<u64>, StoreError> {
        let Some(endpoint) = webhooks::find(&mut self.tx, project, webhook).await? else {
            return Ok(Asked::Unknown);
        };
        if matches!(endpoint.health, Health::Disabled { .. }) {
            return Ok(Asked::Disabled);
        }
        let mut count = 0_u64;
        for delivery in given_up(&mut self.tx, webhook, since, limit).await? {
            begin_round(&mut self.tx, &delivery, Waiting::new(now)).await?;
            count = count.saturating_add(1);
        }
        for (number, event, kind) in never_queued(&mut self.tx, project, webhook, since, limit).await? {
            if endpoint.events.takes(kind) {
                events::queue(&mut self.tx, webhook, (project, number, &event), now).await?;
                count = count.saturating_add(1);
            }
        }
        events::set_due(&mut self.tx, webhook).await?;
        let replayed = json!({ "since": since.to_string(), "deliveries": count });
        self.note(&Deed::new(project, Action::WebhookReplayed, webhook).became(&replayed), now).await?;
        Ok(Asked::Done(count))
    }
}

async fn begin_round(tx: &mut Connection, delivery: &str, waiting: Waiting) -> Result<(), StoreError> {
    sqlx::query("UPDATE webhook_delivery SET state = 'waiting', failed = $1, at_ms = $2 WHERE id = $3")
        .bind(i64::from(waiting.failed))
        .bind(ms(waiting.due))
        .bind(delivery)
        .execute(tx)
        .await?;
    Ok(())
}

async fn given_up(
    tx: &mut Connection,
    webhook: &str,
    since: Timestamp,
    limit: u32,
) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query(
        "SELECT d.id FROM webhook_delivery d
         JOIN event e ON e.project = d.project AND e.number = d.event_number
         WHERE d.webhook = $1 AND d.state = 'gave_up' AND e.at_ms >= $2 ORDER BY d.event_number LIMIT $3",
    )
    .bind(webhook)
    .bind(ms(since))
    .bind(i64::from(limit))
    .fetch_all(tx)
    .await?;
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

async fn never_queued(
    tx: &mut Connection,
    project: &ProjectId,
    webhook: &str,
    since: Timestamp,
    limit: u32,
) -> Result<Vec<(u64, String, EventType)>, StoreError> {
    let rows = sqlx::query(
        "SELECT e.number, e.id, e.type FROM event e
         WHERE e.project = $1 AND e.at_ms >= $2 AND e.type <> 'webhook.test' AND NOT EXISTS (
             SELECT 1 FROM webhook_delivery d WHERE d.webhook = $3 AND d.event_number = e.number)
         ORDER BY e.number LIMIT $4",
    )
    .bind(project.as_str())
    .bind(ms(since))
    .bind(webhook)
    .bind(i64::from(limit))
    .fetch_all(tx)
    .await?;
    rows.iter()
        .map(|row| Ok((number(row, "number")?, row.try_get("id")?, name(row, "type", EventType::parse)?)))
        .collect()
}
