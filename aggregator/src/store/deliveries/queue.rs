//! Who may send what now, and what came of it.
//!
//! An endpoint is claimed by one process at a time, for a while that is longer than an attempt takes: no receiver is
//! called twice at once, however many processes there are, and one that died holds nothing for long.

use shared::ids::ProjectId;
use shared::time::Timestamp;
use sqlx::Row;

use super::{message, state};
use crate::store::rows::{id, int, ms, small};
use crate::store::{Connection, DbRow, Store, StoreError, again, events, stream, webhooks};
use crate::webhooks::endpoint::Endpoint;
use crate::webhooks::event::{Event, Message, WebhookDisabled};
use crate::webhooks::health::Health;
use crate::webhooks::schedule::{Outcome, State, Waiting};
use crate::webhooks::seal::Sealed;

/// An endpoint that this process alone delivers to at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The endpoint.
    pub webhook: String,
    /// Whose it is.
    pub project: ProjectId,
    /// Which process.
    pub by: String,
}

/// Which endpoints are asked for: those that fail have a lane of their own, so that they never take a place that
/// one which works is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Their last attempt arrived.
    Well,
    /// It did not.
    Failing,
}

/// What is to be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The delivery.
    pub delivery: String,
    /// Attempts so far, of all rounds.
    pub attempts: u32,
    /// Where it stands.
    pub waiting: Waiting,
    /// Where to.
    pub endpoint: Endpoint,
    /// What it is signed with.
    pub secrets: Vec<Sealed>,
    /// What.
    pub message: Message,
}

/// An attempt that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub duration_ms: u64,
    /// Where it went.
    pub url: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How the answer's body began.
    pub response: String,
}

impl Store {
    /// Waits until this process wrote something that is to be delivered; other processes' is found by looking.
    pub async fn deliveries_due(&self) {
        self.deliveries_due.notified().await;
    }

    /// Claims at most `limit` endpoints that have something due, those waiting longest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim_webhooks(
        &self,
        by: &str,
        lane: Lane,
        (now, until): (Timestamp, Timestamp),
        limit: u32,
    ) -> Result<Vec<Claim>, StoreError> {
        let failing = i64::from(lane == Lane::Failing);
        if limit == 0 || !any_due(&mut *self.readers.acquire().await?, failing, now).await? {
            return Ok(vec![]);
        }
        let sql = format!(
            "UPDATE webhook SET claimed_until_ms = $1, claimed_by = $2
             WHERE claimed_until_ms <= $3 AND id IN (
                 SELECT id FROM webhook
                 WHERE disabled_ms IS NULL AND due_ms <= $3 AND claimed_until_ms <= $3
                   AND (CASE WHEN failing_ms IS NULL THEN 0 ELSE 1 END) = $4
                 ORDER BY due_ms, id LIMIT $5 {})
             RETURNING id, project",
            self.dialect.skip_locked()
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(ms(until))
            .bind(by)
            .bind(ms(now))
            .bind(failing)
            .bind(i64::from(limit))
            .fetch_all(&self.writer)
            .await?;
        rows.iter()
            .map(|row| {
                let project = id(row, "project", ProjectId::parse)?;
                Ok(Claim { webhook: row.try_get("id")?, project, by: by.to_owned() })
            })
            .collect()
    }

    /// Gives a claim back.
    ///
    /// # Errors
    /// When the store fails; the claim ends by itself then.
    pub async fn release_webhook(&self, claim: &Claim) -> Result<(), StoreError> {
        sqlx::query("UPDATE webhook SET claimed_until_ms = 0 WHERE id = $1 AND claimed_by = $2")
            .bind(&claim.webhook)
            .bind(&claim.by)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// The first delivery of a claimed endpoint that is due.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next_due(&self, claim: &Claim, now: Timestamp) -> Result<Option<Due>, StoreError> {
        let mut tx = self.read().await?;
        let Some(endpoint) = webhooks::find(&mut tx, &claim.project, &claim.webhook).await? else {
            return Ok(None);
        };
        if matches!(endpoint.health, Health::Disabled { .. }) {
            return Ok(None);
        }
        let Some(row) = first_due(&mut tx, &claim.webhook, now).await? else { return Ok(None) };
        let secrets = webhooks::secrets(&mut tx, &claim.webhook, now).await?;
        let State::Waiting(waiting) = state(&row)? else { return Ok(None) };
        Ok(Some(Due {
            delivery: row.try_get("id")?,
            attempts: small(&row, "attempts")?,
            waiting,
            endpoint,
            secrets,
            message: message(&row)?,
        }))
    }

    /// Writes an attempt down: where the delivery stands now, how its endpoint is, and, where that was disabled, the
    /// event that says so. An attempt whose delivery was changed or removed meanwhile is forgotten.
    ///
    /// # Errors
    /// When the store fails; then the delivery is still due.
    pub async fn record_attempt(
        &self,
        claim: &Claim,
        due: &Due,
        attempt: &Attempt,
        (now, claimed_until): (Timestamp, Timestamp),
    ) -> Result<Health, StoreError> {
        again(|| self.record_attempt_once(claim, due, attempt, (now, claimed_until))).await
    }

    async fn record_attempt_once(
        &self,
        claim: &Claim,
        due: &Due,
        attempt: &Attempt,
        (now, claimed_until): (Timestamp, Timestamp),
    ) -> Result<Health, StoreError> {
        let mut tx = self.write_project(&claim.project).await?;
        let Some(endpoint) = webhooks::find(&mut tx, &claim.project, &claim.webhook).await? else {
            return Ok(Health::Well);
        };
        let number = due.attempts.saturating_add(1);
        let state = due.waiting.after(&attempt.outcome, now);
        if !update(&mut tx, due, state, number).await? {
            return Ok(endpoint.health);
        }
        insert_attempt(&mut tx, &due.delivery, number, attempt).await?;
        stream::tell_attempt(&mut tx, (claim, due), (attempt, number, state), now).await?;
        let health = endpoint.health.after(&attempt.outcome, now);
        if health != endpoint.health {
            webhooks::set_health(&mut tx, &endpoint.id, health).await?;
            if let Health::Disabled { because: reason, .. } = health {
                let failing_since = endpoint.health.failing_since(now);
                let event = Event::WebhookDisabled(WebhookDisabled {
                    endpoint: endpoint.id.clone(),
                    reason,
                    failing_since,
                });
                events::announce(&mut tx, &claim.project, &event, now).await?;
            }
        }
        events::set_due(&mut tx, &claim.webhook).await?;
        renew(&mut tx, claim, claimed_until).await?;
        tx.commit().await?;
        Ok(health)
    }
}

