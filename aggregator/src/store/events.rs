//! Events on disk. An event is written by the transaction that makes what it tells of, together with a delivery for
//! each endpoint that wants it: there is nothing that a crash could leave half done.

use sha2::{Digest, Sha256};
use shared::ids::ProjectId;
use shared::time::Timestamp;

use super::rows::{int, ms, number};
use super::{Connection, StoreError, stream, webhooks};
use crate::webhooks::event::{Event, Message};
use crate::webhooks::health::Health;

/// Writes an event and its deliveries; false if it had been written before, which then changes nothing.
pub(super) async fn announce(
    tx: &mut Connection,
    project: &ProjectId,
    event: &Event,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let message = message(project, event, now)?;
    let Some(number) = insert(tx, project, &message).await? else { return Ok(false) };
    stream::tell_message(tx, project, &message, now).await?;
    for endpoint in webhooks::of_project(tx, project).await? {
        let disabled = matches!(endpoint.health, Health::Disabled { .. });
        if !disabled && endpoint.events.takes(message.kind) {
            queue(tx, &endpoint.id, (project, number, &message.id), now).await?;
        }
    }
    Ok(true)
}

/// Writes an event for one endpoint only, and says which delivery that is.
pub(super) async fn announce_to(
    tx: &mut Connection,
    project: &ProjectId,
    webhook: &str,
    event: &Event,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let message = message(project, event, now)?;
    let Some(number) = insert(tx, project, &message).await? else { return Ok(None) };
    queue(tx, webhook, (project, number, &message.id), now).await.map(Some)
}

fn message(project: &ProjectId, event: &Event, now: Timestamp) -> Result<Message, StoreError> {
    Message::new(project, event, now).map_err(|error| StoreError::Unwritable(error.to_string()))
}

/// Inserts the event and says which number it got; `None` if it is there.
async fn insert(
    tx: &mut Connection,
    project: &ProjectId,
    message: &Message,
) -> Result<Option<u64>, StoreError> {
    let row = sqlx::query(
        "INSERT INTO event (project, number, id, type, at_ms, body)
         SELECT $1, (SELECT COALESCE(MAX(number), 0) + 1 FROM event WHERE project = $1), $2, $3, $4, $5
         WHERE NOT EXISTS (SELECT 1 FROM event WHERE id = $2)
         RETURNING number",
    )
    .bind(project.as_str())
    .bind(&message.id)
    .bind(message.kind.as_str())
    .bind(ms(message.at))
    .bind(&message.body)
    .fetch_optional(tx)
    .await?;
    row.as_ref().map(|row| number(row, "number")).transpose()
}

/// Queues the delivery of an event to an endpoint, unless it is there, and says which it is.
pub(super) async fn queue(
    tx: &mut Connection,
    webhook: &str,
    (project, event_number, event_id): (&ProjectId, u64, &str),
    now: Timestamp,
) -> Result<String, StoreError> {
    let id = delivery_id(webhook, event_id);
    sqlx::query(
        "INSERT INTO webhook_delivery (id, webhook, project, event_number, state, failed, attempts, at_ms)
         VALUES ($1, $2, $3, $4, 'waiting', 0, 0, $5)
         ON CONFLICT (webhook, event_number) DO NOTHING",
    )
    .bind(&id)
    .bind(webhook)
    .bind(project.as_str())
    .bind(int(event_number))
    .bind(ms(now))
    .execute(&mut *tx)
    .await?;
    set_due(tx, webhook).await?;
    Ok(id)
}

/// Brings an endpoint's due time to that of its first delivery that waits.
pub(super) async fn set_due(tx: &mut Connection, webhook: &str) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE webhook SET due_ms =
             (SELECT MIN(at_ms) FROM webhook_delivery WHERE webhook = $1 AND state = 'waiting')
         WHERE id = $1",
    )
    .bind(webhook)
    .execute(tx)
    .await?;
    Ok(())
}

/// 96 bits of what it is a delivery of, so that the same one has the same id.
fn delivery_id(webhook: &str, event_id: &str) -> String {
    const ID_DIGITS: usize = 24;
    let digest = base16ct::lower::encode_string(&Sha256::digest(format!("{webhook}\n{event_id}")));
    format!("dlv_{}", digest.get(..ID_DIGITS).unwrap_or(&digest))
}
