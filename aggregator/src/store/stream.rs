//! What watchers are shown, on disk: each project's events have numbers 1, 2, 3 … in the order of their commits,
//! because writers of one project wait for one another.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::denials::Denials;
use shared::ids::{Mode, ProjectId};
use shared::time::{Day, Period, Timestamp};
use shared::wire::Flush;
use sqlx::Row;

use super::deliveries::{Attempt, Claim, Due};
use super::denials::Days;
use super::rows::{instant, int, ms, number};
use super::{Connection, DbRow, Store, StoreError};
use crate::ledger::entry::Usage;
use crate::projects::book::Book;
use crate::webhooks::event::Message;
use crate::webhooks::schedule::State;

/// Units were counted.
const USAGE_COUNTED: &str = "usage.counted";

/// Requests were denied because nothing was left to spend.
const USAGE_DENIED: &str = "usage.denied";

/// Refused requests were counted.
const DENIALS_COUNTED: &str = "denials.counted";

/// A delivery of a webhook was tried.
const DELIVERY_TRIED: &str = "delivery.tried";

/// One event of a project's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its place in the project's stream.
    pub number: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What kind of event it is.
    pub kind: String,
    /// What it says, as JSON.
    pub data: String,
}

/// Adds an event to the project's stream, in the transaction of what it tells of.
pub(super) async fn tell(
    tx: &mut Connection,
    project: &ProjectId,
    kind: &str,
    data: &Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO stream (project, number, at_ms, type, data)
         SELECT $1, (SELECT COALESCE(MAX(number), 0) + 1 FROM stream WHERE project = $1), $2, $3, $4",
    )
    .bind(project.as_str())
    .bind(ms(now))
    .bind(kind)
    .bind(data.to_string())
    .execute(tx)
    .await?;
    Ok(())
}

/// Tells what a flush brought: units that were counted, and months in which requests were denied.
pub(super) async fn tell_flush(
    tx: &mut Connection,
    flush: &Flush,
    moved: &BTreeMap<Period, Usage>,
    book: &Book,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Flush { project, mode, .. } = flush;
    for (period, added) in moved {
        let used = match mode {
            Mode::Live => book.totals.get(period).map(|total| total.units),
            // Nothing limits or bills what test keys use in all.
            Mode::Test => None,
        };
        let data =
            json!({ "project": project, "mode": mode, "period": period, "added": added.units, "used": used });
        tell(tx, project, USAGE_COUNTED, &data, now).await?;
    }
    for denied in &flush.denied {
        let data =
            json!({ "project": project, "mode": mode, "period": denied.period, "quota": denied.quota });
        tell(tx, project, USAGE_DENIED, &data, now).await?;
    }
    Ok(())
}

/// Tells what a flush brought of requests that were refused.
pub(super) async fn tell_denials(
    tx: &mut Connection,
    flush: &Flush,
    added: &Days,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut days: BTreeMap<Day, Denials> = BTreeMap::new();
    for ((day, _), denials) in added {
        let sum = days.entry(*day).or_default();
        *sum = sum.plus(*denials);
    }
    for (day, denials) in days {
        let data = json!({
            "project": flush.project, "mode": flush.mode, "day": day, "added": denials.total(),
            "reasons": denials.refused(), "would_have_denied": denials.let_through(),
        });
        tell(tx, &flush.project, DENIALS_COUNTED, &data, now).await?;
    }
    Ok(())
}

/// Tells what webhooks are told.
pub(super) async fn tell_message(
    tx: &mut Connection,
    project: &ProjectId,
    message: &Message,
    now: Timestamp,
) -> Result<(), StoreError> {
    let body: Value =
        serde_json::from_str(&message.body).map_err(|error| StoreError::Unwritable(error.to_string()))?;
    tell(tx, project, message.kind.as_str(), body.get("data").unwrap_or(&Value::Null), now).await
}

/// Tells what came of an attempt to deliver an event.
pub(super) async fn tell_attempt(
    tx: &mut Connection,
    (claim, due): (&Claim, &Due),
    (attempt, number, state): (&Attempt, u32, State),
    now: Timestamp,
) -> Result<(), StoreError> {
    let (state, next) = match state {
        State::Waiting(waiting) => ("waiting", Some(waiting.due.to_string())),
        State::Delivered { .. } => ("delivered", None),
        State::GaveUp { .. } => ("gave_up", None),
    };
    let data = json!({
        "project": claim.project, "webhook": claim.webhook, "delivery": due.delivery,
        "event": due.message.kind.as_str(), "attempt": number, "outcome": attempt.outcome.as_str(),
        "status": attempt.outcome.status(), "state": state, "next_at": next,
    });
    tell(tx, &claim.project, DELIVERY_TRIED, &data, now).await
}

impl Store {
    /// At most `limit` events of a project after one, in order.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn shown(&self, project: &ProjectId, after: u64, limit: u32) -> Result<Vec<Shown>, StoreError> {
        let rows = sqlx::query(
            "SELECT number, at_ms, type, data FROM stream WHERE project = $1 AND number > $2 ORDER BY number LIMIT $3",
        )
        .bind(project.as_str())
        .bind(int(after))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read).collect()
    }

    /// The number of the project's newest event; 0 where there is none yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn newest_shown(&self, project: &ProjectId) -> Result<u64, StoreError> {
        newest(&mut *self.readers.acquire().await?, project).await
    }

    /// Forgets events from before an instant, and says how many those were. The newest of each project stays, so
    /// that numbers never begin anew.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_shown(&self, before: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM stream WHERE at_ms < $1
             AND number < (SELECT MAX(newest.number) FROM stream AS newest WHERE newest.project = stream.project)",
        )
        .bind(ms(before))
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected())
    }
}

/// The number of a project's newest event, as of what the connection sees.
pub(super) async fn newest(connection: &mut Connection, project: &ProjectId) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT COALESCE(MAX(number), 0) AS number FROM stream WHERE project = $1")
        .bind(project.as_str())
        .fetch_one(connection)
        .await?;
    number(&row, "number")
}

/// What was told of units that were counted after an instant.
pub(super) async fn counted_since(
    connection: &mut Connection,
    project: &ProjectId,
    since: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query("SELECT data FROM stream WHERE project = $1 AND at_ms > $2 AND type = $3")
        .bind(project.as_str())
        .bind(ms(since))
        .bind(USAGE_COUNTED)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok(row.try_get("data")?)).collect()
}

fn read(row: &DbRow) -> Result<Shown, StoreError> {
    Ok(Shown {
        number: number(row, "number")?,
        at: instant(row, "at_ms")?,
        kind: row.try_get("type")?,
        data: row.try_get("data")?,
    })
}
