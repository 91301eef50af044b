//! Accounts of people, and the links that sign in to them. Neither passwords nor links come here but as hashes.

use serde_json::json;
use shared::ids::ProjectId;
use shared::time::Timestamp;
use sqlx::Row;

use super::rows::{flag, id, instant, ms, name, optional};
use super::{Connection, DbRow, Store, StoreError, Work};
use crate::access::Role;
use crate::access::account::{Account, Email, Membership};
use crate::access::session::{LINK_MS_MAX, SecretHash};
use crate::access::trail::{Action, Actor, Deed};
use crate::random;

/// What an account is made of.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// By which its person signs in.
    pub email: Email,
    /// What the person is called.
    pub name: String,
    /// Whether the person is one of those who run the meter.
    pub operator: bool,
    /// The password's hash; `None` where only a link signs in at first.
    pub password: Option<String>,
}

/// An account, and the hash of its password where it has one.
#[derive(Clone)]
pub struct Known {
    /// The account.
    pub account: Account,
    /// The hash.
    pub password: Option<String>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Known({})", self.account.id)
    }
}

impl Work {
    /// Makes an account; `None` where there is one of that address, disabled or not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_account(
        &mut self,
        new: NewAccount,
        now: Timestamp,
    ) -> Result<Option<Account>, StoreError> {
        let id = random::id()?;
        self.insert_account(id, new, now).await
    }

    /// The same on behalf of the new account itself, in that role.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_own_account(
        &mut self,
        new: NewAccount,
        role: &'static str,
        now: Timestamp,
    ) -> Result<Option<Account>, StoreError> {
        let id = random::id()?;
        self.act_for(Actor::Person { account: id.clone(), role });
        self.insert_account(id, new, now).await
    }

    async fn insert_account(
        &mut self,
        id: String,
        new: NewAccount,
        now: Timestamp,
    ) -> Result<Option<Account>, StoreError> {
        let NewAccount { email, name, operator, password } = new;
        let account = Account { id, email, name, operator, created: now, disabled: None };
        if !insert(&mut self.tx, &account, password.as_deref()).await? {
            return Ok(None);
        }
        // Neither address nor name: what is noted can never be erased.
        let became = json!({ "operator": operator });
        self.note(&Deed::apart(Action::AccountCreated, &account.id).became(&became), now).await?;
        Ok(Some(account))
    }

    /// Disables an account at once: its sessions and links end. Disabling twice keeps the first instant; `None` where
    /// there is no such account.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn disable_account(&mut self, id: &str, now: Timestamp) -> Result<Option<Account>, StoreError> {
        let Some(Known { account, .. }) = find(&mut self.tx, id).await? else { return Ok(None) };
        if account.disabled.is_some() {
            return Ok(Some(account));
        }
        sqlx::query("UPDATE account SET disabled_ms = $1 WHERE id = $2")
            .bind(ms(now))
            .bind(id)
            .execute(&mut *self.tx)
            .await?;
        self.end_sessions(id).await?;
        self.drop_links(id).await?;
        let became = json!({ "disabled_at": now.to_string() });
        self.note(&Deed::apart(Action::AccountDisabled, &account.id).became(&became), now).await?;
        Ok(Some(Account { disabled: Some(now), ..account }))
    }

    /// Keeps a link that signs in to an account, in the place of those before, and says until when it is accepted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_link(
        &mut self,
        account: &Account,
        hash: &SecretHash,
        now: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        self.drop_links(&account.id).await?;
        let expires = now.plus_ms(LINK_MS_MAX);
        sqlx::query("INSERT INTO sign_in_link (hash, account, expires_ms) VALUES ($1, $2, $3)")
            .bind(hash.as_bytes())
            .bind(&account.id)
            .bind(ms(expires))
            .execute(&mut *self.tx)
            .await?;
        let became = json!({ "expires_at": expires.to_string() });
        self.note(&Deed::apart(Action::LinkCreated, &account.id).became(&became), now).await?;
        Ok(expires)
    }

    /// Takes a link, which is no more; `None` where there is none, or it is too old, or its account is disabled.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take_link(
        &mut self,
        hash: &SecretHash,
        now: Timestamp,
    ) -> Result<Option<Known>, StoreError> {
        let row = sqlx::query("DELETE FROM sign_in_link WHERE hash = $1 RETURNING account, expires_ms")
            .bind(hash.as_bytes())
            .fetch_optional(&mut *self.tx)
            .await?;
        let Some(row) = row else { return Ok(None) };
        if instant(&row, "expires_ms")? <= now {
            return Ok(None);
        }
        let id: String = row.try_get("account")?;
        Ok(find(&mut self.tx, &id).await?.filter(|known| known.account.disabled.is_none()))
    }

    /// Sets an account's password.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_password(
        &mut self,
        account: &Account,
        hash: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE account SET password = $1 WHERE id = $2")
            .bind(hash)
            .bind(&account.id)
            .execute(&mut *self.tx)
            .await?;
        let became = json!({ "password": "set" });
        self.note(&Deed::apart(Action::PasswordSet, &account.id).became(&became), now).await
    }

    /// The account of that id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn account(&mut self, id: &str) -> Result<Option<Account>, StoreError> {
        Ok(find(&mut self.tx, id).await?.map(|known| known.account))
    }

    /// The account of that address, as this change sees it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn account_of(&mut self, email: &Email) -> Result<Option<Known>, StoreError> {
        by_email(&mut self.tx, email).await
    }

    async fn drop_links(&mut self, account: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM sign_in_link WHERE account = $1")
            .bind(account)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }
}

