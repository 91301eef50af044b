//! When a project's plan or standing changes by time alone: planned changes of plan, and falls at the end of a grace.
//! The ledger has them already, exact to the millisecond; the edge has to be told when they come true.

use std::collections::BTreeMap;

use serde_json::json;
use shared::ids::ProjectId;
use shared::time::Timestamp;

use super::payments::paying;
use super::rows::{id, instant, ms};
use super::{Connection, Store, StoreError, Work, again, ledger, projects};
use crate::access::trail::{Action, Deed};
use crate::ledger::state::Ledger;
use crate::payments::paying::OverdueView;
use crate::projects::book::Book;

impl Store {
    /// At most `limit` projects for which something has come true, those waiting longest first.
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

    /// As [`Work::turn`], committed.
    ///
    /// # Errors
    /// When the store fails or the ledger refuses.
    pub async fn turn(&self, project: &ProjectId, now: Timestamp) -> Result<Option<usize>, StoreError> {
        again(|| self.turn_once(project, now)).await
    }

    async fn turn_once(&self, project: &ProjectId, now: Timestamp) -> Result<Option<usize>, StoreError> {
        let mut work = self.begin_in(project).await?;
        let turned = work.turn(project, now).await?;
        work.commit().await?;
        Ok(turned)
    }
}

impl Work {
    /// Gives a project's policy a new version where something has come true for it, with the crossings that this
    /// makes due. Says how many those are; `None` where another did it, or nothing has come true.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn turn(&mut self, project: &ProjectId, now: Timestamp) -> Result<Option<usize>, StoreError> {
        let Some(due) = next(&mut self.tx, project).await?.filter(|at| *at <= now) else { return Ok(None) };
        let Some(book) = ledger::load(&mut self.tx, project).await? else { return Ok(None) };
        let stored = book.next_number();
        let book = book.following(now);
        projects::update(&mut self.tx, &book.project).await?;
        let looks = BTreeMap::from([(now.period(), None)]);
        let (book, crossings) = ledger::keep(&mut self.tx, book, stored, &looks, now).await?;
        forget(&mut self.tx, project).await?;
        note(&mut self.tx, project, &book.ledger, now).await?;
        self.note_fall(&book, due, now).await?;
        self.raise_policy(project, now).await?;
        Ok(Some(crossings))
    }

    /// Tells the audit log why a project has fallen, if it has since something was due.
    async fn note_fall(&mut self, book: &Book, due: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let timeline = book.ledger.timeline();
        let Some(fell) = timeline.falls_at(now).filter(|at| (due..=now).contains(at)) else { return Ok(()) };
        let project = &book.project.id;
        let overdue = paying::overdue(&mut self.tx, project).await?;
        let overdue: Vec<OverdueView> = overdue.into_iter().map(OverdueView::from).collect();
        let was = json!({ "plan": timeline.subscribed_at(now).plan });
        let plan = timeline.terms_at(now).plan;
        let became = json!({ "plan": plan, "fell_at": fell.to_string(), "overdue": overdue });
        let deed = Deed::new(project, Action::PlanFell, "plan").was(&was).became(&became);
        self.note(&deed, now).await
    }
}

/// When something changes next, as it was noted.
async fn next(tx: &mut Connection, project: &ProjectId) -> Result<Option<Timestamp>, StoreError> {
    let row = sqlx::query("SELECT at_ms FROM policy_turn WHERE project = $1")
        .bind(project.as_str())
        .fetch_optional(tx)
        .await?;
    row.map(|row| instant(&row, "at_ms")).transpose()
}

/// Forgets what was due, as it is done in this transaction.
async fn forget(tx: &mut Connection, project: &ProjectId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM policy_turn WHERE project = $1").bind(project.as_str()).execute(tx).await?;
    Ok(())
}

/// Notes when something changes next, in the transaction that wrote what it follows from. What is due already stays
/// so until its turn: whoever writes in between must not let it be passed over.
pub(super) async fn note(
    tx: &mut Connection,
    project: &ProjectId,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<(), StoreError> {
    let query = match ledger.timeline().next_change(now) {
        Some(at) => sqlx::query(
            "INSERT INTO policy_turn (project, at_ms) VALUES ($1, $2)
             ON CONFLICT (project) DO UPDATE SET at_ms = excluded.at_ms WHERE policy_turn.at_ms > $3",
        )
        .bind(project.as_str())
        .bind(ms(at))
        .bind(ms(now)),
        None => sqlx::query("DELETE FROM policy_turn WHERE project = $1 AND at_ms > $2")
            .bind(project.as_str())
            .bind(ms(now)),
    };
    query.execute(tx).await?;
    Ok(())
}
