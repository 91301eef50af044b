//! Idempotent: processes one delivered event and notes what became of it.

use super::account::Account;
use super::sync;
use crate::store::{Event, EventState, Outcome, StoreError};

/// What processing came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Processed {
    /// It is settled, or concerns nothing of ours.
    Done,
    /// It is tried again by itself, because that went wrong.
    Waits(String),
    /// A person has to look.
    Parked(String),
}

/// Processes an event. One that is tried again is due after `wait_ms`.
///
/// # Errors
/// When what became of it cannot be noted; it is still due.
pub async fn process(account: &Account, event: &Event, wait_ms: u64) -> Result<Processed, StoreError> {
    let (store, id) = (&account.store, &event.envelope.id);
    match sync::event(account, &event.envelope).await {
        Ok(None) => Ok(Processed::Done),
        Ok(Some(outcome)) => {
            store.event_done(id, &outcome).await?;
            Ok(Processed::Done)
        }
        Err(error) if error.is_passing() => {
            let error = error.to_string();
            store.event_failed(id, &error, account.clock.now().plus_ms(wait_ms)).await?;
            Ok(Processed::Waits(error))
        }
        Err(error) => {
            let error = error.to_string();
            let outcome = Outcome { state: EventState::Parked, note: Some(error.clone()) };
            store.event_done(id, &outcome).await?;
            Ok(Processed::Parked(error))
        }
    }
}
