//! The audit log on disk: rows are only ever inserted, by the transaction that does what they tell of.

use shared::ids::ProjectId;
use shared::time::Timestamp;
use sqlx::{AssertSqlSafe, Row};

use super::rows::{int, ms, number};
use super::{Connection, DbRow, Store, StoreError, Work};
use crate::access::trail::{Actor, Deed};

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// Its place; later lines have larger ones.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What kind of actor.
    pub actor_kind: String,
    /// Which.
    pub actor: String,
    /// The e-mail address of the account that a person has; `None` where it is erased, or it is no person.
    pub person: Option<String>,
    /// The same of the account that it was done to.
    pub target_person: Option<String>,
    /// In which role.
    pub role: String,
    /// In which project.
    pub project: Option<String>,
    /// What was done.
    pub action: String,
    /// To what.
    pub target: String,
    /// What was before, as JSON.
    pub was: Option<String>,
    /// What is since, as JSON.
    pub became: Option<String>,
}

/// Which lines of the audit log are read: the newest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrailQuery<'a> {
    /// Only this project's.
    pub project: Option<&'a ProjectId>,
    /// Only those before this number.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: u32,
}

impl Work {
    /// Notes what this change does; it is durable with the change, or not at all.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn note(&mut self, deed: &Deed<'_>, now: Timestamp) -> Result<(), StoreError> {
        let actor = self.store.actor.clone();
        insert(&mut self.tx, &actor, deed, now).await
    }
}

impl Store {
    /// The same books, in which everything is changed on behalf of `actor`.
    #[must_use]
    pub fn by(&self, actor: Actor) -> Self {
        Self { actor: std::sync::Arc::new(actor), ..self.clone() }
    }

    /// Lines of the audit log, the newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn trail(&self, query: TrailQuery<'_>) -> Result<Vec<Noted>, StoreError> {
        let (before, limit) = (query.before.map_or(i64::MAX, int), i64::from(query.limit));
        let of_project = query.project.map_or("", |_| "AND trail.project = $3");
        let sql = format!(
            "SELECT number, at_ms, actor_kind, actor, role, project, action, target, was, became,
                 person.email AS person, done_to.email AS target_person
             FROM trail
             LEFT JOIN account AS person ON actor_kind = 'person' AND person.id = actor
             LEFT JOIN account AS done_to ON done_to.id = target
             WHERE number < $1 {of_project} ORDER BY number DESC LIMIT $2"
        );
        let mut statement = sqlx::query(AssertSqlSafe(sql)).bind(before).bind(limit);
        if let Some(project) = query.project {
            statement = statement.bind(project.as_str());
        }
        statement.fetch_all(&self.readers).await?.iter().map(read).collect()
    }
}

pub(super) async fn insert(
    tx: &mut Connection,
    actor: &Actor,
    deed: &Deed<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO trail (at_ms, actor_kind, actor, role, project, action, target, was, became)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(ms(now))
    .bind(actor.kind())
    .bind(actor.name())
    .bind(actor.role())
    .bind(deed.project.map(ProjectId::as_str))
    .bind(deed.action.as_str())
    .bind(deed.target)
    .bind(deed.was.as_deref())
    .bind(deed.became.as_deref())
    .execute(tx)
    .await?;
    Ok(())
}

fn read(row: &DbRow) -> Result<Noted, StoreError> {
    Ok(Noted {
        number: number(row, "number")?,
        at: super::rows::instant(row, "at_ms")?,
        actor_kind: row.try_get("actor_kind")?,
        actor: row.try_get("actor")?,
        person: row.try_get("person")?,
        target_person: row.try_get("target_person")?,
        role: row.try_get("role")?,
        project: row.try_get("project")?,
        action: row.try_get("action")?,
        target: row.try_get("target")?,
        was: row.try_get("was")?,
        became: row.try_get("became")?,
    })
}
