//! Contracts on disk, and how projects come under them: by entries in the ledgers, in the same transaction.

use std::collections::BTreeSet;

use serde_json::json;
use shared::ids::{ContractId, ProjectId};
use shared::time::{Day, Timestamp};
use sqlx::{AssertSqlSafe, Row};

use super::rows::{day, flag, id, instant, int, ms, optional, small};
use super::{Connection, DbRow, Post, Store, StoreError, Work, again, catalogues, ledger, projects};
use crate::access::trail::{Action, Deed};
use crate::contracts::agreement::{Agreement, Phase};
use crate::ledger::contract::Contract;

/// What came of making or ending a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContractKept {
    /// The contract as it is now.
    Contract(Box<Agreement>),
    /// There is none of that id.
    Unknown,
    /// There is already one of that id.
    Exists,
    /// A project that it would cover does not exist.
    ProjectUnknown,
    /// It cannot be so, for this reason.
    Refused(String),
}

impl Work {
    /// Makes a contract, and brings its projects under it if it has begun.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_contract(
        &mut self,
        agreement: Agreement,
        now: Timestamp,
    ) -> Result<ContractKept, StoreError> {
        if find(&mut self.tx, &agreement.id).await?.is_some() {
            return Ok(ContractKept::Exists);
        }
        for project in &agreement.projects {
            let Some(book) = ledger::load(&mut self.tx, project).await? else {
                return Ok(ContractKept::ProjectUnknown);
            };
            if let Some(why) = self.against(&agreement, project).await? {
                return Ok(ContractKept::Refused(why));
            }
            let (first, open) = (agreement.terms.first_day, book.ledger.first_open());
            if first.period() < open {
                return Ok(ContractKept::Refused(format!(
                    "It would begin on {first}, and {} is closed for the project {project}. Begin on {} or later",
                    first.period(),
                    open.first_day()
                )));
            }
            if book.ledger.currency() != agreement.terms.currency {
                return Ok(ContractKept::Refused(format!(
                    "The books of the project {project} are in {}, the contract is in {}",
                    book.ledger.currency(),
                    agreement.terms.currency
                )));
            }
        }
        insert(&mut self.tx, &agreement).await?;
        let became = note(&agreement);
        self.note(&Deed::apart(Action::ContractCreated, agreement.id.as_str()).became(&became), now).await?;
        self.apply_contract(&agreement, now).await
    }

    /// Why a project cannot come under a contract: another one that it has meanwhile.
    async fn against(
        &mut self,
        agreement: &Agreement,
        project: &ProjectId,
    ) -> Result<Option<String>, StoreError> {
        let terms = &agreement.terms;
        let others = of_project(&mut self.tx, project).await?;
        let other = others.iter().find(|other| other.overlaps(terms.first_day, terms.last_day));
        Ok(other.map(|other| {
            format!(
                "The project {project} has the contract {} {}. Begin after it, or end it earlier",
                other.id,
                other.term()
            )
        }))
    }

    /// Brings all projects of a contract under it, if it has begun.
    async fn apply_contract(
        &mut self,
        agreement: &Agreement,
        now: Timestamp,
    ) -> Result<ContractKept, StoreError> {
        for project in &agreement.projects {
            if let Some(why) = self.turn_contract(agreement, project, now).await? {
                return Ok(ContractKept::Refused(why));
            }
        }
        Ok(ContractKept::Contract(Box::new(agreement.clone())))
    }

    /// Ends a contract with a day that is not over yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end_contract(
        &mut self,
        id: &ContractId,
        last_day: Day,
        now: Timestamp,
    ) -> Result<ContractKept, StoreError> {
        let Some(mut agreement) = find(&mut self.tx, id).await? else { return Ok(ContractKept::Unknown) };
        let was = note(&agreement);
        let (first, before) = (agreement.terms.first_day, agreement.terms.last_day);
        if last_day < first.max(now.day()) || before.is_some_and(|before| before < last_day) {
            let latest = before.map_or_else(String::new, |day| format!(" to {day}"));
            let earliest = first.max(now.day());
            return Ok(ContractKept::Refused(format!(
                "It cannot end with {last_day}: accepted is {earliest}{latest}, and what follows is a new contract"
            )));
        }
        agreement.terms.last_day = Some(last_day);
        set_term(&mut self.tx, &agreement).await?;
        let deed = Deed::apart(Action::ContractEnded, id.as_str()).was(&was).became(&note(&agreement));
        self.note(&deed, now).await?;
        for project in &agreement.projects {
            // Reporters are told by their receipts, whose policy rises with the project's.
            self.raise_policy(project, now).await?;
        }
        self.apply_contract(&agreement, now).await
    }

    /// Brings a project under its contract or out of it, as far as that is due; says why the ledger refuses.
    async fn turn_contract(
        &mut self,
        agreement: &Agreement,
        project: &ProjectId,
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        let phase = agreement.phase(now);
        if phase == Phase::Planned {
            return Ok(None);
        }
        let catalogue = catalogues::newest(&mut self.tx).await?;
        let posted = match self
            .post(project, now, |book| agreement.postings(&book.ledger, &catalogue, now))
            .await?
        {
            Post::Posted(posted) => posted,
            Post::ProjectUnknown => return Ok(Some(format!("There is no project {project}"))),
            Post::Refused(refusal) => return Ok(Some(format!("The books of {project} refuse: {refusal}"))),
        };
        let is_running = phase == Phase::Running;
        if posted.differs {
            projects::set_auto_overage(&mut self.tx, project, is_running).await?;
            let action = if is_running { Action::ContractBegan } else { Action::ContractLeft };
            let became = json!({ "contract": agreement.id, "plan": posted.book.project.plan.as_str() });
            self.note(&Deed::new(project, action, project.as_str()).became(&became), now).await?;
        }
        turned(&mut self.tx, agreement, project, now).await?;
        Ok(None)
    }
}

