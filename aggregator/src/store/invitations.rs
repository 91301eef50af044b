//! Invitations: places that are kept for people until they come. An invitation's text never comes here but as its hash.

use serde_json::json;
use shared::ids::ProjectId;
use shared::time::Timestamp;
use sqlx::Row;

use super::rows::{id, instant, ms, name};
use super::{Connection, DbRow, Store, StoreError, Work};
use crate::access::Role;
use crate::access::account::Email;
use crate::access::session::{INVITATION_MS_MAX, SecretHash};
use crate::access::trail::{Action, Deed};
use crate::random;

/// An invitation that was neither accepted nor withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The project.
    pub project: ProjectId,
    /// Names the invitation in addresses.
    pub id: String,
    /// Who is invited.
    pub email: Email,
    /// As what.
    pub role: Role,
    /// When it was made.
    pub created: Timestamp,
    /// When it is no longer accepted.
    pub expires: Timestamp,
}

/// What came of inviting somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invited {
    /// The invitation.
    Invitation(Invitation),
    /// A member has that address for a name.
    MemberExists,
    /// The plan permits no more members than these.
    TooMany(u32),
}

impl Work {
    /// Invites somebody, if the plan permits one more; an earlier invitation of the same person is replaced.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn invite(
        &mut self,
        project: &ProjectId,
        (email, role, hash): (Email, Role, &SecretHash),
        members_max: Option<u32>,
        now: Timestamp,
    ) -> Result<Invited, StoreError> {
        for earlier in open(&mut self.tx, project, now).await? {
            if earlier.email == email {
                remove(&mut self.tx, project, &earlier.id).await?;
            }
        }
        if self.has_member(project, email.as_str()).await? {
            return Ok(Invited::MemberExists);
        }
        if let Some(max) = self.is_full(project, members_max, now).await? {
            return Ok(Invited::TooMany(max));
        }
        let expires = now.plus_ms(INVITATION_MS_MAX);
        let invitation =
            Invitation { project: project.clone(), id: random::id()?, email, role, created: now, expires };
        insert(&mut self.tx, &invitation, hash).await?;
        // Whose address it is, the invitation knows for as long as it is there.
        let became = json!({ "role": role.as_str() });
        let deed = Deed::new(project, Action::MemberInvited, &invitation.id).became(&became);
        self.note(&deed, now).await?;
        Ok(Invited::Invitation(invitation))
    }

    /// Withdraws an invitation; `None` where there is none of that id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn withdraw_invitation(
        &mut self,
        project: &ProjectId,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Invitation>, StoreError> {
        let open = open(&mut self.tx, project, now).await?;
        let Some(invitation) = open.into_iter().find(|one| one.id == id) else { return Ok(None) };
        remove(&mut self.tx, project, id).await?;
        let was = json!({ "role": invitation.role.as_str() });
        self.note(&Deed::new(project, Action::InvitationWithdrawn, id).was(&was), now).await?;
        Ok(Some(invitation))
    }

    /// Takes an invitation, which is no more; `None` where there is none, or it is too old.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take_invitation(
        &mut self,
        hash: &SecretHash,
        now: Timestamp,
    ) -> Result<Option<Invitation>, StoreError> {
        let row = sqlx::query(
            "DELETE FROM invitation WHERE hash = $1
             RETURNING project, id, email, role, created_ms, expires_ms",
        )
        .bind(hash.as_bytes())
        .fetch_optional(&mut *self.tx)
        .await?;
        let invitation = row.as_ref().map(read).transpose()?;
        Ok(invitation.filter(|invitation| invitation.expires > now))
    }

    /// Whether an invitation of that address can be accepted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_invited(&mut self, email: &Email, now: Timestamp) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT id FROM invitation WHERE email = $1 AND expires_ms > $2 LIMIT 1")
            .bind(email.as_str())
            .bind(ms(now))
            .fetch_optional(&mut *self.tx)
            .await?;
        Ok(row.is_some())
    }

    /// Takes every invitation of that address that is not too old; they are no more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take_invitations_of(
        &mut self,
        email: &Email,
        now: Timestamp,
    ) -> Result<Vec<Invitation>, StoreError> {
        let rows = sqlx::query(
            "DELETE FROM invitation WHERE email = $1 AND expires_ms > $2
             RETURNING project, id, email, role, created_ms, expires_ms",
        )
        .bind(email.as_str())
        .bind(ms(now))
        .fetch_all(&mut *self.tx)
        .await?;
        let mut taken = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        taken.sort_by(|one, other| one.project.cmp(&other.project));
        Ok(taken)
    }

    /// How many invitations keep a place.
    pub(super) async fn invited(&mut self, project: &ProjectId, now: Timestamp) -> Result<usize, StoreError> {
        Ok(open(&mut self.tx, project, now).await?.len())
    }
}

impl Store {
    /// The project's invitations that can be accepted, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn invitations(
        &self,
        project: &ProjectId,
        now: Timestamp,
    ) -> Result<Vec<Invitation>, StoreError> {
        open(&mut *self.readers.acquire().await?, project, now).await
    }

    /// The invitation of that hash, which can still be accepted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn invitation(
        &self,
        hash: &SecretHash,
        now: Timestamp,
    ) -> Result<Option<Invitation>, StoreError> {
        let row = sqlx::query(
            "SELECT project, id, email, role, created_ms, expires_ms FROM invitation WHERE hash = $1 AND expires_ms > $2",
        )
        .bind(hash.as_bytes())
        .bind(ms(now))
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(read).transpose()
    }
}

async fn open(
    connection: &mut Connection,
    project: &ProjectId,
    now: Timestamp,
) -> Result<Vec<Invitation>, StoreError> {
    let rows = sqlx::query(
        "SELECT project, id, email, role, created_ms, expires_ms FROM invitation
         WHERE project = $1 AND expires_ms > $2 ORDER BY created_ms, id",
    )
    .bind(project.as_str())
    .bind(ms(now))
    .fetch_all(connection)
    .await?;
    rows.iter().map(read).collect()
}

async fn insert(tx: &mut Connection, invitation: &Invitation, hash: &SecretHash) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO invitation (project, id, hash, email, role, created_ms, expires_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(invitation.project.as_str())
    .bind(&invitation.id)
    .bind(hash.as_bytes())
    .bind(invitation.email.as_str())
    .bind(invitation.role.as_str())
    .bind(ms(invitation.created))
    .bind(ms(invitation.expires))
    .execute(tx)
    .await?;
    Ok(())
}

async fn remove(tx: &mut Connection, project: &ProjectId, id: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM invitation WHERE project = $1 AND id = $2")
        .bind(project.as_str())
        .bind(id)
        .execute(tx)
        .await?;
    Ok(())
}

fn read(row: &DbRow) -> Result<Invitation, StoreError> {
    Ok(Invitation {
        project: id(row, "project", ProjectId::parse)?,
        id: row.try_get("id")?,
        email: name(row, "email", Email::parse)?,
        role: name(row, "role", Role::parse)?,
        created: instant(row, "created_ms")?,
        expires: instant(row, "expires_ms")?,
    })
}
