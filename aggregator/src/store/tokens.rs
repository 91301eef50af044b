//! Tokens, by their hashes. A token's text never comes here.

use shared::ids::ProjectId;
use shared::time::Timestamp;
use sqlx::Row;

use super::rows::{id, instant, ms, optional};
use super::{Connection, DbRow, Store, StoreError, Work};
use crate::access::token::TokenHash;
use crate::access::trail::{Action, Deed};
use crate::access::{Role, Scope};
use crate::random;

/// What tokens are for that report units and nothing else.
const EVENTS: &str = "events";

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name, which is no secret.
    pub id: String,
    /// What it reaches.
    pub scope: Scope,
    /// The member whose it is; `None` is a program's.
    pub member: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

impl Work {
    /// Stores a new token. The project of its scope must exist.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_token(
        &mut self,
        scope: Scope,
        hash: &TokenHash,
        now: Timestamp,
    ) -> Result<Token, StoreError> {
        let token = Token { id: random::id()?, scope, member: None, created: now, revoked: None };
        self.keep_token(token, hash, now).await
    }

    /// Stores a new token of a member.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_member_token(
        &mut self,
        scope: Scope,
        (member, hash): (&str, &TokenHash),
        now: Timestamp,
    ) -> Result<Token, StoreError> {
        let member = Some(member.to_owned());
        let token = Token { id: random::id()?, scope, member, created: now, revoked: None };
        self.keep_token(token, hash, now).await
    }

    async fn keep_token(
        &mut self,
        token: Token,
        hash: &TokenHash,
        now: Timestamp,
    ) -> Result<Token, StoreError> {
        insert(&mut self.tx, &token, hash).await?;
        self.note(&deed(&token, Action::TokenCreated), now).await?;
        Ok(token)
    }

    /// Revokes every token of a member.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_member_tokens(
        &mut self,
        project: &ProjectId,
        member: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for token in revoke_of_member(&mut self.tx, project, member, now).await? {
            self.note(&deed(&token, Action::TokenRevoked), now).await?;
        }
        Ok(())
    }

    /// Revokes a token at once; `None` if there is none of that id. Revoking twice keeps the first instant.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_token(&mut self, id: &str, now: Timestamp) -> Result<Option<Token>, StoreError> {
        let was = find(&mut self.tx, id).await?;
        revoke(&mut self.tx, id, now).await?;
        if let Some(token) = was.filter(|token| token.revoked.is_none()) {
            self.note(&deed(&token, Action::TokenRevoked), now).await?;
        }
        find(&mut self.tx, id).await
    }
}

impl Store {
    /// As [`Work::create_token`], committed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_token(
        &self,
        scope: Scope,
        hash: &TokenHash,
        now: Timestamp,
    ) -> Result<Token, StoreError> {
        self.change(async |work| work.create_token(scope.clone(), hash, now).await).await
    }

    /// The token of that hash, if it is not revoked.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn active_token(&self, hash: &TokenHash) -> Result<Option<Token>, StoreError> {
        let row = sqlx::query(
            "SELECT id, project, role, purpose, member, created_ms, revoked_ms FROM token WHERE hash = $1 AND revoked_ms IS NULL",
        )
        .bind(hash.as_bytes())
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// Every token, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn all_tokens(&self) -> Result<Vec<Token>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, project, role, purpose, member, created_ms, revoked_ms FROM token ORDER BY created_ms, id",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read).collect()
    }

    /// The project's tokens, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn project_tokens(&self, project: &ProjectId) -> Result<Vec<Token>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, project, role, purpose, member, created_ms, revoked_ms FROM token WHERE project = $1 ORDER BY created_ms, id",
        )
        .bind(project.as_str())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read).collect()
    }

    /// The token of that name, revoked or not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn token(&self, id: &str) -> Result<Option<Token>, StoreError> {
        find(&mut *self.readers.acquire().await?, id).await
    }

    /// Revokes a token; `None` if there is none of that name. Revoking twice keeps the first instant.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_token(&self, id: &str, now: Timestamp) -> Result<Option<Token>, StoreError> {
        self.change(async |work| work.revoke_token(id, now).await).await
    }
}

/// What the audit log says of a token: never its hash.
fn deed(token: &Token, action: Action) -> Deed<'_> {
    let project = match &token.scope {
        Scope::Operator => None,
        Scope::Project { project, .. } | Scope::Emitter { project } => Some(project),
    };
    let deed = Deed { project, action, target: &token.id, was: None, became: None };
    let role = serde_json::json!({ "role": token.scope.role_name() });
    if action == Action::TokenRevoked { deed.was(&role) } else { deed.became(&role) }
}

async fn insert(tx: &mut Connection, token: &Token, hash: &TokenHash) -> Result<(), StoreError> {
    // A release that knows no purposes takes an emitter's token for one of those who may least.
    let (project, role, purpose) = match &token.scope {
        Scope::Operator => (None, token.scope.role_name(), None),
        Scope::Project { project, role } => (Some(project.as_str()), role.as_str(), None),
        Scope::Emitter { project } => (Some(project.as_str()), Role::Viewer.as_str(), Some(EVENTS)),
    };
    sqlx::query(
        "INSERT INTO token (id, hash, project, role, created_ms, member, purpose) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&token.id)
    .bind(hash.as_bytes())
    .bind(project)
    .bind(role)
    .bind(ms(token.created))
    .bind(token.member.as_deref())
    .bind(purpose)
    .execute(tx)
    .await?;
    Ok(())
}

/// Revokes every token of a member, and says which those were.
async fn revoke_of_member(
    tx: &mut Connection,
    project: &ProjectId,
    member: &str,
    now: Timestamp,
) -> Result<Vec<Token>, StoreError> {
    let rows = sqlx::query(
        "UPDATE token SET revoked_ms = $1 WHERE project = $2 AND member = $3 AND revoked_ms IS NULL
         RETURNING id, project, role, purpose, member, created_ms, revoked_ms",
    )
    .bind(ms(now))
    .bind(project.as_str())
    .bind(member)
    .fetch_all(tx)
    .await?;
    rows.iter().map(read).collect()
}

async fn find(connection: &mut Connection, id: &str) -> Result<Option<Token>, StoreError> {
    let row = sqlx::query(
        "SELECT id, project, role, purpose, member, created_ms, revoked_ms FROM token WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read).transpose()
}

async fn revoke(tx: &mut Connection, id: &str, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE token SET revoked_ms = $1 WHERE id = $2 AND revoked_ms IS NULL")
        .bind(ms(now))
        .bind(id)
        .execute(tx)
        .await?;
    Ok(())
}

fn read(row: &DbRow) -> Result<Token, StoreError> {
    let role: String = row.try_get("role")?;
    let project: Option<String> = row.try_get("project")?;
    let purpose: Option<String> = row.try_get("purpose")?;
    let scope = match (Role::parse(&role), project) {
        (Some(_), Some(_)) if purpose.as_deref() == Some(EVENTS) => {
            Scope::Emitter { project: id(row, "project", ProjectId::parse)? }
        }
        (None, None) if role == Scope::Operator.role_name() => Scope::Operator,
        (Some(role), Some(_)) => Scope::Project { project: id(row, "project", ProjectId::parse)?, role },
        (Some(_), None) | (None, _) => return Err(StoreError::Unreadable { column: "role", got: role }),
    };
    Ok(Token {
        id: row.try_get("id")?,
        scope,
        member: row.try_get("member")?,
        created: instant(row, "created_ms")?,
        revoked: optional(row, "revoked_ms", instant)?,
    })
}
