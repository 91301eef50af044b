//! Sessions of people who signed in, and their attempts to. A session's secret never comes here but as its hash.

use serde_json::json;
use shared::ids::ProjectId;
use shared::time::Timestamp;
use sqlx::Row;

use super::accounts::{self, Known};
use super::rows::{instant, ms, name};
use super::{DbRow, Store, StoreError, Work};
use crate::access::account::{Account, Membership};
use crate::access::attempts::{Subject, wait_s, window_start};
use crate::access::errand::ERRAND_MS_MAX;
use crate::access::session::{Begun, IDLE_MS_MAX, SESSION_MS_MAX, SecretHash, Times};
use crate::access::trail::{Action, Deed};
use crate::random;

/// A session that goes on, and whose it is.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The session's name, which is no secret.
    pub id: String,
    /// How its person signed in.
    pub way: Begun,
    /// When it began and was last used.
    pub times: Times,
    /// Whose it is.
    pub account: Account,
    /// Whether there is a password to sign in with.
    pub has_password: bool,
    /// What the account is a member of.
    pub memberships: Vec<Membership>,
}

/// What came of an attempt to sign in, before anything was compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempting {
    /// It counts as a failure until it succeeds, under this name.
    LetThrough(String),
    /// There were too many failures; so many seconds have to pass.
    Wait(u64),
}

impl Work {
    /// Begins a session of an account.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn begin_session(
        &mut self,
        (account, way): (&Account, Begun),
        hash: &SecretHash,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO session (hash, id, account, way, began_ms, seen_ms) VALUES ($1, $2, $3, $4, $5, $5)",
        )
        .bind(hash.as_bytes())
        .bind(random::id()?)
        .bind(&account.id)
        .bind(way.as_str())
        .bind(ms(now))
        .execute(&mut *self.tx)
        .await?;
        let deed = Deed::apart(Action::SignedIn, &account.id);
        self.note(&deed.became(&json!({ "by": way.as_str() })), now).await
    }

    /// Ends one session, if it goes on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end_session(&mut self, hash: &SecretHash) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM session WHERE hash = $1")
            .bind(hash.as_bytes())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Ends every session of an account.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end_sessions(&mut self, account: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM session WHERE account = $1").bind(account).execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Notes that a person signed out.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_sign_out(&mut self, account: &Account, now: Timestamp) -> Result<(), StoreError> {
        self.note(&Deed::apart(Action::SignedOut, &account.id), now).await
    }
}

