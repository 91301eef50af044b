//! What waits for a person goes on, because a person said so, and what was brought to Stripe by one.

use serde_json::json;
use shared::ids::ProjectId;
use shared::time::{Period, Timestamp};
use sqlx::Row;

use crate::access::trail::{Action, Deed};
use crate::store::rows::{id, ms};
use crate::store::{Store, StoreError, Work};

impl Work {
    /// Makes an event due again that was parked or put off; false if there is no such event to process.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn retry_event(&mut self, id: &str, now: Timestamp) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE stripe_event SET state = 'pending', attempts = 0, due_ms = $1
             WHERE id = $2 AND (state = 'parked' OR state = 'pending')",
        )
        .bind(ms(now))
        .bind(id)
        .execute(&mut *self.tx)
        .await?;
        if done.rows_affected() != 1 {
            return Ok(false);
        }
        self.note(&Deed::apart(Action::PaymentRetried, id).became(&json!({ "state": "pending" })), now)
            .await?;
        Ok(true)
    }

    /// Takes an order out of review: it is verified anew. False if it is not held.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release_order(&mut self, order: &str, now: Timestamp) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "UPDATE stripe_order SET state = 'open', note = NULL, due_ms = $1 WHERE id = $2 AND state = 'held'
             RETURNING project",
        )
        .bind(ms(now))
        .bind(order)
        .fetch_optional(&mut *self.tx)
        .await?;
        let Some(row) = row else { return Ok(false) };
        let project = id(&row, "project", ProjectId::parse)?;
        let deed = Deed::new(&project, Action::PaymentRetried, order);
        self.note(&deed.was(&json!({ "state": "held" })).became(&json!({ "state": "open" })), now).await?;
        Ok(true)
    }

    /// Takes an intent out of review: it goes on where it was. False if it is not held.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release_intent(
        &mut self,
        (project, period, number): (&ProjectId, Period, u32),
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "UPDATE stripe_bill SET step = CASE WHEN invoice IS NULL THEN 'due' ELSE 'drafted' END, note = NULL,
                 due_ms = $1
             WHERE project = $2 AND period = $3 AND number = $4 AND step = 'held' RETURNING step",
        )
        .bind(ms(now))
        .bind(project.as_str())
        .bind(period.to_string())
        .bind(i64::from(number))
        .fetch_optional(&mut *self.tx)
        .await?;
        let Some(row) = row else { return Ok(false) };
        let step: String = row.try_get("step")?;
        let target = format!("{project}/{period}/{number}");
        let deed = Deed::new(project, Action::PaymentRetried, &target);
        self.note(&deed.was(&json!({ "step": "held" })).became(&json!({ "step": step })), now).await?;
        Ok(true)
    }
}

impl Store {
    /// Notes what is about to be made at Stripe: whatever becomes of it, the audit log says who wanted it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_sync(&self, lines: &[String], now: Timestamp) -> Result<(), StoreError> {
        let mut work = self.begin().await?;
        work.note(&Deed::apart(Action::StripeSynced, "stripe").became(&lines), now).await?;
        work.commit().await
    }
}
