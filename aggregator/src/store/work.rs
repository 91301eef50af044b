//! One change to the books: everything that a call writes, and what it was answered, in one transaction.

use shared::ids::ProjectId;
use shared::time::Timestamp;
use sqlx::Row;

use super::rows::ms;
use super::{Connection, Store, StoreError, Tx};
use crate::access::trail::Actor;
use crate::idempotency::{Once, REMEMBERED_MS};

/// A change that is under way. Dropped without [`Work::commit`] it changes nothing.
///
/// What it can write is in the files of what is written: projects, keys, tokens, ledgers.
#[derive(Debug)]
pub struct Work {
    pub(super) tx: Tx,
    pub(super) store: Store,
    pushes: bool,
}

/// What came of beginning a named call.
#[derive(Debug)]
pub enum Begun {
    /// It is the first of that name.
    First(Work),
    /// The same call was made before; its answer, sealed.
    Again(Vec<u8>),
    /// The name was used for another call.
    Reused,
}

impl Store {
    /// Begins a change that may concern several projects.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn begin(&self) -> Result<Work, StoreError> {
        Ok(Work { tx: self.write().await?, store: self.clone(), pushes: false })
    }

    /// Begins a change to one project; it must write nothing of others.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn begin_in(&self, project: &ProjectId) -> Result<Work, StoreError> {
        Ok(Work { tx: self.write_project(project).await?, store: self.clone(), pushes: false })
    }

    /// Forgets the names of calls that nobody repeats any more, and says how many those were.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_calls(&self, now: Timestamp) -> Result<u64, StoreError> {
        let before = Timestamp::from_ms(now.as_ms().saturating_sub(REMEMBERED_MS));
        let done = sqlx::query("DELETE FROM call WHERE created_ms < $1")
            .bind(ms(before))
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected())
    }
}

impl Work {
    /// Takes a call's name, so that whoever comes with it waits for this change to end.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn once(mut self, once: &Once, now: Timestamp) -> Result<Begun, StoreError> {
        if take(&mut self.tx, once, now).await? {
            return Ok(Begun::First(self));
        }
        let (request, answer) = made(&mut self.tx, once).await?;
        Ok(if request == once.request() { Begun::Again(answer) } else { Begun::Reused })
    }

    /// Keeps what the call is answered.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remember(&mut self, once: &Once, sealed: &[u8]) -> Result<(), StoreError> {
        sqlx::query("UPDATE call SET answer = $1 WHERE id = $2")
            .bind(sealed)
            .bind(once.id().as_slice())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Makes everything durable, and wakes the jobs that tell the edge and customers.
    ///
    /// # Errors
    /// When the store fails; then nothing was written.
    pub async fn commit(self) -> Result<(), StoreError> {
        if self.pushes {
            self.store.commit_policy_change(self.tx).await
        } else {
            self.tx.commit().await?;
            // Hardly any change tells customers nothing, and looking for what is due is cheap.
            self.store.deliveries_due.notify_one();
            Ok(())
        }
    }

    /// On whose behalf the rest of this change is made: that became known in it.
    pub fn act_for(&mut self, actor: Actor) {
        self.store = self.store.by(actor);
    }

    /// A policy's version was raised.
    pub(super) fn note_push(&mut self) {
        self.pushes = true;
    }
}

/// Whether the name was free; it is taken now.
async fn take(tx: &mut Connection, once: &Once, now: Timestamp) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO call (id, request, answer, created_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
    )
    .bind(once.id().as_slice())
    .bind(once.request().as_slice())
    .bind([0_u8; 0].as_slice())
    .bind(ms(now))
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The request and the sealed answer of an earlier call of that name.
async fn made(tx: &mut Connection, once: &Once) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
    let row = sqlx::query("SELECT request, answer FROM call WHERE id = $1")
        .bind(once.id().as_slice())
        .fetch_one(tx)
        .await?;
    Ok((row.try_get("request")?, row.try_get("answer")?))
}
