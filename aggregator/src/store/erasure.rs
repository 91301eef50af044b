//! Erasing a person: everything that says who somebody was goes, and what the person did stays under the account's id.

use serde_json::json;
use shared::ids::ProjectId;
use shared::time::Timestamp;
use sqlx::Row;

use super::members::is_last_owner;
use super::rows::id;
use super::{Connection, DbRow, StoreError, Work, members};
use crate::access::account::Account;
use crate::access::trail::{Action, Deed};

/// What a member is called who was erased. Members have names; this one says of nobody who it was.
const ERASED: &str = "erased person";

/// What came of erasing an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erased {
    /// It is gone, and these are the projects that it was a member of.
    Gone(Vec<ProjectId>),
    /// Nobody else is an owner of these projects; nothing was erased.
    LastOwner(Vec<ProjectId>),
    /// There is no such account.
    Unknown,
}

impl Work {
    /// Erases an account: address, name, password, sessions, links, who it is at identity providers, memberships with their
    /// tokens, and invitations of its address. Lines of the audit log go on naming its id, which is nobody's then.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn erase_account(&mut self, id: &str, now: Timestamp) -> Result<Erased, StoreError> {
        let Some(account) = self.account(id).await? else { return Ok(Erased::Unknown) };
        let places = places(&mut self.tx, &account).await?;
        let mut owned = Vec::new();
        for (project, member) in &places {
            let active = members::active(&mut self.tx, project).await?;
            if active.iter().any(|other| other.id == *member && is_last_owner(&active, other)) {
                owned.push(project.clone());
            }
        }
        if !owned.is_empty() {
            return Ok(Erased::LastOwner(owned));
        }
        for (project, member) in &places {
            members::remove(&mut self.tx, project, member, now).await?;
            self.revoke_member_tokens(project, member, now).await?;
            // By the account, also where the member was kept by the address alone.
            let was = json!({ "account": account.id });
            self.note(&Deed::new(project, Action::MemberRemoved, member).was(&was), now).await?;
        }
        self.end_sessions(&account.id).await?;
        forget(&mut self.tx, &account).await?;
        let became = json!({ "erased_at": now.to_string() });
        self.note(&Deed::apart(Action::AccountErased, &account.id).became(&became), now).await?;
        Ok(Erased::Gone(places.into_iter().map(|(project, _)| project).collect()))
    }
}

/// Where the person is a member: by the account, or by tokens alone under the address.
async fn places(tx: &mut Connection, account: &Account) -> Result<Vec<(ProjectId, String)>, StoreError> {
    let rows = sqlx::query(
        "SELECT project, id FROM member WHERE removed_ms IS NULL AND (account = $1 OR name = $2) ORDER BY project, id",
    )
    .bind(&account.id)
    .bind(account.email.as_str())
    .fetch_all(tx)
    .await?;
    let place = |row: &DbRow| Ok((id(row, "project", ProjectId::parse)?, row.try_get("id")?));
    rows.iter().map(place).collect()
}

/// Takes away what names the person. Members keep their rows, because the audit log's ids lead to them.
async fn forget(tx: &mut Connection, account: &Account) -> Result<(), StoreError> {
    sqlx::query("UPDATE member SET name = $1, account = NULL WHERE account = $2 OR name = $3")
        .bind(ERASED)
        .bind(&account.id)
        .bind(account.email.as_str())
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM invitation WHERE email = $1")
        .bind(account.email.as_str())
        .execute(&mut *tx)
        .await?;
    for statement in [
        "DELETE FROM sign_in_link WHERE account = $1",
        "DELETE FROM identity WHERE account = $1",
        "DELETE FROM account WHERE id = $1",
    ] {
        sqlx::query(statement).bind(&account.id).execute(&mut *tx).await?;
    }
    Ok(())
}
