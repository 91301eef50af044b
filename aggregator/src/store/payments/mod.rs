//! What we know of Stripe, on disk: customers, prices, orders, events, subscriptions, invoice intents.
//!
//! Everything that follows from what Stripe shows is one transaction with the ledger's entries.

mod again;
mod drift;
pub(super) mod events;
pub(super) mod intents;
mod orders;
pub(super) mod paying;
mod settle;
mod top_ups;

pub use drift::Drift;
pub use events::{Event, EventState, Outcome};
pub use intents::ShownIntent;
pub use orders::{Began, Begin, ShownOrder};
pub use settle::{Settled, Settlement};
pub(in crate::store) use top_ups::is_buying;

use serde::{Deserialize, Serialize};
use shared::ids::ProjectId;
use shared::plan::Plan;
use shared::time::Timestamp;
use sqlx::Row;

use super::rows::{id, instant, int, ms, name, number, optional};
use super::{Connection, DbRow, Store, StoreError};
use crate::payments::goods::{Good, interval_name, interval_of};
use crate::payments::schedule::ComingChange;
use crate::payments::subscription::Mirror;
use crate::payments::table::Status;

/// A project's customer at Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeCustomer {
    /// Whose.
    pub project: ProjectId,
    /// Its id, once it is known.
    pub customer: Option<String>,
    /// Which key it is made with.
    pub attempt: u64,
    /// When we first wanted it.
    pub created: Timestamp,
    /// What was settled so far.
    pub settled: u64,
}

/// A price at Stripe and the good that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripePrice {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub good: Good,
    /// In minor units.
    pub amount: u64,
}

impl Store {
    /// The project's customer row, made where there is none. A customer that was deleted at Stripe is
    /// replaced, under another key.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stripe_customer(
        &self,
        project: &ProjectId,
        now: Timestamp,
    ) -> Result<StripeCustomer, StoreError> {
        let mut tx = self.write_project(project).await?;
        sqlx::query(
            "INSERT INTO stripe_customer (project, attempt, created_ms) VALUES ($1, 1, $2)
             ON CONFLICT (project) DO UPDATE SET
                 attempt = stripe_customer.attempt + 1, customer = NULL, paid_with = NULL, charged = NULL,
                 default_method = NULL, deleted = 0, created_ms = excluded.created_ms
             WHERE stripe_customer.deleted = 1",
        )
        .bind(project.as_str())
        .bind(ms(now))
        .execute(&mut *tx)
        .await?;
        let found = customer_of(&mut tx, project).await?;
        tx.commit().await?;
        found.ok_or(sqlx::Error::RowNotFound.into())
    }

    /// The project's customer row, if there is one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find_stripe_customer(
        &self,
        project: &ProjectId,
    ) -> Result<Option<StripeCustomer>, StoreError> {
        customer_of(&mut *self.readers.acquire().await?, project).await
    }

    /// Notes a customer's id; the first one that is noted stays.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stripe_customer_made(&self, project: &ProjectId, customer: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE stripe_customer SET customer = $1 WHERE project = $2 AND customer IS NULL")
            .bind(customer)
            .bind(project.as_str())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Raises the key that a customer is made with, because the last one is proved to have made nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stripe_customer_again(&self, row: &StripeCustomer) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE stripe_customer SET attempt = attempt + 1 WHERE project = $1 AND attempt = $2 AND customer IS NULL",
        )
        .bind(row.project.as_str())
        .bind(int(row.attempt))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// The project whose customer that is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn project_of_customer(&self, customer: &str) -> Result<Option<ProjectId>, StoreError> {
        let row = sqlx::query("SELECT project FROM stripe_customer WHERE customer = $1")
            .bind(customer)
            .fetch_optional(&self.readers)
            .await?;
        let found = row.map(|row| id(&row, "project", ProjectId::parse)).transpose()?;
        found.iter().for_each(|project| self.concerns(project));
        Ok(found)
    }

    /// Notes that a customer was deleted at Stripe; the next purchase makes another.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stripe_customer_deleted(&self, customer: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE stripe_customer SET deleted = 1 WHERE customer = $1")
            .bind(customer)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Notes what a project was last paid with.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stripe_paid_with(&self, project: &ProjectId, method: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE stripe_customer SET paid_with = $1 WHERE project = $2")
            .bind(method)
            .bind(project.as_str())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Customers that Stripe is still to be told to charge otherwise: (customer, payment method).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn uncharged_methods(&self, limit: u32) -> Result<Vec<(String, String)>, StoreError> {
        let rows = sqlx::query(
            "SELECT customer, paid_with FROM stripe_customer
             WHERE paid_with IS NOT NULL AND customer IS NOT NULL AND deleted = 0
                   AND (charged IS NULL OR charged <> paid_with)
             ORDER BY project LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| Ok((row.try_get("customer")?, row.try_get("paid_with")?))).collect()
    }

    /// Notes what Stripe was told to charge.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn method_is_charged(&self, customer: &str, method: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE stripe_customer SET charged = $1, default_method = $1 WHERE customer = $2")
            .bind(method)
            .bind(customer)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// The price that a good is sold by at present.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn price_of(&self, good: Good) -> Result<Option<StripePrice>, StoreError> {
        let row = sqlx::query(
            "SELECT id, good, amount FROM stripe_price WHERE good = $1 AND current = 1 ORDER BY id",
        )
        .bind(good.name())
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(price).transpose()
    }

    /// What a price at Stripe is for, also one that is no longer sold.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn good_of_price(&self, price: &str) -> Result<Option<Good>, StoreError> {
        let row = sqlx::query("SELECT good FROM stripe_price WHERE id = $1")
            .bind(price)
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| name(&row, "good", Good::parse)).transpose()
    }

    /// Notes the price that a good is sold by from now on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep_price(&self, price: &StripePrice, current: bool) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        if current {
            sqlx::query("UPDATE stripe_price SET current = 0 WHERE good = $1 AND id <> $2")
                .bind(price.good.name())
                .bind(&price.id)
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query(
            "INSERT INTO stripe_price (id, good, amount, current) VALUES ($1, $2, $3, $4)
             ON CONFLICT (id) DO UPDATE SET current = excluded.current",
        )
        .bind(&price.id)
        .bind(price.good.name())
        .bind(int(price.amount))
        .bind(i64::from(current))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// A single value that `meter stripe sync` keeps.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stripe_setting(&self, key: &str) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT value FROM setting WHERE name = $1")
            .bind(key)
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.map(|row| row.try_get("value")).transpose()?)
    }

    /// Keeps a single value.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep_stripe_setting(&self, key: &str, value: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(key)
        .bind(value)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// What is remembered of a project's subscription.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn subscription_of(&self, project: &ProjectId) -> Result<Option<Mirror>, StoreError> {
        mirror_of(&mut *self.readers.acquire().await?, project).await
    }
}

