//! Deliveries and their attempts on disk, as their owner reads them.

mod queue;
mod replay;

use shared::ids::ProjectId;
use shared::time::Timestamp;
use sqlx::Row;

pub use self::queue::{Attempt, Claim, Due, Lane};
use super::rows::{instant, int, ms, name, number, optional, small};
use super::{Connection, DbRow, Store, StoreError, webhooks};
use crate::webhooks::event::{EventType, Message};
use crate::webhooks::schedule::{State, Waiting};

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
        let rows = sqlx::query(select(
            "d.webhook = $1 AND d.event_number < $2 ORDER BY d.event_number DESC LIMIT $3",
        ))
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

/// Deliveries with the last attempt of each, as [`delivery`] reads them.
fn select(condition: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!(
        "SELECT d.id, d.event_number, d.state, d.failed, d.attempts, d.at_ms,
                e.id AS event_id, e.type, e.at_ms AS event_ms, e.body,
                a.number, a.at_ms AS tried_ms, a.duration_ms, a.url, a.outcome, a.status, a.detail, a.response
         FROM webhook_delivery d
         JOIN event e ON e.project = d.project AND e.number = d.event_number
         LEFT JOIN webhook_attempt a ON a.delivery = d.id AND a.number = d.attempts
         WHERE {condition}"
    ))
}

async fn find(
    connection: &mut Connection,
    project: &ProjectId,
    webhook: &str,
    delivery_id: &str,
) -> Result<Option<Delivery>, StoreError> {
    let row = sqlx::query(select("d.project = $1 AND d.webhook = $2 AND d.id = $3"))
        .bind(project.as_str())
        .bind(webhook)
        .bind(delivery_id)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(delivery).transpose()
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
