//! Invoices at Stripe of contracts' documents: how far each has come, so that none is made twice.

use serde_json::json;
use shared::ids::ContractId;
use shared::time::Timestamp;
use sqlx::Row;

use super::rows::{int, ms, number};
use super::{Store, StoreError, Work};
use crate::access::trail::{Action, Deed};
use crate::contracts::month::Document;

/// An invoice of a document, as far as it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractInvoice {
    /// Which keys its calls are made with.
    pub attempt: u64,
    /// Its id at Stripe, once that is known.
    pub invoice: Option<String>,
}

impl Store {
    /// The customer of a contract at Stripe.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn contract_customer(&self, contract: &ContractId) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT customer FROM contract_customer WHERE contract = $1")
            .bind(contract.as_str())
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.map(|row| row.try_get("customer")).transpose()?)
    }

    /// Notes a contract's customer; the first one that is noted stays.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn contract_customer_made(
        &self,
        contract: &ContractId,
        customer: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO contract_customer (contract, customer) VALUES ($1, $2) ON CONFLICT (contract) DO NOTHING",
        )
        .bind(contract.as_str())
        .bind(customer)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// The row of a document's invoice, made where there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn contract_invoice(
        &self,
        document: &Document,
        now: Timestamp,
    ) -> Result<ContractInvoice, StoreError> {
        sqlx::query(
            "INSERT INTO contract_invoice (contract, period, number, attempt, noted, begun_ms)
             VALUES ($1, $2, $3, 1, 0, $4) ON CONFLICT (contract, period, number) DO NOTHING",
        )
        .bind(document.contract.as_str())
        .bind(document.period.to_string())
        .bind(i64::from(document.number))
        .bind(ms(now))
        .execute(&self.writer)
        .await?;
        let row = sqlx::query(
            "SELECT attempt, invoice FROM contract_invoice WHERE contract = $1 AND period = $2 AND number = $3",
        )
        .bind(document.contract.as_str())
        .bind(document.period.to_string())
        .bind(i64::from(document.number))
        .fetch_one(&self.writer)
        .await?;
        Ok(ContractInvoice { attempt: number(&row, "attempt")?, invoice: row.try_get("invoice")? })
    }

    /// Notes the id of a document's invoice; the first one that is noted stays.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn contract_invoice_made(&self, document: &Document, invoice: &str) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE contract_invoice SET invoice = $1
             WHERE contract = $2 AND period = $3 AND number = $4 AND invoice IS NULL",
        )
        .bind(invoice)
        .bind(document.contract.as_str())
        .bind(document.period.to_string())
        .bind(i64::from(document.number))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Raises the keys of a document's invoice, because those of `before` may never do anything any more. Where `is_gone`
    /// its invoice was deleted at Stripe.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn contract_invoice_again(
        &self,
        document: &Document,
        before: &ContractInvoice,
        is_gone: bool,
    ) -> Result<(), StoreError> {
        let invoice = before.invoice.as_deref().filter(|_| !is_gone);
        sqlx::query(
            "UPDATE contract_invoice SET attempt = attempt + 1, invoice = $1
             WHERE contract = $2 AND period = $3 AND number = $4 AND attempt = $5",
        )
        .bind(invoice)
        .bind(document.contract.as_str())
        .bind(document.period.to_string())
        .bind(i64::from(document.number))
        .bind(int(before.attempt))
        .execute(&self.writer)
        .await?;
        Ok(())
    }
}

impl Work {
    /// Notes in the audit log, once, that a document has its invoice at Stripe.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn contract_collected(
        &mut self,
        document: &Document,
        invoice: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let done = sqlx::query(
            "UPDATE contract_invoice SET noted = 1
             WHERE contract = $1 AND period = $2 AND number = $3 AND noted = 0",
        )
        .bind(document.contract.as_str())
        .bind(document.period.to_string())
        .bind(i64::from(document.number))
        .execute(&mut *self.tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(());
        }
        let (name, became) = (document.name(), json!({ "invoice": invoice }));
        self.note(&Deed::apart(Action::ContractCollected, &name).became(&became), now).await
    }
}
