//! Months of contracts on disk: each is settled by documents that are only ever inserted.

use std::collections::BTreeSet;

use serde_json::json;
use shared::ids::{ContractId, Mode, ProjectId, SourceId};
use shared::time::{Period, Timestamp};
use sqlx::Row;

use super::rows::{day, instant, ms, units};
use super::{Connection, DbRow, Store, StoreError, Work, again, contracts, events, reporters, silences};
use crate::access::trail::{Action, Deed};
use crate::contracts::agreement::Agreement;
use crate::contracts::month::{Cause, DayUnits, Document, Facts, ProjectUnits, document};
use crate::contracts::standing::present_silence;
use crate::ledger::close::closes_by;
use crate::ledger::silence::{Silence, Span, fallen_in};
use crate::webhooks::event::{Event, InvoiceReady};

/// Late cells are put right once a day at most: a backlog that arrives over hours is one document, not hundreds.
const ADJUST_INTERVAL_MS: u64 = 24 * 60 * 60 * 1_000;

/// What came of waiving a minimum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waived {
    /// It is waived; the document that takes back what was billed, where something was.
    Waived(Option<Box<Document>>),
    /// There is no such contract.
    Unknown,
    /// The contract has no such month, or it is waived already.
    Refused(String),
}

impl Store {
    /// The months of contracts that are over for 72 hours, the earliest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn contract_months(&self, now: Timestamp) -> Result<Vec<(ContractId, Period)>, StoreError> {
        let mut months = Vec::new();
        for agreement in self.contracts().await? {
            let mut period = agreement.terms.first_day.period();
            let last = agreement.terms.last_day.map(|day| day.period());
            while closes_by(period) <= now && last.is_none_or(|last| period <= last) {
                months.push((period, agreement.id.clone()));
                period = period.next();
            }
        }
        months.sort();
        Ok(months.into_iter().map(|(period, id)| (id, period)).collect())
    }

    /// Settles a month of a contract as far as its projects are closed; nothing where all is settled.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn settle_contract(
        &self,
        id: &ContractId,
        period: Period,
        now: Timestamp,
    ) -> Result<Option<Document>, StoreError> {
        if !self.differs(id, period, now).await? {
            return Ok(None);
        }
        again(|| self.settle_contract_once(id, period, now)).await
    }

    /// Whether there is anything to write: looked at without keeping writers waiting.
    async fn differs(&self, id: &ContractId, period: Period, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.read().await?;
        let Some(agreement) = contracts::find(&mut tx, id).await? else { return Ok(false) };
        Ok(due(&mut tx, &agreement, period, now).await?.is_some())
    }

    async fn settle_contract_once(
        &self,
        id: &ContractId,
        period: Period,
        now: Timestamp,
    ) -> Result<Option<Document>, StoreError> {
        let mut work = self.begin().await?;
        let Some(agreement) = contracts::find(&mut work.tx, id).await? else { return Ok(None) };
        let Some(document) = due(&mut work.tx, &agreement, period, now).await? else { return Ok(None) };
        work.keep_document(&agreement, &document, now).await?;
        work.commit().await?;
        Ok(Some(document))
    }

    /// What projects used in a month, day by day.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn used_days(
        &self,
        projects: &BTreeSet<ProjectId>,
        period: Period,
    ) -> Result<Vec<ProjectUnits>, StoreError> {
        used(&mut *self.read().await?, projects, period).await
    }

    /// All documents of a contract, the latest month first and each month's in their order.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn documents(&self, id: &ContractId) -> Result<Vec<Document>, StoreError> {
        let rows = sqlx::query(
            "SELECT document FROM contract_document WHERE contract = $1 ORDER BY period DESC, number",
        )
        .bind(id.as_str())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read).collect()
    }

    /// One document of a contract.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn document(
        &self,
        id: &ContractId,
        (period, number): (Period, u32),
    ) -> Result<Option<Document>, StoreError> {
        let row = sqlx::query(
            "SELECT document FROM contract_document WHERE contract = $1 AND period = $2 AND number = $3",
        )
        .bind(id.as_str())
        .bind(period.to_string())
        .bind(i64::from(number))
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(read).transpose()
    }
}

impl Work {
    /// Waives the minimum of a contract's month, for a reason.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn waive_minimum(
        &mut self,
        id: &ContractId,
        (period, reason): (Period, &str),
        now: Timestamp,
    ) -> Result<Waived, StoreError> {
        let Some(agreement) = contracts::find(&mut self.tx, id).await? else { return Ok(Waived::Unknown) };
        let terms = &agreement.terms;
        let is_before = period < terms.first_day.period();
        if is_before || terms.last_day.is_some_and(|last| last.period() < period) {
            return Ok(Waived::Refused(format!(
                "The contract {id} has no {period}: it runs {}",
                agreement.term()
            )));
        }
        let done = sqlx::query(
            "INSERT INTO contract_waiver (contract, period, reason, at_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (contract, period) DO NOTHING",
        )
        .bind(id.as_str())
        .bind(period.to_string())
        .bind(reason)
        .bind(ms(now))
        .execute(&mut *self.tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(Waived::Refused(format!("The minimum of {period} is waived already")));
        }
        let became = json!({ "period": period, "reason": reason });
        self.note(&Deed::apart(Action::MinimumWaived, id.as_str()).became(&became), now).await?;
        if latest(&mut self.tx, id, period).await?.is_none() {
            return Ok(Waived::Waived(None));
        }
        let document = due(&mut self.tx, &agreement, period, now).await?;
        if let Some(document) = &document {
            self.keep_document(&agreement, document, now).await?;
        }
        Ok(Waived::Waived(document.map(Box::new)))
    }

    async fn keep_document(
        &mut self,
        agreement: &Agreement,
        document: &Document,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let text =
            serde_json::to_string(document).map_err(|error| StoreError::Unwritable(error.to_string()))?;
        sqlx::query(
            "INSERT INTO contract_document (contract, period, number, document, at_ms) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(document.contract.as_str())
        .bind(document.period.to_string())
        .bind(i64::from(document.number))
        .bind(text)
        .bind(ms(now))
        .execute(&mut *self.tx)
        .await?;
        for project in &agreement.projects {
            let event = Event::InvoiceReady(InvoiceReady {
                invoice: document.name(),
                period: document.period,
                total: document.amount,
                url: None,
            });
            events::announce(&mut self.tx, project, &event, now).await?;
        }
        let name = document.name();
        let became = json!({ "billed": document.figures.billed, "amount": document.amount });
        self.note(&Deed::apart(Action::ContractInvoiced, &name).became(&became), now).await
    }
}

