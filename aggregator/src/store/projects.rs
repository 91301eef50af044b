//! Projects. Every change that the edge must know raises the policy version in its own transaction.

use std::collections::{BTreeMap, BTreeSet};

use shared::ids::ProjectId;
use shared::plan::Plan;
use shared::policy::Status;
use shared::time::Timestamp;

use sqlx::Row;

use super::rows::{flag, id, instant, int, ms, name, number, optional, small, units};
use super::{Connection, DbRow, Store, StoreError, Work, catalogues, homes, ledger, outbox};
use crate::access::trail::{Action, Deed, ProjectNote};
use crate::ledger::crossing::Levels;
use crate::ledger::entry::EntryNumber;
use crate::projects::book::{Book, opening};
use crate::projects::project::{NewProject, Project, ProjectChange};

/// The version of a project's first policy.
const FIRST_VERSION: u64 = 1;

/// What a change to a project came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The project as it is now.
    pub book: Book,
    /// How many crossings a larger or smaller quota made due.
    pub crossings: usize,
    /// Whether anything differs from before.
    pub differs: bool,
}

impl Work {
    /// Makes a project and queues its first policy; `None` if there is one of that id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_project(
        &mut self,
        new: NewProject,
        now: Timestamp,
    ) -> Result<Option<Book>, StoreError> {
        let catalogue = catalogues::newest(&mut self.tx).await?;
        let project = Project {
            id: new.id,
            plan: new.plan,
            rpm_own: new.rpm.own(),
            included_own: new.included.own(),
            status: Status::Active,
            catalogue: catalogue.version,
            levels_own: None,
            auto_overage: false,
            rpm_max: 1,
            policy_version: FIRST_VERSION,
            homes: None,
            created: now,
        };
        let ledger = opening(&project, &catalogue).map_err(StoreError::Refused)?;
        let project = project.following(&ledger, now);
        if !insert(&mut self.tx, &project).await? {
            return Ok(None);
        }
        ledger::append(&mut self.tx, &project.id, &ledger, EntryNumber(1)).await?;
        outbox::queue(&mut self.tx, &project.id, project.policy_version, now).await?;
        self.note_push();
        let deed = Deed::new(&project.id, Action::ProjectCreated, project.id.as_str());
        self.note(&deed.became(&ProjectNote::from(&project)), now).await?;
        Ok(Some(Book { project, ledger, totals: BTreeMap::new(), fired: BTreeSet::new() }))
    }

    /// Changes a project and queues its new policy; `None` if there is no such project.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn change_project(
        &mut self,
        id: &ProjectId,
        change: ProjectChange,
        now: Timestamp,
    ) -> Result<Option<Changed>, StoreError> {
        let Some(book) = ledger::load(&mut self.tx, id).await? else { return Ok(None) };
        let (stored, before) = (book.next_number(), book.project.clone());
        // A change of plan is a purchase of what is offered now; all else stays in the project's version.
        let catalogue = match change.plan {
            Some(plan) if plan != before.plan => catalogues::newest(&mut self.tx).await?,
            Some(_) | None => catalogues::of_version(&mut self.tx, before.catalogue).await?,
        };
        let was = ProjectNote::from(&before);
        let book = book.changed(&change, &catalogue, now).map_err(StoreError::Refused)?;
        if book.project == before && book.next_number() == stored {
            return Ok(Some(Changed { book, crossings: 0, differs: false }));
        }
        update(&mut self.tx, &book.project).await?;
        let (mut book, crossings) =
            ledger::keep(&mut self.tx, book, stored, &BTreeMap::from([(now.period(), None)]), now).await?;
        book.project.policy_version = self.raise_policy(id, now).await?;
        let deed = Deed::new(id, Action::ProjectChanged, id.as_str()).was(&was);
        self.note(&deed.became(&ProjectNote::from(&book.project)), now).await?;
        Ok(Some(Changed { book, crossings, differs: true }))
    }

    /// Raises the project's policy version and queues the push.
    pub(super) async fn raise_policy(&mut self, id: &ProjectId, now: Timestamp) -> Result<u64, StoreError> {
        self.note_push();
        raise_policy(&mut self.tx, id, now).await
    }
}

impl Store {
    /// As [`Work::create_project`], committed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_project(&self, new: NewProject, now: Timestamp) -> Result<Option<Book>, StoreError> {
        self.change(async |work| work.create_project(new.clone(), now).await).await
    }

    /// As [`Work::change_project`], committed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn change_project(
        &self,
        id: &ProjectId,
        change: ProjectChange,
        now: Timestamp,
    ) -> Result<Option<Book>, StoreError> {
        let changed =
            self.change_in(id, async |work| work.change_project(id, change.clone(), now).await).await?;
        Ok(changed.map(|changed| changed.book))
    }

    /// The project of that id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn project(&self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        find(&mut *self.readers.acquire().await?, id).await
    }

    /// The books of at most `limit` projects whose ids come after `after`, in the order of their ids.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn books(&self, after: &str, limit: u32) -> Result<Vec<Book>, StoreError> {
        let mut tx = self.read().await?;
        let mut books = Vec::new();
        for id in ids(&mut tx, after, limit).await? {
            books.extend(ledger::load(&mut tx, &id).await?);
        }
        Ok(books)
    }

    /// The ids of at most `limit` projects that come after `after`, in order.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn project_ids(&self, after: &str, limit: u32) -> Result<Vec<ProjectId>, StoreError> {
        ids(&mut *self.readers.acquire().await?, after, limit).await
    }
}

