//! Idempotent: takes deliveries into the books, many in one transaction, so that they share its sync.
//!
//! A delivery is acknowledged only after its transaction is durable; one that is not is delivered again.

use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::clock::Clock;
use crate::payments::event::Envelope;
use crate::store::{Store, StoreError};

/// How many deliveries may wait; beyond that Stripe is told to come again, which it does for three days.
const WAITING_MAX: usize = 4_096;

/// How many deliveries share a transaction: a thousand a second need a few syncs, and none waits long.
const GROUP_MAX: usize = 256;

/// Why a delivery was not taken in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InboxError {
    /// More deliveries wait than we take, or we are stopping.
    #[error("too many deliveries are waiting")]
    Full,
    /// The books failed.
    #[error("{0}")]
    Store(Arc<StoreError>),
}

struct Queued {
    envelope: Envelope,
    raw: Bytes,
    answer: oneshot::Sender<Result<(), InboxError>>,
}

/// Where deliveries queue for the books.
#[derive(Debug, Clone)]
pub struct Inbox {
    sender: mpsc::Sender<Queued>,
    arrived: Arc<Notify>,
}

impl Inbox {
    /// Starts the task that takes in; it ends when every `Inbox` is gone.
    #[must_use]
    pub fn start(store: Store, clock: Clock) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let arrived = Arc::new(Notify::new());
        tokio::spawn(run(receiver, store, clock, Arc::clone(&arrived)));
        Self { sender, arrived }
    }

    /// Takes a verified delivery in; when this returns it is durable.
    ///
    /// # Errors
    /// When too many wait or the books fail; the delivery may then come again.
    pub async fn take(&self, envelope: Envelope, raw: Bytes) -> Result<(), InboxError> {
        let (answer, answered) = oneshot::channel();
        self.sender.try_send(Queued { envelope, raw, answer }).map_err(|_| InboxError::Full)?;
        answered.await.unwrap_or(Err(InboxError::Full))
    }

    /// Waits until something was taken in.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

async fn run(mut receiver: mpsc::Receiver<Queued>, store: Store, clock: Clock, arrived: Arc<Notify>) {
    let mut group = Vec::with_capacity(GROUP_MAX);
    while receiver.recv_many(&mut group, GROUP_MAX).await > 0 {
        let group = std::mem::take(&mut group);
        let deliveries: Vec<(&Envelope, &[u8])> =
            group.iter().map(|waiting| (&waiting.envelope, waiting.raw.as_ref())).collect();
        let taken = store.take_events(&deliveries, clock.now()).await;
        let answer = match taken {
            Ok(_) => Ok(()),
            Err(error) => Err(InboxError::Store(Arc::new(error))),
        };
        for waiting in group {
            // Stripe may have hung up; its event is in the books all the same.
            drop(waiting.answer.send(answer.clone()));
        }
        arrived.notify_one();
    }
}
