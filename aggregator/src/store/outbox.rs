//! Which policies the edge has not acknowledged yet, written with the change that made them.
//!
//! There is one row for each project: only the newest version is worth delivering.

use shared::ids::{KeyId, ProjectId};
use shared::time::Timestamp;
use sqlx::{AssertSqlSafe, Row};

use super::rows::{id, ms, number, small};
use super::{Connection, Store, StoreError, again, keys, ledger};
use crate::projects::book::Book;

/// The name of the setting that holds what all policies were last compiled from.
const BASIS: &str = "policy_basis";

/// More changes than any project sees between a backup and its restoration.
const VERSIONS_PER_RESTORE: u64 = 1_000_000;

/// A policy that is to be pushed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuePush {
    /// Whose policy.
    pub project: ProjectId,
    /// The version that has to arrive; a newer one will do.
    pub version: u64,
    /// How often it has failed.
    pub attempts: u32,
}

impl Store {
    /// Takes at most `limit` pushes that are due, those waiting longest first: nobody else is given them for
    /// `lease_ms`, after which whoever took them is taken for dead.
    ///
    /// A push that waits twice as long was put off by a clock that has been set back since. One that waits a little longer
    /// than `lease_ms` was taken by another server, after `now` was read here and before the store was asked.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take_pushes(
        &self,
        now: Timestamp,
        lease_ms: u64,
        limit: u32,
    ) -> Result<Vec<DuePush>, StoreError> {
        let (until, latest) = (ms(now.plus_ms(lease_ms)), ms(now.plus_ms(lease_ms.saturating_mul(2))));
        let any = sqlx::query("SELECT 1 FROM policy_outbox WHERE due_ms <= $1 OR due_ms > $2 LIMIT 1")
            .bind(ms(now))
            .bind(latest)
            .fetch_optional(&self.readers)
            .await?;
        if any.is_none() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "UPDATE policy_outbox SET due_ms = $2 WHERE project IN (
                 SELECT project FROM policy_outbox WHERE due_ms <= $1 OR due_ms > $4
                 ORDER BY due_ms, project LIMIT $3 {}
             ) RETURNING project, version, attempts",
            self.dialect.skip_locked()
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(ms(now))
            .bind(until)
            .bind(i64::from(limit))
            .bind(latest)
            .fetch_all(&self.writer)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(DuePush {
                    project: id(row, "project", ProjectId::parse)?,
                    version: number(row, "version")?,
                    attempts: small(row, "attempts")?,
                })
            })
            .collect()
    }

    /// Every push that waits, due or taken or neither, with its version.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn waiting_pushes(&self) -> Result<Vec<(ProjectId, u64)>, StoreError> {
        let rows = sqlx::query("SELECT project, version FROM policy_outbox ORDER BY project")
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(|row| Ok((id(row, "project", ProjectId::parse)?, number(row, "version")?))).collect()
    }

    /// Forgets a push whose version, or a newer one, has arrived.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn push_arrived(&self, project: &ProjectId, version: u64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM policy_outbox WHERE project = $1 AND version <= $2")
            .bind(project.as_str())
            .bind(super::rows::int(version))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Puts a failed push off; a newer version that was queued meanwhile stays due.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn push_failed(&self, push: &DuePush, due: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE policy_outbox SET attempts = attempts + 1, due_ms = $1 WHERE project = $2 AND version = $3",
        )
        .bind(ms(due))
        .bind(push.project.as_str())
        .bind(super::rows::int(push.version))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Makes every waiting push due now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn hurry_pushes(&self, now: Timestamp) -> Result<(), StoreError> {
        again(|| self.hurry_pushes_once(now)).await
    }

    async fn hurry_pushes_once(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        sqlx::query("UPDATE policy_outbox SET attempts = 0, due_ms = $1 WHERE due_ms > $1")
            .bind(ms(now))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// A project's book with the keys that are not revoked, as of one instant.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn policy_parts(&self, id: &ProjectId) -> Result<Option<(Book, Vec<KeyId>)>, StoreError> {
        let mut tx = self.read().await?;
        let Some(book) = ledger::load(&mut tx, id).await? else { return Ok(None) };
        let keys = keys::active(&mut tx, id).await?;
        Ok(Some((book, keys)))
    }

    /// Raises every policy's version if policies are compiled from something else than before.
    /// Says how many were raised.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn rebase_policies(&self, fingerprint: &str, now: Timestamp) -> Result<u64, StoreError> {
        self.change(async |work| {
            let before = basis(&mut work.tx).await?;
            if before.as_deref() == Some(fingerprint) {
                return Ok(0);
            }
            set_basis(&mut work.tx, fingerprint).await?;
            // Before the first server ran, no policy was compiled from anything.
            let raised = if before.is_some() { raise_all(&mut work.tx).await? } else { 0 };
            queue_all(&mut work.tx, now).await?;
            work.note_push();
            Ok(raised)
        })
        .await
    }

    /// Raises every policy's version above those that the edge may have from after the backup.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn outrun_policies(&self, now: Timestamp) -> Result<(), StoreError> {
        self.change(async |work| {
            sqlx::query("UPDATE project SET policy_version = policy_version + $1")
                .bind(super::rows::int(VERSIONS_PER_RESTORE))
                .execute(&mut *work.tx)
                .await?;
            queue_all(&mut work.tx, now).await?;
            work.note_push();
            Ok(())
        })
        .await
    }
}

/// Queues the push of a project's policy version.
pub(super) async fn queue(
    tx: &mut Connection,
    project: &ProjectId,
    version: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO policy_outbox (project, version, attempts, due_ms) VALUES ($1, $2, 0, $3)
         ON CONFLICT (project) DO UPDATE SET version = excluded.version, attempts = 0, due_ms = excluded.due_ms",
    )
    .bind(project.as_str())
    .bind(super::rows::int(version))
    .bind(ms(now))
    .execute(tx)
    .await?;
    Ok(())
}

async fn queue_all(tx: &mut Connection, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO policy_outbox (project, version, attempts, due_ms) SELECT id, policy_version, 0, $1 FROM project WHERE true
         ON CONFLICT (project) DO UPDATE SET version = excluded.version, attempts = 0, due_ms = excluded.due_ms",
    )
    .bind(ms(now))
    .execute(tx)
    .await?;
    Ok(())
}

async fn raise_all(tx: &mut Connection) -> Result<u64, StoreError> {
    let done = sqlx::query("UPDATE project SET policy_version = policy_version + 1").execute(tx).await?;
    Ok(done.rows_affected())
}

async fn basis(tx: &mut Connection) -> Result<Option<String>, StoreError> {
    let row = sqlx::query("SELECT value FROM setting WHERE name = $1").bind(BASIS).fetch_optional(tx).await?;
    Ok(row.map(|row| row.try_get("value")).transpose()?)
}

async fn set_basis(tx: &mut Connection, fingerprint: &str) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
        .bind(BASIS)
        .bind(fingerprint)
        .execute(tx)
        .await?;
    Ok(())
}