async fn ids(connection: &mut Connection, after: &str, limit: u32) -> Result<Vec<ProjectId>, StoreError> {
    let rows = sqlx::query("SELECT id FROM project WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| id(row, "id", ProjectId::parse)).collect()
}

/// Projects of a release that kept no ledgers.
pub(super) async fn without_ledger(connection: &mut Connection) -> Result<Vec<Project>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, plan, rpm, included, suspended, catalogue, auto_overage, rpm_max, policy_version, created_ms, thresholds,
                homes_at, homes_term, homes_to
         FROM project WHERE first_open IS NULL",
    )
    .fetch_all(connection)
    .await?;
    rows.iter().map(read).collect()
}

/// Notes whether the customer has overage on, for those who list projects.
pub(super) async fn set_auto_overage(
    tx: &mut Connection,
    id: &ProjectId,
    on: bool,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE project SET auto_overage = $1 WHERE id = $2")
        .bind(i64::from(on))
        .bind(id.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

/// Raises the project's policy version, queues the push, and returns the version.
pub(super) async fn raise_policy(
    tx: &mut Connection,
    id: &ProjectId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "UPDATE project SET policy_version = policy_version + 1 WHERE id = $1 RETURNING policy_version",
    )
    .bind(id.as_str())
    .fetch_one(&mut *tx)
    .await?;
    let version = number(&row, "policy_version")?;
    outbox::queue(tx, id, version, now).await?;
    Ok(version)
}

pub(super) async fn find(connection: &mut Connection, id: &ProjectId) -> Result<Option<Project>, StoreError> {
    let row = sqlx::query(
        "SELECT id, plan, rpm, included, suspended, catalogue, auto_overage, rpm_max, policy_version, created_ms, thresholds,
                homes_at, homes_term, homes_to
         FROM project WHERE id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read).transpose()
}

/// Inserts the project; false if its id is taken.
async fn insert(tx: &mut Connection, project: &Project) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO project (id, plan, rpm, included, suspended, catalogue, auto_overage, rpm_max, policy_version, created_ms, thresholds)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(project.id.as_str())
    .bind(project.plan.as_str())
    .bind(project.rpm_own.map(i64::from))
    .bind(project.included_own.map(|included| int(included.get())))
    .bind(i64::from(is_suspended(project.status)))
    .bind(i64::from(project.catalogue))
    .bind(i64::from(project.auto_overage))
    .bind(i64::from(project.rpm_max))
    .bind(int(project.policy_version))
    .bind(ms(project.created))
    .bind(levels_text(project))
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes a project's row.
pub(super) async fn update(tx: &mut Connection, project: &Project) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE project SET plan = $1, rpm = $2, included = $3, suspended = $4, catalogue = $5, rpm_max = $6, thresholds = $7
         WHERE id = $8",
    )
    .bind(project.plan.as_str())
    .bind(project.rpm_own.map(i64::from))
    .bind(project.included_own.map(|included| int(included.get())))
    .bind(i64::from(is_suspended(project.status)))
    .bind(i64::from(project.catalogue))
    .bind(i64::from(project.rpm_max))
    .bind(levels_text(project))
    .bind(project.id.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

/// The project's own levels as a JSON list.
fn levels_text(project: &Project) -> Option<String> {
    project.levels_own.as_ref().and_then(|levels| serde_json::to_string(levels).ok())
}

fn is_suspended(status: Status) -> bool {
    match status {
        Status::Active => false,
        Status::Suspended => true,
    }
}

fn read(row: &DbRow) -> Result<Project, StoreError> {
    Ok(Project {
        id: id(row, "id", ProjectId::parse)?,
        plan: name(row, "plan", Plan::parse)?,
        rpm_own: optional(row, "rpm", small)?,
        included_own: optional(row, "included", units)?,
        status: if flag(row, "suspended")? { Status::Suspended } else { Status::Active },
        catalogue: small(row, "catalogue")?,
        levels_own: levels(row)?,
        auto_overage: flag(row, "auto_overage")?,
        rpm_max: small(row, "rpm_max")?,
        policy_version: number(row, "policy_version")?,
        homes: homes::stay(row)?,
        created: instant(row, "created_ms")?,
    })
}

fn levels(row: &DbRow) -> Result<Option<Levels>, StoreError> {
    let stored: Option<String> = row.try_get("thresholds")?;
    let read = |stored: String| {
        serde_json::from_str(&stored)
            .map_err(|_| StoreError::Unreadable { column: "thresholds", got: stored })
    };
    stored.map(read).transpose()
}
