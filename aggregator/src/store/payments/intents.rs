//! Invoice intents on disk: what is still to be collected, and how far it has come.

use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::ProjectId;
use shared::time::{Period, Timestamp};
use sqlx::Row;

use super::orders::{currency, minor};
use crate::ledger::bill::Bill;
use crate::ledger::entry::Entry;
use crate::ledger::money::Money;
use crate::ledger::state::Ledger;
use crate::payments::intent::{Intent, of_fact};
use crate::payments::table::BillStep;
use crate::store::rows::{id, instant, ms, name, number, optional, small};
use crate::store::{Connection, DbRow, Store, StoreError};

/// An invoice intent as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ShownIntent {
    project: ProjectId,
    period: Period,
    number: u32,
    step: &'static str,
    amount: Money,
    invoice: Option<String>,
    note: Option<String>,
}

impl From<Intent> for ShownIntent {
    fn from(intent: Intent) -> Self {
        let Intent { project, period, number, step, amount, invoice, note, .. } = intent;
        Self { project, period, number, step: step.as_str(), amount, invoice, note }
    }
}

impl ShownIntent {
    /// The month that it is for.
    #[must_use]
    pub fn period(&self) -> Period {
        self.period
    }

    /// Its place among those of its month.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How far it has come.
    #[must_use]
    pub fn step(&self) -> &'static str {
        self.step
    }

    /// Its invoice at Stripe.
    #[must_use]
    pub fn invoice(&self) -> Option<&str> {
        self.invoice.as_deref()
    }
}

/// Here a bill becomes something to collect: an intent for every new entry that bills something, in the transaction that
/// writes the entry. `stripe::collect` makes the invoice.
///
/// Contracts are invoiced outside self-service, so that a month in which one was in force makes none.
pub(in crate::store) async fn intend_invoices(
    tx: &mut Connection,
    project: &ProjectId,
    ledger: &Ledger,
    new: &[&Entry],
) -> Result<(), StoreError> {
    for Entry { at, fact, .. } in new {
        let Some((period, number, bill)) = of_fact(fact) else { continue };
        if ledger.timeline().is_contracted(period) {
            continue;
        }
        let amount = bill.total(ledger.currency()).map_err(StoreError::Refused)?;
        insert(tx, &NewIntent { project, period, number, bill, amount, at: *at }).await?;
    }
    Ok(())
}

/// A bill that is to be collected.
struct NewIntent<'a> {
    project: &'a ProjectId,
    period: Period,
    number: u32,
    bill: &'a Bill,
    amount: Money,
    at: Timestamp,
}

async fn insert(tx: &mut Connection, new: &NewIntent<'_>) -> Result<(), StoreError> {
    let NewIntent { project, period, number, bill, amount, at } = new;
    let json = serde_json::to_string(bill).map_err(|error| StoreError::Unwritable(error.to_string()))?;
    sqlx::query(
        "INSERT INTO stripe_bill
             (project, period, number, bill, amount, currency, step, attempt, created_ms, due_ms)
         VALUES ($1, $2, $3, $4, $5, $6, 'due', 1, $7, $8)",
    )
    .bind(project.as_str())
    .bind(period.to_string())
    .bind(i64::from(*number))
    .bind(json)
    .bind(minor(*amount)?)
    .bind(amount.currency().to_string())
    .bind(ms(*at))
    .bind(ms(*at))
    .execute(tx)
    .await?;
    Ok(())
}

