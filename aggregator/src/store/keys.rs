//! Project keys: their ids and when they were made and revoked. Never the keys themselves.

use serde_json::json;
use shared::ids::{KeyId, Mode, ProjectId};
use shared::time::Timestamp;
use sqlx::Row;

use super::rows::{id, instant, ms, optional};
use super::{Connection, DbRow, Store, StoreError, Work, again, events, projects};
use crate::access::trail::{Action, Deed};
use crate::projects::project::{ACTIVE_KEYS_MAX, Key};
use crate::random;
use crate::webhooks::event::{Event, KeyRevoked};

/// What came of making a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyCreated {
    /// The key, whose text the caller mints.
    Key(Key),
    /// There is no such project.
    ProjectUnknown,
    /// The project has [`ACTIVE_KEYS_MAX`] keys that are not revoked.
    TooMany,
}

/// What came of rotating a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRotated {
    /// The key that takes its place, and when the old one stops being accepted.
    Key(Key, Timestamp),
    /// There is no such key, or it is revoked.
    Unknown,
    /// The project has [`ACTIVE_KEYS_MAX`] keys that are not revoked.
    TooMany,
}

impl Work {
    /// Makes a key in the place of another, which goes on being accepted for a while.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn rotate_key(
        &mut self,
        project: &ProjectId,
        (key, overlap_ms): (&KeyId, u64),
        now: Timestamp,
    ) -> Result<KeyRotated, StoreError> {
        let Some(old) = find(&mut self.tx, project, key).await?.filter(|old| old.revoked.is_none()) else {
            return Ok(KeyRotated::Unknown);
        };
        // An overlap that is running is not made longer by rotating once more.
        let wanted = now.plus_ms(overlap_ms);
        let expires = old.expires.map_or(wanted, |before| before.min(wanted));
        let new = match self.create_key(project, old.mode, now).await? {
            KeyCreated::Key(new) => new,
            KeyCreated::ProjectUnknown => return Ok(KeyRotated::Unknown),
            KeyCreated::TooMany => return Ok(KeyRotated::TooMany),
        };
        expire(&mut self.tx, project, key, expires).await?;
        let became = json!({ "by": new.id, "expires_at": expires.to_string() });
        self.note(&Deed::new(project, Action::KeyRotated, key.as_str()).became(&became), now).await?;
        if expires <= now {
            self.revoke_key(project, key, now).await?;
        }
        Ok(KeyRotated::Key(new, expires))
    }

    /// Makes a key's id and queues the policy that permits it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_key(
        &mut self,
        project: &ProjectId,
        mode: Mode,
        now: Timestamp,
    ) -> Result<KeyCreated, StoreError> {
        if projects::find(&mut self.tx, project).await?.is_none() {
            return Ok(KeyCreated::ProjectUnknown);
        }
        if active(&mut self.tx, project).await?.len() >= ACTIVE_KEYS_MAX {
            return Ok(KeyCreated::TooMany);
        }
        let key = Key { id: random::key_id()?, mode, created: now, revoked: None, expires: None };
        insert(&mut self.tx, project, &key).await?;
        self.raise_policy(project, now).await?;
        let deed = Deed::new(project, Action::KeyCreated, key.id.as_str());
        self.note(&deed.became(&json!({ "mode": key.mode })), now).await?;
        Ok(KeyCreated::Key(key))
    }

    /// Revokes a key and queues the policy without it; `None` if there is no such key.
    ///
    /// Revoking twice changes nothing and keeps the first instant.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_key(
        &mut self,
        project: &ProjectId,
        key: &KeyId,
        now: Timestamp,
    ) -> Result<Option<Key>, StoreError> {
        let Some(found) = find(&mut self.tx, project, key).await? else { return Ok(None) };
        if found.revoked.is_some() {
            return Ok(Some(found));
        }
        revoke(&mut self.tx, project, key, now).await?;
        let event = Event::KeyRevoked(KeyRevoked { key: key.clone(), mode: found.mode });
        events::announce(&mut self.tx, project, &event, now).await?;
        self.raise_policy(project, now).await?;
        let deed = Deed::new(project, Action::KeyRevoked, key.as_str()).was(&json!({ "mode": found.mode }));
        self.note(&deed, now).await?;
        Ok(Some(Key { revoked: Some(now), ..found }))
    }
}