async fn any_due(connection: &mut Connection, failing: i64, now: Timestamp) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "SELECT id FROM webhook
         WHERE disabled_ms IS NULL AND due_ms <= $1 AND claimed_until_ms <= $1
           AND (CASE WHEN failing_ms IS NULL THEN 0 ELSE 1 END) = $2 LIMIT 1",
    )
    .bind(ms(now))
    .bind(failing)
    .fetch_optional(connection)
    .await?;
    Ok(row.is_some())
}

async fn first_due(
    connection: &mut Connection,
    webhook: &str,
    now: Timestamp,
) -> Result<Option<DbRow>, StoreError> {
    let row = sqlx::query(
        "SELECT d.id, d.state, d.failed, d.attempts, d.at_ms,
                e.id AS event_id, e.type, e.at_ms AS event_ms, e.body
         FROM webhook_delivery d
         JOIN event e ON e.project = d.project AND e.number = d.event_number
         WHERE d.webhook = $1 AND d.state = 'waiting' AND d.at_ms <= $2
         ORDER BY d.at_ms, d.event_number LIMIT 1",
    )
    .bind(webhook)
    .bind(ms(now))
    .fetch_optional(connection)
    .await?;
    Ok(row)
}

/// Where the delivery stands now; false if it no longer is where the attempt found it.
async fn update(tx: &mut Connection, due: &Due, state: State, attempts: u32) -> Result<bool, StoreError> {
    let (failed, at) = match state {
        State::Waiting(Waiting { failed, due }) => (failed, due),
        State::Delivered { at } | State::GaveUp { at } => (due.waiting.failed, at),
    };
    let done = sqlx::query(
        "UPDATE webhook_delivery SET state = $1, failed = $2, attempts = $3, at_ms = $4
         WHERE id = $5 AND state = 'waiting' AND attempts = $6 AND at_ms = $7",
    )
    .bind(state.as_str())
    .bind(i64::from(failed))
    .bind(i64::from(attempts))
    .bind(ms(at))
    .bind(&due.delivery)
    .bind(i64::from(due.attempts))
    .bind(ms(due.waiting.due))
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn insert_attempt(
    tx: &mut Connection,
    delivery: &str,
    number: u32,
    attempt: &Attempt,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO webhook_attempt (delivery, number, at_ms, duration_ms, url, outcome, status, detail, response)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(delivery)
    .bind(i64::from(number))
    .bind(ms(attempt.at))
    .bind(int(attempt.duration_ms))
    .bind(&attempt.url)
    .bind(attempt.outcome.as_str())
    .bind(attempt.outcome.status().map(i64::from))
    .bind(attempt.outcome.detail().unwrap_or_default())
    .bind(&attempt.response)
    .execute(tx)
    .await?;
    Ok(())
}

async fn renew(tx: &mut Connection, claim: &Claim, until: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE webhook SET claimed_until_ms = $1 WHERE id = $2 AND claimed_by = $3")
        .bind(ms(until))
        .bind(&claim.webhook)
        .bind(&claim.by)
        .execute(tx)
        .await?;
    Ok(())
}