impl Store {
    /// At most `limit` intents whose next call is due.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn due_intents(&self, now: Timestamp, limit: u32) -> Result<Vec<Intent>, StoreError> {
        let rows = sqlx::query(select(
            "step IN ('due', 'drafted', 'lined') AND due_ms <= $1 ORDER BY due_ms, project, period, number LIMIT $2",
        ))
        .bind(ms(now))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read).collect()
    }

    /// The intent of that month and number.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn intent(
        &self,
        project: &ProjectId,
        period: Period,
        number: u32,
    ) -> Result<Option<Intent>, StoreError> {
        find(&mut *self.readers.acquire().await?, project, period, number).await
    }

    /// Intents that Stripe collects or has collected and that may still change, after a key, in order.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn collected_intents(&self, since: Timestamp, limit: u32) -> Result<Vec<Intent>, StoreError> {
        let rows = sqlx::query(select(
            "invoice IS NOT NULL AND (created_ms >= $1 OR step IN ('collecting', 'overdue'))
             ORDER BY project, period, number LIMIT $2",
        ))
        .bind(ms(since))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Intents for an operator, the newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn shown_intents(
        &self,
        project: Option<&ProjectId>,
        limit: u32,
    ) -> Result<Vec<ShownIntent>, StoreError> {
        let rows = sqlx::query(select(
            "($1 IS NULL OR project = $1) ORDER BY created_ms DESC, project, period, number LIMIT $2",
        ))
        .bind(project.map(ProjectId::as_str))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| read(row).map(ShownIntent::from)).collect()
    }

    /// Intents that a person has to look at, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn held_intents(&self, limit: u32) -> Result<Vec<ShownIntent>, StoreError> {
        let rows = sqlx::query(select("step = 'held' ORDER BY created_ms, project, period, number LIMIT $1"))
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(|row| read(row).map(ShownIntent::from)).collect()
    }

    /// Notes that a call of this step and attempt is about to be sent, unless it was noted before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn intent_sending(&self, intent: &Intent, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE stripe_bill SET first_ms = $1, customer = $2
             WHERE project = $3 AND period = $4 AND number = $5 AND first_ms IS NULL",
        )
        .bind(ms(now))
        .bind(&intent.customer)
        .bind(intent.project.as_str())
        .bind(intent.period.to_string())
        .bind(i64::from(intent.number))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Writes how far an intent has come, if nobody else has moved it on from `before`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn intent_moved(
        &self,
        before: &Intent,
        after: &Intent,
        due: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write_project(&before.project).await?;
        if find(&mut tx, &before.project, before.period, before.number)
            .await?
            .as_ref()
            .is_some_and(|now| now.step == before.step && now.attempt == before.attempt)
        {
            update(&mut tx, after, due).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Puts off an intent whose call failed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn intent_failed(&self, intent: &Intent, note: &str, due: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE stripe_bill SET failures = failures + 1, note = $1, due_ms = $2
             WHERE project = $3 AND period = $4 AND number = $5",
        )
        .bind(note)
        .bind(ms(due))
        .bind(intent.project.as_str())
        .bind(intent.period.to_string())
        .bind(i64::from(intent.number))
        .execute(&self.writer)
        .await?;
        Ok(())
    }
}

/// Since when a bill of the project is overdue.
pub(super) async fn overdue_since(
    tx: &mut Connection,
    project: &ProjectId,
) -> Result<Option<Timestamp>, StoreError> {
    let row = sqlx::query(
        "SELECT MIN(overdue_ms) AS since FROM stripe_bill
         WHERE project = $1 AND step IN ('overdue', 'uncollectible') AND overdue_ms IS NOT NULL",
    )
    .bind(project.as_str())
    .fetch_one(tx)
    .await?;
    optional(&row, "since", instant)
}

fn select(condition: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!(
        "SELECT project, period, number, bill, amount, currency, step, attempt, customer, invoice, first_ms,
                overdue_ms, note, created_ms
         FROM stripe_bill WHERE {condition}"
    ))
}

pub(super) async fn find(
    connection: &mut Connection,
    project: &ProjectId,
    period: Period,
    number: u32,
) -> Result<Option<Intent>, StoreError> {
    let row = sqlx::query(select("project = $1 AND period = $2 AND number = $3"))
        .bind(project.as_str())
        .bind(period.to_string())
        .bind(i64::from(number))
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read).transpose()
}

/// Writes how far an intent has come.
pub(super) async fn update(tx: &mut Connection, intent: &Intent, due: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE stripe_bill SET step = $1, attempt = $2, customer = $3, invoice = $4, first_ms = $5,
             overdue_ms = $6, note = $7, due_ms = $8, failures = 0
         WHERE project = $9 AND period = $10 AND number = $11",
    )
    .bind(intent.step.as_str())
    .bind(i64::from(intent.attempt))
    .bind(&intent.customer)
    .bind(&intent.invoice)
    .bind(intent.first_sent.map(ms))
    .bind(intent.overdue_since.map(ms))
    .bind(&intent.note)
    .bind(ms(due))
    .bind(intent.project.as_str())
    .bind(intent.period.to_string())
    .bind(i64::from(intent.number))
    .execute(tx)
    .await?;
    Ok(())
}

fn read(row: &DbRow) -> Result<Intent, StoreError> {
    let bill: String = row.try_get("bill")?;
    let bill: Bill = serde_json::from_str(&bill)
        .map_err(|_| StoreError::Unreadable { column: "bill", got: bill.clone() })?;
    Ok(Intent {
        project: id(row, "project", ProjectId::parse)?,
        period: name(row, "period", Period::parse)?,
        number: small(row, "number")?,
        bill,
        amount: Money::new(i128::from(number(row, "amount")?), currency(row)?),
        step: name(row, "step", BillStep::parse)?,
        attempt: small(row, "attempt")?,
        customer: row.try_get("customer")?,
        invoice: row.try_get("invoice")?,
        first_sent: optional(row, "first_ms", instant)?,
        overdue_since: optional(row, "overdue_ms", instant)?,
        created: instant(row, "created_ms")?,
        note: row.try_get("note")?,
    })
}
