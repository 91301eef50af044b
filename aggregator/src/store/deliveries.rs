//! Deliveries and their attempts on disk: who may send what now, and what came of it.
//!
//! An endpoint is claimed by one process at a time, for a while that is longer than an attempt takes: no receiver is
//! called twice at once, however many processes there are, and one that died holds nothing for long.

use serde_json::json;
use shared::ids::ProjectId;
use shared::time::Timestamp;
use sqlx::Row;

use super::rows::{id, instant, int, ms, name, number, optional, small};
use super::webhooks::Asked;
use super::{Connection, DbRow, Store, StoreError, Work, events, stream, webhooks};
use crate::trail::{Action, Deed};
use crate::webhook::endpoint::Endpoint;
use crate::webhook::event::{Event, EventType, Message, WebhookDisabled};
use crate::webhook::health::Health;
use crate::webhook::schedule::{Outcome, State, Waiting};
use crate::webhook::seal::Sealed;

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

/// An attempt as it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempted {
    /// Its number within the delivery.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub duration_ms: u64,
    /// Where it went.
    pub url: String,
    /// What came of it, in one word.
    pub outcome: String,
    /// The status that was answered.
    pub status: Option<u32>,
    /// Why there was no answer.
    pub detail: String,
    /// How the answer's body began.
    pub response: String,
}

/// A delivery with the last of its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: String,
    /// The place of its event among the project's.
    pub event_number: u64,
    /// What is delivered.
    pub message: Message,
    /// Where it stands.
    pub state: State,
    /// How many attempts there were.
    pub attempts: u32,
    /// The last of them.
    pub last: Option<Attempted>,
}

/// Which deliveries are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Only those of events before this number.
    pub before: u64,
    /// How many at most.
    pub limit: u32,
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

    /// A page of an endpoint's deliveries, the newest first; `None` if the project has no such endpoint.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn deliveries(
        &self,
        project: &ProjectId,
        webhook: &str,
        page: Page,
    ) -> Result<Option<Vec<Delivery>>, StoreError> {
        let mut tx = self.read().await?;
        if webhooks::find(&mut tx, project, webhook).await?.is_none() {
            return Ok(None);
        }
        let rows = sqlx::query(
            "SELECT d.id, d.event_number, d.state, d.failed, d.attempts, d.at_ms,
                    e.id AS event_id, e.type, e.at_ms AS event_ms, e.body,
                    a.number, a.at_ms AS tried_ms, a.duration_ms, a.url, a.outcome, a.status, a.detail, a.response
             FROM webhook_delivery d
             JOIN event e ON e.project = d.project AND e.number = d.event_number
             LEFT JOIN webhook_attempt a ON a.delivery = d.id AND a.number = d.attempts
             WHERE d.webhook = $1 AND d.event_number < $2
             ORDER BY d.event_number DESC LIMIT $3",
        )
        .bind(webhook)
        .bind(int(page.before))
        .bind(i64::from(page.limit))
        .fetch_all(&mut *tx)
        .await?;
        rows.iter().map(delivery).collect::<Result<_, _>>().map(Some)
    }

    /// A delivery with all of its attempts, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delivery(
        &self,
        project: &ProjectId,
        webhook: &str,
        delivery: &str,
    ) -> Result<Option<(Delivery, Vec<Attempted>)>, StoreError> {
        let mut tx = self.read().await?;
        let Some(found) = find(&mut tx, project, webhook, delivery).await? else { return Ok(None) };
        let rows = sqlx::query(
            "SELECT number, at_ms AS tried_ms, duration_ms, url, outcome, status, detail, response
             FROM webhook_attempt WHERE delivery = $1 ORDER BY number",
        )
        .bind(delivery)
        .fetch_all(&mut *tx)
        .await?;
        let attempts = rows.iter().map(attempted).collect::<Result<_, _>>()?;
        Ok(Some((found, attempts)))
    }

    /// Forgets at most `limit` events before an instant that no delivery waits for, with their deliveries; says how
    /// many.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_events(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM event WHERE id IN (
                 SELECT e.id FROM event e WHERE e.at_ms < $1 AND NOT EXISTS (
                     SELECT 1 FROM webhook_delivery d
                     WHERE d.project = e.project AND d.event_number = e.number AND d.state = 'waiting')
                 LIMIT $2)",
        )
        .bind(ms(before))
        .bind(i64::from(limit))
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected())
    }
}

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

async fn find(
    connection: &mut Connection,
    project: &ProjectId,
    webhook: &str,
    delivery_id: &str,
) -> Result<Option<Delivery>, StoreError> {
    let row = sqlx::query(
        "SELECT d.id, d.event_number, d.state, d.failed, d.attempts, d.at_ms,
                e.id AS event_id, e.type, e.at_ms AS event_ms, e.body,
                a.number, a.at_ms AS tried_ms, a.duration_ms, a.url, a.outcome, a.status, a.detail, a.response
         FROM webhook_delivery d
         JOIN event e ON e.project = d.project AND e.number = d.event_number
         LEFT JOIN webhook_attempt a ON a.delivery = d.id AND a.number = d.attempts
         WHERE d.project = $1 AND d.webhook = $2 AND d.id = $3",
    )
    .bind(project.as_str())
    .bind(webhook)
    .bind(delivery_id)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(delivery).transpose()
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

async fn begin_round(tx: &mut Connection, delivery: &str, waiting: Waiting) -> Result<(), StoreError> {
    sqlx::query("UPDATE webhook_delivery SET state = 'waiting', failed = $1, at_ms = $2 WHERE id = $3")
        .bind(i64::from(waiting.failed))
        .bind(ms(waiting.due))
        .bind(delivery)
        .execute(tx)
        .await?;
    Ok(())
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

fn delivery(row: &DbRow) -> Result<Delivery, StoreError> {
    let has_last = row.try_get::<Option<i64>, _>("number")?.is_some();
    Ok(Delivery {
        id: row.try_get("id")?,
        event_number: number(row, "event_number")?,
        message: message(row)?,
        state: state(row)?,
        attempts: small(row, "attempts")?,
        last: if has_last { Some(attempted(row)?) } else { None },
    })
}

fn message(row: &DbRow) -> Result<Message, StoreError> {
    Ok(Message {
        id: row.try_get("event_id")?,
        kind: name(row, "type", EventType::parse)?,
        at: instant(row, "event_ms")?,
        body: row.try_get("body")?,
    })
}

fn state(row: &DbRow) -> Result<State, StoreError> {
    let (stored, at): (String, _) = (row.try_get("state")?, instant(row, "at_ms")?);
    match stored.as_str() {
        "waiting" => Ok(State::Waiting(Waiting { failed: small(row, "failed")?, due: at })),
        "delivered" => Ok(State::Delivered { at }),
        "gave_up" => Ok(State::GaveUp { at }),
        _ => Err(StoreError::Unreadable { column: "state", got: stored }),
    }
}

fn attempted(row: &DbRow) -> Result<Attempted, StoreError> {
    Ok(Attempted {
        number: small(row, "number")?,
        at: instant(row, "tried_ms")?,
        duration_ms: number(row, "duration_ms")?,
        url: row.try_get("url")?,
        outcome: row.try_get("outcome")?,
        status: optional(row, "status", small)?,
        detail: row.try_get("detail")?,
        response: row.try_get("response")?,
    })
}