impl Store {
    /// All contracts, the latest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn contracts(&self) -> Result<Vec<Agreement>, StoreError> {
        let mut tx = self.read().await?;
        read_all(&mut tx, sqlx::query("SELECT * FROM contract ORDER BY first_day DESC, id")).await
    }

    /// The contract of that id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn contract(&self, id: &ContractId) -> Result<Option<Agreement>, StoreError> {
        find(&mut *self.read().await?, id).await
    }

    /// At most `limit` projects that have to come under a contract or to leave it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn due_contracts(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(ContractId, ProjectId)>, StoreError> {
        let rows = sqlx::query(
            "SELECT c.id, p.project FROM contract_project AS p JOIN contract AS c ON c.id = p.contract
             WHERE (p.applied_ms IS NULL AND c.first_day <= $1) OR (p.ended_ms IS NULL AND c.last_day < $1)
             ORDER BY c.first_day, c.id, p.project LIMIT $2",
        )
        .bind(i64::from(now.day().number()))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        let of = |row| Ok((id(row, "id", ContractId::parse)?, id(row, "project", ProjectId::parse)?));
        rows.iter().map(of).collect()
    }

    /// Brings a project under a contract or out of it; says why the ledger refuses.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn turn_contract(
        &self,
        id: &ContractId,
        project: &ProjectId,
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        again(|| self.turn_contract_once(id, project, now)).await
    }

    async fn turn_contract_once(
        &self,
        id: &ContractId,
        project: &ProjectId,
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        let mut work = self.begin_in(project).await?;
        let Some(agreement) = find(&mut work.tx, id).await? else { return Ok(None) };
        let refused = work.turn_contract(&agreement, project, now).await?;
        work.commit().await?;
        Ok(refused)
    }
}

/// A contract as the audit log has it.
fn note(agreement: &Agreement) -> serde_json::Value {
    let Agreement { customer, terms, projects, bills_development, buyer, notice_days, .. } = agreement;
    json!({
        "customer": customer, "terms": terms, "projects": projects,
        "bills_development": bills_development, "buyer": buyer, "notice_days": notice_days,
    })
}

pub(super) async fn find(
    connection: &mut Connection,
    id: &ContractId,
) -> Result<Option<Agreement>, StoreError> {
    let query = sqlx::query("SELECT * FROM contract WHERE id = $1").bind(id.as_str().to_owned());
    Ok(read_all(connection, query).await?.pop())
}

