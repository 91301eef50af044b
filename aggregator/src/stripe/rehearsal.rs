//! What processing an event again would come to: it is processed, by the very code, in books that are taken back.
//!
//! Stripe is only read from, and never while the books are held: what a run misses is read after it, and then it runs
//! again, until one run had all answers. Nobody is told of what is only rehearsed.

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::ProjectId;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use super::account::Account;
use super::processing;
use super::readings::Readings;
use crate::metrics::Metrics;
use crate::store::{Change, Rehearsal, StoreError};

/// How often an event is run: it reads a handful of objects, and a list for each hundred of them.
const RUNS_MAX: usize = 64;

/// How long all of it may take; somebody waits for it.
const REHEARSAL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why it is not known what would come of an event.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The books failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Stripe was still being read when the time was over.
    #[error("Stripe answers too slowly to say what the event would come to")]
    TooSlow,
}

/// What processing an event again would come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rehearsed {
    /// The event.
    pub id: String,
    /// Where it would stand: `applied`, `ignored`, `parked` again, or `pending` where it would wait for Stripe.
    pub state: &'static str,
    /// Why, where it would not simply be applied.
    pub note: Option<String>,
    /// What would change in the books, the ledger first.
    pub changes: Vec<Change>,
}

/// Says what processing an event again would come to; `None` where there is none to process. Nothing is changed.
///
/// # Errors
/// When the books fail, or Stripe takes too long.
pub async fn rehearse(account: &Account, id: &str) -> Result<Option<Rehearsed>, RehearsalError> {
    tokio::time::timeout(REHEARSAL_TIMEOUT, runs(account, id)).await.unwrap_or(Err(RehearsalError::TooSlow))
}

async fn runs(account: &Account, id: &str) -> Result<Option<Rehearsed>, RehearsalError> {
    let readings = Readings::default();
    let mut seen: BTreeSet<ProjectId> = BTreeSet::new();
    for _ in 0..RUNS_MAX {
        let rehearsal = account.store.rehearse().await?;
        let rehearsed = run(account, &rehearsal, (&readings, &seen), id).await;
        let concerned = rehearsal.concerned();
        rehearsal.end().await;
        let rehearsed = rehearsed?;
        if let Some(reading) = readings.wanted() {
            let answer = account.api.read(&reading).await;
            readings.keep(reading, answer);
        } else if concerned.is_subset(&seen) {
            return Ok(rehearsed);
        } else {
            // Whose books move is known only now, and they are to be seen as they were before.
            seen = concerned;
        }
    }
    Err(RehearsalError::TooSlow)
}

/// Runs it once with the answers that there are.
async fn run(
    account: &Account,
    rehearsal: &Rehearsal,
    (readings, projects): (&Readings, &BTreeSet<ProjectId>),
    id: &str,
) -> Result<Option<Rehearsed>, StoreError> {
    let (store, now) = (rehearsal.store(), account.clock.now());
    let mut again = store.begin().await?;
    if !again.retry_event(id, now).await? {
        return Ok(None);
    }
    again.commit().await?;
    let Some(event) = store.stripe_event(id).await? else { return Ok(None) };
    let rehearsing = Account {
        api: account.api.with(readings.clone()),
        secrets: account.secrets.clone(),
        return_urls: account.return_urls.clone(),
        automatic_tax: account.automatic_tax,
        inbox: account.inbox.clone(),
        store: store.clone(),
        clock: account.clock.clone(),
        metrics: Metrics::default(),
    };
    let before = rehearsal.glance(projects, None).await?;
    processing::process(&rehearsing, &event, 0).with_subscriber(NoSubscriber::new()).await?;
    let after = rehearsal.glance(projects, Some(&before)).await?;
    let stands = store.stripe_event(id).await?;
    Ok(stands.map(|event| Rehearsed {
        id: event.envelope.id,
        state: event.state.as_str(),
        note: event.note,
        changes: before.changes(&after),
    }))
}
