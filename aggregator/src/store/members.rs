//! Members of projects. A removed member's row stays, so that the audit log's ids keep their meaning.

use serde_json::json;
use shared::ids::ProjectId;
use shared::time::Timestamp;
use sqlx::Row;

use super::rows::{instant, ms, name, optional};
use super::{Connection, DbRow, Store, StoreError, Work};
use crate::access::Role;
use crate::access::account::Account;
use crate::access::member::Member;
use crate::access::trail::{Action, Deed};
use crate::random;

/// What came of adding or changing a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKept {
    /// The member as it is now.
    Member(Member),
    /// The project has no such member.
    Unknown,
    /// Another member has that name.
    NameTaken,
    /// The plan permits no more members than these.
    TooMany(u32),
    /// Nobody else is an owner.
    LastOwner,
}

impl Work {
    /// Adds a member, if the plan permits one more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn add_member(
        &mut self,
        project: &ProjectId,
        (name, role): (String, Role),
        members_max: Option<u32>,
        now: Timestamp,
    ) -> Result<MemberKept, StoreError> {
        let member = Member { id: random::id()?, name, role, account: None, created: now, removed: None };
        self.keep_member(project, member, members_max, now).await
    }

    /// Adds a person who has an account, under the account's address, if the plan permits one more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn add_person(
        &mut self,
        project: &ProjectId,
        (account, role): (&Account, Role),
        members_max: Option<u32>,
        now: Timestamp,
    ) -> Result<MemberKept, StoreError> {
        let name = account.email.as_str().to_owned();
        let account = Some(account.id.clone());
        let member = Member { id: random::id()?, name, role, account, created: now, removed: None };
        self.keep_member(project, member, members_max, now).await
    }

    async fn keep_member(
        &mut self,
        project: &ProjectId,
        member: Member,
        members_max: Option<u32>,
        now: Timestamp,
    ) -> Result<MemberKept, StoreError> {
        if self.has_member(project, &member.name).await? {
            return Ok(MemberKept::NameTaken);
        }
        if let Some(max) = self.is_full(project, members_max, now).await? {
            return Ok(MemberKept::TooMany(max));
        }
        insert(&mut self.tx, project, &member).await?;
        let became = noted(&member);
        self.note(&Deed::new(project, Action::MemberAdded, &member.id).became(&became), now).await?;
        Ok(MemberKept::Member(member))
    }

    /// Whether a member has that name.
    pub(super) async fn has_member(&mut self, project: &ProjectId, name: &str) -> Result<bool, StoreError> {
        Ok(active(&mut self.tx, project).await?.iter().any(|member| member.name == name))
    }

    /// How many members the plan permits, where members and those who are invited have all of these places.
    pub(super) async fn is_full(
        &mut self,
        project: &ProjectId,
        members_max: Option<u32>,
        now: Timestamp,
    ) -> Result<Option<u32>, StoreError> {
        let Some(max) = members_max else { return Ok(None) };
        let taken = active(&mut self.tx, project).await?.len();
        let taken = taken.saturating_add(self.invited(project, now).await?);
        Ok((taken >= usize::try_from(max).unwrap_or(usize::MAX)).then_some(max))
    }

    /// Gives a member another role, which its tokens have at once.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn change_member(
        &mut self,
        project: &ProjectId,
        (id, role): (&str, Role),
        now: Timestamp,
    ) -> Result<MemberKept, StoreError> {
        let active = active(&mut self.tx, project).await?;
        let Some(member) = active.iter().find(|member| member.id == id).cloned() else {
            return Ok(MemberKept::Unknown);
        };
        if member.role == role {
            return Ok(MemberKept::Member(member));
        }
        if is_last_owner(&active, &member) {
            return Ok(MemberKept::LastOwner);
        }
        set_role(&mut self.tx, project, id, role).await?;
        let (was, became) = (json!({ "role": member.role.as_str() }), json!({ "role": role.as_str() }));
        let deed = Deed::new(project, Action::MemberChanged, id).was(&was).became(&became);
        self.note(&deed, now).await?;
        Ok(MemberKept::Member(Member { role, ..member }))
    }

    /// Removes a member and revokes its tokens. Removing again finds nobody.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove_member(
        &mut self,
        project: &ProjectId,
        id: &str,
        now: Timestamp,
    ) -> Result<MemberKept, StoreError> {
        let active = active(&mut self.tx, project).await?;
        let Some(member) = active.iter().find(|member| member.id == id).cloned() else {
            return Ok(MemberKept::Unknown);
        };
        if is_last_owner(&active, &member) {
            return Ok(MemberKept::LastOwner);
        }
        remove(&mut self.tx, project, id, now).await?;
        self.revoke_member_tokens(project, id, now).await?;
        let was = noted(&member);
        self.note(&Deed::new(project, Action::MemberRemoved, id).was(&was), now).await?;
        Ok(MemberKept::Member(Member { removed: Some(now), ..member }))
    }

    /// The member of that id who was not removed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn member(&mut self, project: &ProjectId, id: &str) -> Result<Option<Member>, StoreError> {
        let active = active(&mut self.tx, project).await?;
        Ok(active.into_iter().find(|member| member.id == id))
    }
}