/// The contracts that a project ever had.
pub(super) async fn of_project(
    connection: &mut Connection,
    project: &ProjectId,
) -> Result<Vec<Agreement>, StoreError> {
    let query = sqlx::query(
        "SELECT c.* FROM contract AS c JOIN contract_project AS p ON p.contract = c.id
         WHERE p.project = $1 ORDER BY c.first_day, c.id",
    )
    .bind(project.as_str().to_owned());
    read_all(connection, query).await
}

async fn read_all(
    connection: &mut Connection,
    query: super::DbQuery<'_>,
) -> Result<Vec<Agreement>, StoreError> {
    let mut agreements = Vec::new();
    for row in query.fetch_all(&mut *connection).await? {
        let contract = id(&row, "id", ContractId::parse)?;
        let projects = projects_of(connection, &contract).await?;
        agreements.push(read(&row, contract, projects)?);
    }
    Ok(agreements)
}

async fn projects_of(
    connection: &mut Connection,
    contract: &ContractId,
) -> Result<BTreeSet<ProjectId>, StoreError> {
    let rows = sqlx::query("SELECT project FROM contract_project WHERE contract = $1")
        .bind(contract.as_str())
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| id(row, "project", ProjectId::parse)).collect()
}

fn read(row: &DbRow, contract: ContractId, projects: BTreeSet<ProjectId>) -> Result<Agreement, StoreError> {
    let terms: String = row.try_get("terms")?;
    let terms: Contract = serde_json::from_str(&terms)
        .map_err(|_| StoreError::Unreadable { column: "terms", got: terms.clone() })?;
    let buyer: String = row.try_get("buyer")?;
    Ok(Agreement {
        id: contract,
        customer: row.try_get("customer")?,
        terms: Contract {
            first_day: day(row, "first_day")?,
            last_day: optional(row, "last_day", day)?,
            ..terms
        },
        projects,
        bills_development: flag(row, "bills_development")?,
        buyer: serde_json::from_str(&buyer)
            .map_err(|_| StoreError::Unreadable { column: "buyer", got: buyer.clone() })?,
        notice_days: small(row, "notice_days")?,
        created: instant(row, "created_ms")?,
    })
}

fn terms_text(agreement: &Agreement) -> Result<String, StoreError> {
    serde_json::to_string(&agreement.terms).map_err(|error| StoreError::Unwritable(error.to_string()))
}

async fn insert(tx: &mut Connection, agreement: &Agreement) -> Result<(), StoreError> {
    let buyer =
        serde_json::to_string(&agreement.buyer).map_err(|error| StoreError::Unwritable(error.to_string()))?;
    sqlx::query(
        "INSERT INTO contract (id, customer, terms, first_day, last_day, bills_development, notice_days, created_ms, buyer)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(agreement.id.as_str())
    .bind(&agreement.customer)
    .bind(terms_text(agreement)?)
    .bind(i64::from(agreement.terms.first_day.number()))
    .bind(agreement.terms.last_day.map(|day| i64::from(day.number())))
    .bind(i64::from(agreement.bills_development))
    .bind(i64::from(agreement.notice_days))
    .bind(ms(agreement.created))
    .bind(buyer)
    .execute(&mut *tx)
    .await?;
    for project in &agreement.projects {
        sqlx::query("INSERT INTO contract_project (contract, project) VALUES ($1, $2)")
            .bind(agreement.id.as_str())
            .bind(project.as_str())
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

async fn set_term(tx: &mut Connection, agreement: &Agreement) -> Result<(), StoreError> {
    sqlx::query("UPDATE contract SET terms = $1, last_day = $2 WHERE id = $3")
        .bind(terms_text(agreement)?)
        .bind(agreement.terms.last_day.map(|day| i64::from(day.number())))
        .bind(agreement.id.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

/// Notes that a project is under its contract, or has left it.
async fn turned(
    tx: &mut Connection,
    agreement: &Agreement,
    project: &ProjectId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let is_over = agreement.phase(now) == Phase::Ended;
    let ended = if is_over { ", ended_ms = COALESCE(ended_ms, $1)" } else { "" };
    let sql = format!(
        "UPDATE contract_project SET applied_ms = COALESCE(applied_ms, $1){ended} WHERE contract = $2 AND project = $3"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(int(now.as_ms()))
        .bind(agreement.id.as_str())
        .bind(project.as_str())
        .execute(tx)
        .await?;
    Ok(())
}
