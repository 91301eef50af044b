//! The inbox: what Stripe delivered, each event once, and what became of it.

use shared::time::Timestamp;
use sqlx::Row;

use crate::payments::event::Envelope;
use crate::store::rows::{instant, ms, name, number, optional, small};
use crate::store::{Connection, DbRow, Store, StoreError};

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventState {
    /// It is to be processed.
    Pending,
    /// What it is about was settled.
    Applied,
    /// It concerns nothing of ours.
    Ignored,
    /// A person has to look.
    Parked,
}

impl EventState {
    /// Its word in storage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Applied => "applied",
            Self::Ignored => "ignored",
            Self::Parked => "parked",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Applied, Self::Ignored, Self::Parked]
            .into_iter()
            .find(|one| one.as_str() == text)
    }
}

/// A delivered event, without its raw body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it says about itself.
    pub envelope: Envelope,
    /// When it was delivered.
    pub received: Timestamp,
    /// Where it stands.
    pub state: EventState,
    /// How often its processing failed.
    pub attempts: u32,
    /// Why it is parked or ignored, or what went wrong last.
    pub note: Option<String>,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Where it stands now.
    pub state: EventState,
    /// Why.
    pub note: Option<String>,
}

impl Store {
    /// Takes deliveries in, all in one transaction; those that are there already change nothing. Says how
    /// many are new.
    ///
    /// # Errors
    /// When the store fails; then none is taken in.
    pub async fn take_events(
        &self,
        deliveries: &[(&Envelope, &[u8])],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let mut new = 0_u64;
        for (envelope, raw) in deliveries {
            new = new.saturating_add(insert(&mut tx, envelope, raw, now).await?);
        }
        tx.commit().await?;
        Ok(new)
    }

    /// At most `limit` events that are to be processed now, those waiting longest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn due_events(&self, now: Timestamp, limit: u32) -> Result<Vec<Event>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, type, object, livemode, received_ms, state, attempts, note FROM stripe_event
             WHERE state = 'pending' AND due_ms <= $1 ORDER BY due_ms, id LIMIT $2",
        )
        .bind(ms(now))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(event).collect()
    }

    /// Notes what became of an event that changed nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn event_done(&self, id: &str, outcome: &Outcome) -> Result<(), StoreError> {
        note_outcome(&mut *self.writer.acquire().await?, id, outcome).await
    }

    /// Puts an event off whose processing failed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn event_failed(&self, id: &str, note: &str, due: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE stripe_event SET attempts = attempts + 1, note = $1, due_ms = $2
             WHERE id = $3 AND state = 'pending'",
        )
        .bind(note)
        .bind(ms(due))
        .bind(id)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Parked events, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn parked_events(&self, limit: u32) -> Result<Vec<Event>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, type, object, livemode, received_ms, state, attempts, note FROM stripe_event
             WHERE state = 'parked' ORDER BY received_ms, id LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(event).collect()
    }

    /// The event of that id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stripe_event(&self, id: &str) -> Result<Option<Event>, StoreError> {
        let row = sqlx::query(
            "SELECT id, type, object, livemode, received_ms, state, attempts, note FROM stripe_event WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(event).transpose()
    }

    /// How many events wait and are parked: (pending, parked).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn events_waiting(&self) -> Result<(u64, u64), StoreError> {
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(CASE WHEN state = 'pending' THEN 1 ELSE 0 END), 0) AS BIGINT) AS pending,
                    CAST(COALESCE(SUM(CASE WHEN state = 'parked' THEN 1 ELSE 0 END), 0) AS BIGINT) AS parked
             FROM stripe_event WHERE state = 'pending' OR state = 'parked'",
        )
        .fetch_one(&self.readers)
        .await?;
        Ok((number(&row, "pending")?, number(&row, "parked")?))
    }
}

async fn insert(
    tx: &mut Connection,
    envelope: &Envelope,
    raw: &[u8],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "INSERT INTO stripe_event (id, type, object, livemode, raw, received_ms, state, attempts, due_ms)
         VALUES ($1, $2, $3, $4, $5, $6, 'pending', 0, $7) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&envelope.id)
    .bind(&envelope.kind)
    .bind(&envelope.object)
    .bind(envelope.livemode.map(i64::from))
    .bind(raw)
    .bind(ms(now))
    .bind(ms(now))
    .execute(tx)
    .await?;
    Ok(done.rows_affected())
}

/// Notes what became of an event, in the transaction of what followed from it.
pub(in crate::store) async fn note_outcome(
    tx: &mut Connection,
    id: &str,
    outcome: &Outcome,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE stripe_event SET state = $1, note = $2 WHERE id = $3 AND state = 'pending'")
        .bind(outcome.state.as_str())
        .bind(&outcome.note)
        .bind(id)
        .execute(tx)
        .await?;
    Ok(())
}

fn event(row: &DbRow) -> Result<Event, StoreError> {
    let livemode: Option<u64> = optional(row, "livemode", number)?;
    Ok(Event {
        envelope: Envelope {
            id: row.try_get("id")?,
            kind: row.try_get("type")?,
            object: row.try_get("object")?,
            livemode: livemode.map(|livemode| livemode != 0),
        },
        received: instant(row, "received_ms")?,
        state: name(row, "state", EventState::parse)?,
        attempts: small(row, "attempts")?,
        note: row.try_get("note")?,
    })
}