impl Store {
    /// The account of that address, disabled or not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn account_of(&self, email: &Email) -> Result<Option<Known>, StoreError> {
        by_email(&mut *self.readers.acquire().await?, email).await
    }

    /// Every account, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, email, name, operator, password, created_ms, disabled_ms FROM account ORDER BY created_ms, id",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| read(row).map(|known| known.account)).collect()
    }
}

/// The projects that an account is a member of, in the order of their ids.
pub(super) async fn memberships(
    connection: &mut Connection,
    account: &str,
) -> Result<Vec<Membership>, StoreError> {
    let rows = sqlx::query(
        "SELECT project, id, role FROM member WHERE account = $1 AND removed_ms IS NULL ORDER BY project",
    )
    .bind(account)
    .fetch_all(connection)
    .await?;
    let read = |row: &DbRow| {
        Ok(Membership {
            project: id(row, "project", ProjectId::parse)?,
            member: row.try_get("id")?,
            role: name(row, "role", Role::parse)?,
        })
    };
    rows.iter().map(read).collect()
}

/// Whether the address was free.
async fn insert(tx: &mut Connection, account: &Account, password: Option<&str>) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO account (id, email, name, operator, password, created_ms) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (email) DO NOTHING",
    )
    .bind(&account.id)
    .bind(account.email.as_str())
    .bind(&account.name)
    .bind(i64::from(account.operator))
    .bind(password)
    .bind(ms(account.created))
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn find(connection: &mut Connection, id: &str) -> Result<Option<Known>, StoreError> {
    let row = sqlx::query(
        "SELECT id, email, name, operator, password, created_ms, disabled_ms FROM account WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read).transpose()
}

async fn by_email(connection: &mut Connection, email: &Email) -> Result<Option<Known>, StoreError> {
    let row = sqlx::query(
        "SELECT id, email, name, operator, password, created_ms, disabled_ms FROM account WHERE email = $1",
    )
    .bind(email.as_str())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read).transpose()
}

/// An account in a row that has its columns.
pub(super) fn read(row: &DbRow) -> Result<Known, StoreError> {
    let account = Account {
        id: row.try_get("id")?,
        email: name(row, "email", Email::parse)?,
        name: row.try_get("name")?,
        operator: flag(row, "operator")?,
        created: instant(row, "created_ms")?,
        disabled: optional(row, "disabled_ms", instant)?,
    };
    Ok(Known { account, password: row.try_get("password")? })
}
