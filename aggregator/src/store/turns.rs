//! When a project's plan or standing changes by time alone, so that its policy is made anew at that instant.

use std::collections::BTreeMap;

use shared::ids::ProjectId;
use shared::time::Timestamp;

use super::rows::{id, ms};
use super::{Connection, Store, StoreError, ledger, projects};
use crate::ledger::state::Ledger;

impl Store {
    /// At most `limit` projects for which something changes by now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn due_turns(&self, now: Timestamp, limit: u32) -> Result<Vec<ProjectId>, StoreError> {
        let rows =
            sqlx::query("SELECT project FROM policy_turn WHERE at_ms <= $1 ORDER BY at_ms, project LIMIT $2")
                .bind(ms(now))
                .bind(i64::from(limit))
                .fetch_all(&self.readers)
                .await?;
        rows.iter().map(|row| id(row, "project", ProjectId::parse)).collect()
    }

    /// Raises the policy of a project whose time has come, and notes when the next one comes.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn turn(&self, project: &ProjectId, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write_project(project).await?;
        let Some(book) = ledger::load(&mut tx, project).await? else { return Ok(()) };
        note(&mut tx, project, &book.ledger, now).await?;
        let stored = book.next_number();
        ledger::keep(&mut tx, book, stored, &BTreeMap::from([(now.period(), None)]), now).await?;
        projects::raise_policy(&mut tx, project, now).await?;
        self.commit_policy_change(tx).await
    }
}

/// Notes when something changes next, in the transaction that wrote what it follows from.
pub(super) async fn note(
    tx: &mut Connection,
    project: &ProjectId,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<(), StoreError> {
    let query = match ledger.timeline().next_change(now) {
        Some(at) => sqlx::query(
            "INSERT INTO policy_turn (project, at_ms) VALUES ($1, $2)
             ON CONFLICT (project) DO UPDATE SET at_ms = excluded.at_ms",
        )
        .bind(project.as_str())
        .bind(ms(at)),
        None => sqlx::query("DELETE FROM policy_turn WHERE project = $1").bind(project.as_str()),
    };
    query.execute(tx).await?;
    Ok(())
}