impl Store {
    /// As [`Work::create_key`], committed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_key(
        &self,
        project: &ProjectId,
        mode: Mode,
        now: Timestamp,
    ) -> Result<KeyCreated, StoreError> {
        self.change_in(project, async |work| work.create_key(project, mode, now).await).await
    }

    /// As [`Work::revoke_key`], committed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_key(
        &self,
        project: &ProjectId,
        key: &KeyId,
        now: Timestamp,
    ) -> Result<Option<Key>, StoreError> {
        again(|| self.revoke_key_once(project, key, now)).await
    }

    async fn revoke_key_once(
        &self,
        project: &ProjectId,
        key: &KeyId,
        now: Timestamp,
    ) -> Result<Option<Key>, StoreError> {
        let mut work = self.begin_in(project).await?;
        let revoked = work.revoke_key(project, key, now).await?;
        work.commit().await?;
        Ok(revoked)
    }

    /// As [`Work::rotate_key`], committed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn rotate_key(
        &self,
        project: &ProjectId,
        (key, overlap_ms): (&KeyId, u64),
        now: Timestamp,
    ) -> Result<KeyRotated, StoreError> {
        self.change_in(project, async |work| work.rotate_key(project, (key, overlap_ms), now).await).await
    }

    /// At most `limit` keys that were rotated out and whose time has come.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn expired_keys(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(ProjectId, KeyId)>, StoreError> {
        let rows = sqlx::query(
            "SELECT project, id FROM project_key WHERE expires_ms <= $1 AND revoked_ms IS NULL
             ORDER BY expires_ms, project, id LIMIT $2",
        )
        .bind(ms(now))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| Ok((id(row, "project", ProjectId::parse)?, id(row, "id", KeyId::parse)?)))
            .collect()
    }

    /// All keys that the project ever had, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keys(&self, project: &ProjectId) -> Result<Vec<Key>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, mode, created_ms, revoked_ms, expires_ms FROM project_key WHERE project = $1 ORDER BY created_ms, id",
        )
        .bind(project.as_str())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read).collect()
    }
}

/// The ids of the project's keys that are not revoked.
pub(super) async fn active(
    connection: &mut Connection,
    project: &ProjectId,
) -> Result<Vec<KeyId>, StoreError> {
    let rows =
        sqlx::query("SELECT id FROM project_key WHERE project = $1 AND revoked_ms IS NULL ORDER BY id")
            .bind(project.as_str())
            .fetch_all(connection)
            .await?;
    rows.iter().map(|row| id(row, "id", KeyId::parse)).collect()
}

async fn find(tx: &mut Connection, project: &ProjectId, key: &KeyId) -> Result<Option<Key>, StoreError> {
    let row = sqlx::query(
        "SELECT id, mode, created_ms, revoked_ms, expires_ms FROM project_key WHERE project = $1 AND id = $2",
    )
    .bind(project.as_str())
    .bind(key.as_str())
    .fetch_optional(tx)
    .await?;
    row.as_ref().map(read).transpose()
}

async fn insert(tx: &mut Connection, project: &ProjectId, key: &Key) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO project_key (project, id, mode, created_ms) VALUES ($1, $2, $3, $4)")
        .bind(project.as_str())
        .bind(key.id.as_str())
        .bind(key.mode.as_str())
        .bind(ms(key.created))
        .execute(tx)
        .await?;
    Ok(())
}

async fn revoke(
    tx: &mut Connection,
    project: &ProjectId,
    key: &KeyId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE project_key SET revoked_ms = $1 WHERE project = $2 AND id = $3")
        .bind(ms(now))
        .bind(project.as_str())
        .bind(key.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

async fn expire(
    tx: &mut Connection,
    project: &ProjectId,
    key: &KeyId,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE project_key SET expires_ms = $1 WHERE project = $2 AND id = $3")
        .bind(ms(at))
        .bind(project.as_str())
        .bind(key.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

fn read(row: &DbRow) -> Result<Key, StoreError> {
    let mode: String = row.try_get("mode")?;
    Ok(Key {
        id: id(row, "id", KeyId::parse)?,
        mode: Mode::parse(&mode)
            .map_err(|error| StoreError::Unreadable { column: "mode", got: error.got })?,
        created: instant(row, "created_ms")?,
        revoked: optional(row, "revoked_ms", instant)?,
        expires: optional(row, "expires_ms", instant)?,
    })
}