/// The document that a month lacks, if it is over, its projects are closed, and something differs.
async fn due(
    tx: &mut Connection,
    agreement: &Agreement,
    period: Period,
    now: Timestamp,
) -> Result<Option<Document>, StoreError> {
    if now < closes_by(period) || !are_closed(tx, &agreement.id, period).await? {
        return Ok(None);
    }
    let last = latest(tx, &agreement.id, period).await?;
    let facts = facts(tx, agreement, period, now).await?;
    let (last, at) = last.map_or((None, None), |(last, at)| (Some(last), Some(at)));
    let made = document(agreement, (period, facts), last.as_ref(), now);
    let is_soon = at.is_some_and(|at| now.ms_since(at) < ADJUST_INTERVAL_MS);
    Ok(made.filter(|made| made.cause != Cause::Adjustment || !is_soon))
}

/// Whether every project of a contract has closed a month.
async fn are_closed(tx: &mut Connection, id: &ContractId, period: Period) -> Result<bool, StoreError> {
    let rows = sqlx::query(
        "SELECT p.id FROM project AS p JOIN contract_project AS c ON c.project = p.id
         WHERE c.contract = $1 AND (p.first_open IS NULL OR p.first_open <= $2) LIMIT 1",
    )
    .bind(id.as_str())
    .bind(period.to_string())
    .fetch_all(tx)
    .await?;
    Ok(rows.is_empty())
}

async fn facts(
    tx: &mut Connection,
    agreement: &Agreement,
    period: Period,
    now: Timestamp,
) -> Result<Facts, StoreError> {
    let usage = used(tx, &agreement.projects, period).await?;
    let row = sqlx::query("SELECT reason FROM contract_waiver WHERE contract = $1 AND period = $2")
        .bind(agreement.id.as_str())
        .bind(period.to_string())
        .fetch_optional(&mut *tx)
        .await?;
    let waived = row.map(|row| row.try_get("reason")).transpose()?;
    Ok(Facts { usage, silent: silent(tx, agreement, period, now).await?, waived })
}

async fn used(
    tx: &mut Connection,
    projects: &BTreeSet<ProjectId>,
    period: Period,
) -> Result<Vec<ProjectUnits>, StoreError> {
    let mut usage = Vec::new();
    for project in projects {
        usage.push(ProjectUnits { project: project.clone(), days: days(tx, project, period).await? });
    }
    Ok(usage)
}

/// The reporters whose silence makes a month fall back to the minimum. Those whose units are not billed make none.
async fn silent(
    tx: &mut Connection,
    agreement: &Agreement,
    period: Period,
    now: Timestamp,
) -> Result<Vec<SourceId>, StoreError> {
    let downtime: Vec<Span> = silences::downtime(tx).await?;
    let mut silent = Vec::new();
    for reporter in reporters::of_contract(tx, &agreement.id).await? {
        if reporter.mode(agreement) != Mode::Live {
            continue;
        }
        let mut all: Vec<Silence> = silences::past(tx, &reporter.id).await?;
        all.push(present_silence(&reporter, agreement, now));
        if all.into_iter().any(|silence| fallen_in(silence, &downtime, now).contains(&period)) {
            silent.push(reporter.id);
        }
    }
    Ok(silent)
}

async fn days(tx: &mut Connection, project: &ProjectId, period: Period) -> Result<Vec<DayUnits>, StoreError> {
    let rows = sqlx::query(
        "SELECT day, CAST(SUM(units) AS BIGINT) AS units FROM usage_day
         WHERE project = $1 AND mode = 'live' AND day BETWEEN $2 AND $3
         GROUP BY day HAVING SUM(units) > 0 ORDER BY day",
    )
    .bind(project.as_str())
    .bind(i64::from(period.first_day().number()))
    .bind(i64::from(period.last_day().number()))
    .fetch_all(tx)
    .await?;
    rows.iter().map(|row| Ok(DayUnits { day: day(row, "day")?, units: units(row, "units")? })).collect()
}

/// The last document of a month, and when it was written.
async fn latest(
    tx: &mut Connection,
    id: &ContractId,
    period: Period,
) -> Result<Option<(Document, Timestamp)>, StoreError> {
    let row = sqlx::query(
        "SELECT document, at_ms FROM contract_document WHERE contract = $1 AND period = $2
         ORDER BY number DESC LIMIT 1",
    )
    .bind(id.as_str())
    .bind(period.to_string())
    .fetch_optional(tx)
    .await?;
    row.map(|row| Ok((read(&row)?, instant(&row, "at_ms")?))).transpose()
}

fn read(row: &DbRow) -> Result<Document, StoreError> {
    let stored: String = row.try_get("document")?;
    serde_json::from_str(&stored).map_err(|_| StoreError::Unreadable { column: "document", got: stored })
}