impl Store {
    /// The session of that hash, if it goes on; the time of this call is kept, now and then.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn signed_in(&self, hash: &SecretHash, now: Timestamp) -> Result<Option<SignedIn>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let row = sqlx::query(
            "SELECT session.id AS session, way, began_ms, seen_ms, account.id AS id, email, name, operator, password,
                    created_ms, disabled_ms
             FROM session JOIN account ON account.id = session.account WHERE session.hash = $1",
        )
        .bind(hash.as_bytes())
        .fetch_optional(&mut *connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let Known { account, password } = accounts::read(&row)?;
        let times = times(&row)?;
        if !times.is_alive(now) || account.disabled.is_some() {
            return Ok(None);
        }
        let memberships = accounts::memberships(&mut connection, &account.id).await?;
        drop(connection);
        let times = if times.is_stale(now) {
            touch(self, hash, now).await?;
            Times { seen: now, ..times }
        } else {
            times
        };
        Ok(Some(SignedIn {
            id: row.try_get("session")?,
            way: name(&row, "way", Begun::parse)?,
            times,
            account,
            has_password: password.is_some(),
            memberships,
        }))
    }

    /// Whether the session of that name goes on and still reaches a project. It is not used by that.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn session_reaches(
        &self,
        id: &str,
        project: &ProjectId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "SELECT began_ms, seen_ms FROM session JOIN account ON account.id = session.account
             WHERE session.id = $1 AND account.disabled_ms IS NULL
               AND (account.operator = 1 OR EXISTS (SELECT 1 FROM member WHERE member.account = account.id
                    AND member.project = $2 AND member.removed_ms IS NULL))",
        )
        .bind(id)
        .bind(project.as_str())
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(false) };
        Ok(now < times(&row)?.expires())
    }

    /// Counts an attempt of all of these to sign in, if none of them has had too many.
    ///
    /// It is counted first and looked at afterwards: of many at once too many may be refused, and never too few.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn attempt(&self, subjects: &[Subject], now: Timestamp) -> Result<Attempting, StoreError> {
        let id = random::id()?;
        for subject in subjects {
            sqlx::query("INSERT INTO sign_in_attempt (subject, id, at_ms) VALUES ($1, $2, $3)")
                .bind(subject.as_bytes())
                .bind(&id)
                .bind(ms(now))
                .execute(&self.writer)
                .await?;
        }
        let mut longest = None;
        for subject in subjects {
            longest = longest.max(wait_s(&self.failures(subject, &id, now).await?, now));
        }
        let Some(wait) = longest else { return Ok(Attempting::LetThrough(id)) };
        // What was not let through does not make the wait longer.
        self.forgive(&id).await?;
        Ok(Attempting::Wait(wait))
    }

    /// An attempt succeeded: it is no failure, and neither are those before it of the account.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn attempt_succeeded(&self, id: &str, account: &Subject) -> Result<(), StoreError> {
        self.forgive(id).await?;
        sqlx::query("DELETE FROM sign_in_attempt WHERE subject = $1")
            .bind(account.as_bytes())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Forgets sessions, links, invitations and attempts that are over, and says how many those were.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_sessions(&self, now: Timestamp) -> Result<u64, StoreError> {
        let before = |age: u64| ms(Timestamp::from_ms(now.as_ms().saturating_sub(age)));
        let mut sum = 0_u64;
        for (statement, before) in [
            ("DELETE FROM session WHERE began_ms <= $1", before(SESSION_MS_MAX)),
            ("DELETE FROM session WHERE seen_ms <= $1", before(IDLE_MS_MAX)),
            ("DELETE FROM sign_in_link WHERE expires_ms <= $1", before(0)),
            ("DELETE FROM invitation WHERE expires_ms <= $1", before(0)),
            ("DELETE FROM errand_done WHERE at_ms <= $1", before(ERRAND_MS_MAX)),
            ("DELETE FROM sign_in_attempt WHERE at_ms <= $1", ms(window_start(now))),
        ] {
            let done = sqlx::query(statement).bind(before).execute(&self.writer).await?;
            sum = sum.saturating_add(done.rows_affected());
        }
        Ok(sum)
    }

    /// When attempts failed that still count, the oldest first, without that one.
    async fn failures(
        &self,
        subject: &Subject,
        but: &str,
        now: Timestamp,
    ) -> Result<Vec<Timestamp>, StoreError> {
        let rows = sqlx::query(
            "SELECT at_ms FROM sign_in_attempt WHERE subject = $1 AND id <> $2 AND at_ms > $3 ORDER BY at_ms",
        )
        .bind(subject.as_bytes())
        .bind(but)
        .bind(ms(window_start(now)))
        .fetch_all(&self.writer)
        .await?;
        rows.iter().map(|row| instant(row, "at_ms")).collect()
    }

    async fn forgive(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM sign_in_attempt WHERE id = $1").bind(id).execute(&self.writer).await?;
        Ok(())
    }
}

async fn touch(store: &Store, hash: &SecretHash, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE session SET seen_ms = $1 WHERE hash = $2 AND seen_ms < $1")
        .bind(ms(now))
        .bind(hash.as_bytes())
        .execute(&store.writer)
        .await?;
    Ok(())
}

fn times(row: &DbRow) -> Result<Times, StoreError> {
    Ok(Times { began: instant(row, "began_ms")?, seen: instant(row, "seen_ms")? })
}
