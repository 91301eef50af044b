//! Idempotent: merges waiting flushes into the books, several in one transaction, so that they share its sync.
//! Postgres takes several transactions at once: each project has its lane, so that flushes of one never wait for locks.
//!
//! A flush is answered only after its transaction is durable.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use shared::ids::ProjectId;
use shared::wire::Flush;
use tokio::sync::{mpsc, oneshot};

use super::{Merged, Store, StoreError};
use crate::clock::Clock;

/// How many flushes may wait in a lane; beyond that senders are told to come back, and they keep their cells.
const WAITING_MAX: usize = 256;

/// How many flushes share a transaction: one sync is spread thin enough, and none waits long.
const GROUP_MAX: usize = 32;

/// Why a flush was not merged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IntakeError {
    /// More flushes wait than we take, or we are stopping.
    #[error("too many flushes are waiting")]
    Full,
    /// The books failed.
    #[error("{0}")]
    Store(Arc<StoreError>),
}

struct Queued {
    flush: Flush,
    answer: oneshot::Sender<Result<Option<Merged>, IntakeError>>,
}

/// Where flushes queue for the books.
#[derive(Debug, Clone)]
pub struct Intake(Arc<[mpsc::Sender<Queued>]>);

impl Intake {
    /// Starts the tasks that merge; they end when every `Intake` is gone.
    #[must_use]
    pub fn start(store: &Store, clock: &Clock) -> Self {
        let lane = |_| {
            let (sender, receiver) = mpsc::channel(WAITING_MAX);
            tokio::spawn(run(receiver, store.clone(), clock.clone()));
            sender
        };
        Self((0..store.dialect.merges_max()).map(lane).collect())
    }

    /// Merges a flush; the answer is durable. `None` is a project that does not exist.
    ///
    /// # Errors
    /// When too many wait or the books fail; the flush may then be sent again.
    pub async fn merge(&self, flush: Flush) -> Result<Option<Merged>, IntakeError> {
        let (answer, answered) = oneshot::channel();
        let lane = self.lane(&flush.project).ok_or(IntakeError::Full)?;
        lane.try_send(Queued { flush, answer }).map_err(|_| IntakeError::Full)?;
        answered.await.unwrap_or(Err(IntakeError::Full))
    }

    fn lane(&self, project: &ProjectId) -> Option<&mpsc::Sender<Queued>> {
        let mut hasher = DefaultHasher::new();
        project.hash(&mut hasher);
        let lanes = u64::try_from(self.0.len()).ok()?;
        let lane = hasher.finish().checked_rem(lanes)?;
        self.0.get(usize::try_from(lane).ok()?)
    }
}

async fn run(mut receiver: mpsc::Receiver<Queued>, store: Store, clock: Clock) {
    let mut group = Vec::with_capacity(GROUP_MAX);
    while receiver.recv_many(&mut group, GROUP_MAX).await > 0 {
        merge_group(std::mem::take(&mut group), &store, &clock).await;
    }
}

async fn merge_group(group: Vec<Queued>, store: &Store, clock: &Clock) {
    let flushes: Vec<&Flush> = group.iter().map(|waiting| &waiting.flush).collect();
    match store.merge(&flushes, clock.now()).await {
        Ok(merged) => {
            for (waiting, merged) in group.into_iter().zip(merged) {
                answer(waiting, Ok(merged));
            }
        }
        // One flush that the books refuse must not take others with it: each is tried by itself.
        Err(_) if group.len() > 1 => {
            for waiting in group {
                merge_alone(waiting, store, clock).await;
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for waiting in group {
                answer(waiting, Err(IntakeError::Store(Arc::clone(&error))));
            }
        }
    }
}

async fn merge_alone(waiting: Queued, store: &Store, clock: &Clock) {
    let merged = match store.merge(&[&waiting.flush], clock.now()).await {
        Ok(merged) => Ok(merged.into_iter().next().flatten()),
        Err(error) => Err(IntakeError::Store(Arc::new(error))),
    };
    answer(waiting, merged);
}

fn answer(waiting: Queued, merged: Result<Option<Merged>, IntakeError>) {
    // The sender may be gone; its cells are merged all the same and its retry changes nothing.
    drop(waiting.answer.send(merged));
}
