//! Who people are at identity providers, and sign-ins that came back from there.

use serde_json::json;
use shared::time::Timestamp;
use sqlx::Row;

use super::rows::ms;
use super::{StoreError, Work};
use crate::access::account::Account;
use crate::access::stranger::Proven;
use crate::access::trail::{Action, Deed};

impl Work {
    /// Notes that a sign-in came back; whether it is the first time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn finish_errand(&mut self, state: &str, now: Timestamp) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO errand_done (state, at_ms) VALUES ($1, $2) ON CONFLICT (state) DO NOTHING",
        )
        .bind(state)
        .bind(ms(now))
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The account that this person of the provider has signed in to before, disabled or not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn account_bound_to(&mut self, proven: &Proven) -> Result<Option<Account>, StoreError> {
        let row = sqlx::query("SELECT account FROM identity WHERE issuer = $1 AND subject = $2")
            .bind(&proven.issuer)
            .bind(&proven.subject)
            .fetch_optional(&mut *self.tx)
            .await?;
        match row {
            Some(row) => self.account(row.try_get("account")?).await,
            None => Ok(None),
        }
    }

    /// Keeps that this person of the provider is the one of that account; `false` where another of its people is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn bind_identity(
        &mut self,
        account: &Account,
        proven: &Proven,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO identity (issuer, subject, account, bound_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (account, issuer) DO NOTHING",
        )
        .bind(&proven.issuer)
        .bind(&proven.subject)
        .bind(&account.id)
        .bind(ms(now))
        .execute(&mut *self.tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        // Not who the person is there: what is noted can never be erased.
        let became = json!({ "issuer": proven.issuer });
        self.note(&Deed::apart(Action::IdentityBound, &account.id).became(&became), now).await?;
        Ok(true)
    }
}