async fn customer_of(
    connection: &mut Connection,
    project: &ProjectId,
) -> Result<Option<StripeCustomer>, StoreError> {
    let row = sqlx::query(
        "SELECT project, customer, attempt, settled, created_ms FROM stripe_customer WHERE project = $1",
    )
    .bind(project.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        Ok(StripeCustomer {
            project: id(&row, "project", ProjectId::parse)?,
            customer: row.try_get("customer")?,
            attempt: number(&row, "attempt")?,
            settled: number(&row, "settled")?,
            created: instant(&row, "created_ms")?,
        })
    })
    .transpose()
}

fn price(row: &DbRow) -> Result<StripePrice, StoreError> {
    Ok(StripePrice {
        id: row.try_get("id")?,
        good: name(row, "good", Good::parse)?,
        amount: number(row, "amount")?,
    })
}

pub(super) async fn mirror_of(
    connection: &mut Connection,
    project: &ProjectId,
) -> Result<Option<Mirror>, StoreError> {
    let row = sqlx::query(
        "SELECT project, subscription, item, status, plan, pays, until_ms, ends_ms, waiting, overdue_ms
         FROM stripe_subscription WHERE project = $1",
    )
    .bind(project.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        let plan: Option<String> = row.try_get("plan")?;
        Ok(Mirror {
            project: id(&row, "project", ProjectId::parse)?,
            subscription: row.try_get("subscription")?,
            item: row.try_get("item")?,
            status: name(&row, "status", Status::parse)?,
            plan: plan.map(|_| name(&row, "plan", Plan::parse)).transpose()?,
            interval: name(&row, "pays", interval_of)?,
            paid_until: optional(&row, "until_ms", instant)?,
            ends: optional(&row, "ends_ms", instant)?,
            waiting: waiting_of(&row)?,
            overdue_since: optional(&row, "overdue_ms", instant)?,
        })
    })
    .transpose()
}

pub(super) async fn keep_mirror(tx: &mut Connection, mirror: &Mirror) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO stripe_subscription
             (project, subscription, item, status, plan, pays, until_ms, ends_ms, waiting, overdue_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (project) DO UPDATE SET
             subscription = excluded.subscription, item = excluded.item, status = excluded.status,
             plan = excluded.plan, pays = excluded.pays, until_ms = excluded.until_ms,
             ends_ms = excluded.ends_ms, waiting = excluded.waiting, overdue_ms = excluded.overdue_ms",
    )
    .bind(mirror.project.as_str())
    .bind(&mirror.subscription)
    .bind(&mirror.item)
    .bind(mirror.status.as_str())
    .bind(mirror.plan.map(Plan::as_str))
    .bind(interval_name(mirror.interval))
    .bind(mirror.paid_until.map(ms))
    .bind(mirror.ends.map(ms))
    .bind(waiting_text(&mirror.waiting)?)
    .bind(mirror.overdue_since.map(ms))
    .execute(tx)
    .await?;
    Ok(())
}

/// A change that waits, as its row has it.
#[derive(Serialize, Deserialize)]
struct WaitingRow {
    at_ms: u64,
    good: String,
}

fn waiting_text(waiting: &[ComingChange]) -> Result<String, StoreError> {
    let row = |ComingChange { at, good }: &ComingChange| WaitingRow { at_ms: at.as_ms(), good: good.name() };
    let rows: Vec<WaitingRow> = waiting.iter().map(row).collect();
    serde_json::to_string(&rows).map_err(|error| StoreError::Unwritable(error.to_string()))
}

fn waiting_of(row: &DbRow) -> Result<Vec<ComingChange>, StoreError> {
    let text: String = row.try_get("waiting")?;
    let read = |WaitingRow { at_ms, good }| {
        Some(ComingChange { at: Timestamp::from_ms(at_ms), good: Good::parse(&good)? })
    };
    let rows: Option<Vec<WaitingRow>> = serde_json::from_str(&text).ok();
    let waiting = rows.and_then(|rows| rows.into_iter().map(read).collect());
    waiting.ok_or(StoreError::Unreadable { column: "waiting", got: text })
}

/// Whether nothing of the project was settled since `expected` was read; it is counted as settled now.
pub(super) async fn settle_turn(
    tx: &mut Connection,
    project: &ProjectId,
    expected: u64,
) -> Result<bool, StoreError> {
    let done =
        sqlx::query("UPDATE stripe_customer SET settled = settled + 1 WHERE project = $1 AND settled = $2")
            .bind(project.as_str())
            .bind(int(expected))
            .execute(tx)
            .await?;
    Ok(done.rows_affected() == 1)
}