impl Store {
    /// The project's members who were not removed, in the order in which they were added.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn members(&self, project: &ProjectId) -> Result<Vec<Member>, StoreError> {
        active(&mut *self.readers.acquire().await?, project).await
    }
}

/// A project that has owners keeps one: else nobody in it could add another.
pub(super) fn is_last_owner(active: &[Member], member: &Member) -> bool {
    member.role == Role::Owner && active.iter().filter(|other| other.role == Role::Owner).count() == 1
}

pub(super) async fn active(
    connection: &mut Connection,
    project: &ProjectId,
) -> Result<Vec<Member>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, name, role, account, created_ms, removed_ms FROM member
         WHERE project = $1 AND removed_ms IS NULL ORDER BY created_ms, id",
    )
    .bind(project.as_str())
    .fetch_all(connection)
    .await?;
    rows.iter().map(read).collect()
}

/// A member for the audit log: by the account where there is one, because what is noted can never be erased.
fn noted(member: &Member) -> serde_json::Value {
    match &member.account {
        Some(account) => json!({ "account": account, "role": member.role.as_str() }),
        None => json!({ "name": member.name, "role": member.role.as_str() }),
    }
}

async fn insert(tx: &mut Connection, project: &ProjectId, member: &Member) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO member (project, id, name, role, created_ms, account) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(project.as_str())
    .bind(&member.id)
    .bind(&member.name)
    .bind(member.role.as_str())
    .bind(ms(member.created))
    .bind(member.account.as_deref())
    .execute(tx)
    .await?;
    Ok(())
}

async fn set_role(tx: &mut Connection, project: &ProjectId, id: &str, role: Role) -> Result<(), StoreError> {
    for statement in [
        "UPDATE member SET role = $1 WHERE project = $2 AND id = $3",
        "UPDATE token SET role = $1 WHERE project = $2 AND member = $3",
    ] {
        sqlx::query(statement).bind(role.as_str()).bind(project.as_str()).bind(id).execute(&mut *tx).await?;
    }
    Ok(())
}

pub(super) async fn remove(
    tx: &mut Connection,
    project: &ProjectId,
    id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE member SET removed_ms = $1 WHERE project = $2 AND id = $3")
        .bind(ms(now))
        .bind(project.as_str())
        .bind(id)
        .execute(tx)
        .await?;
    Ok(())
}

fn read(row: &DbRow) -> Result<Member, StoreError> {
    Ok(Member {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        role: name(row, "role", Role::parse)?,
        account: row.try_get("account")?,
        created: instant(row, "created_ms")?,
        removed: optional(row, "removed_ms", instant)?,
    })
}
