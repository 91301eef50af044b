//! How projects pay, on disk: what is overdue as Stripe last showed it, and what is shown of it.

use shared::ids::ProjectId;
use shared::time::Period;
use sqlx::Row;

use super::mirror_of;
use super::orders::{currency, minor};
use crate::ledger::money::Money;
use crate::payments::paying::{Overdue, Paying, Source};
use crate::store::rows::{instant, ms, name, number};
use crate::store::{Connection, DbRow, Store, StoreError};

impl Store {
    /// What Stripe has said of a project's payments.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn paying(&self, project: &ProjectId) -> Result<Paying, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let mirror = mirror_of(&mut connection, project).await?;
        Ok(Paying {
            paid_until: mirror.as_ref().and_then(|mirror| mirror.paid_until),
            waiting: mirror.map(|mirror| mirror.waiting).unwrap_or_default(),
            overdue: overdue(&mut connection, project).await?,
            has_method: has_method(&mut connection, project).await?,
        })
    }
}

impl Store {
    /// Notes what a project's invoices are charged to, as its customer shows.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn charges_to(&self, project: &ProjectId, method: Option<&str>) -> Result<(), StoreError> {
        sqlx::query("UPDATE stripe_customer SET default_method = $1 WHERE project = $2")
            .bind(method)
            .bind(project.as_str())
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

async fn has_method(connection: &mut Connection, project: &ProjectId) -> Result<bool, StoreError> {
    let row = sqlx::query(
        // What was paid with just now becomes the default soon.
        "SELECT 1 AS one FROM stripe_customer
         WHERE project = $1 AND deleted = 0
               AND (default_method IS NOT NULL OR (paid_with IS NOT NULL AND paid_with IS DISTINCT FROM charged))",
    )
    .bind(project.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(row.is_some())
}

/// What is overdue, the oldest first.
pub(in crate::store) async fn overdue(
    connection: &mut Connection,
    project: &ProjectId,
) -> Result<Vec<Overdue>, StoreError> {
    let rows = sqlx::query(
        "SELECT invoice, period, amount, currency, since_ms, pay_at FROM stripe_overdue
         WHERE project = $1 ORDER BY since_ms, invoice",
    )
    .bind(project.as_str())
    .fetch_all(connection)
    .await?;
    rows.iter().map(read).collect()
}

fn read(row: &DbRow) -> Result<Overdue, StoreError> {
    let period: Option<String> = row.try_get("period")?;
    let period = period.map(|_| name(row, "period", Period::parse)).transpose()?;
    Ok(Overdue {
        source: period.map_or(Source::Subscription, Source::Usage),
        invoice: row.try_get("invoice")?,
        amount: Money::new(i128::from(number(row, "amount")?), currency(row)?),
        since: instant(row, "since_ms")?,
        pay_at: row.try_get("pay_at")?,
    })
}

/// Writes what is overdue of a project's subscriptions, in the place of what was.
pub(super) async fn keep_subscriptions(
    tx: &mut Connection,
    project: &ProjectId,
    all: &[Overdue],
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM stripe_overdue WHERE project = $1 AND period IS NULL")
        .bind(project.as_str())
        .execute(&mut *tx)
        .await?;
    for one in all {
        insert(tx, project, one).await?;
    }
    Ok(())
}

/// Writes that a usage bill is overdue, or no longer.
pub(super) async fn keep_bill(
    tx: &mut Connection,
    project: &ProjectId,
    invoice: &str,
    overdue: Option<&Overdue>,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM stripe_overdue WHERE project = $1 AND invoice = $2")
        .bind(project.as_str())
        .bind(invoice)
        .execute(&mut *tx)
        .await?;
    if let Some(overdue) = overdue {
        insert(tx, project, overdue).await?;
    }
    Ok(())
}

async fn insert(tx: &mut Connection, project: &ProjectId, overdue: &Overdue) -> Result<(), StoreError> {
    let period = match overdue.source {
        Source::Subscription => None,
        Source::Usage(period) => Some(period.to_string()),
    };
    sqlx::query(
        "INSERT INTO stripe_overdue (project, invoice, period, amount, currency, since_ms, pay_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(project.as_str())
    .bind(&overdue.invoice)
    .bind(period)
    .bind(minor(overdue.amount)?)
    .bind(overdue.amount.currency().to_string())
    .bind(ms(overdue.since))
    .bind(&overdue.pay_at)
    .execute(tx)
    .await?;
    Ok(())
}
