//! Idempotent: revokes keys that were rotated out once their overlap is over.

use std::time::Duration;

use crate::access::trail::Actor;
use crate::app::App;
use crate::store::StoreError;

/// How soon after its time a key is revoked; overlaps are hours.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Keys that are revoked before the clock is looked at again.
const BATCH_MAX: u32 = 100;

/// Revokes for ever; drop the future to stop.
pub async fn run(app: App) {
    loop {
        if let Err(error) = revoke_due(&app).await {
            tracing::error!(error = %error, "keys whose time has come were not revoked");
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Revokes what is due now, a batch at most, and says how many those were.
///
/// # Errors
/// When the store fails; what was revoked before stays revoked.
pub async fn revoke_due(app: &App) -> Result<usize, StoreError> {
    let store = app.store.by(Actor::Job("key_expiry"));
    let due = store.expired_keys(app.clock.now(), BATCH_MAX).await?;
    for (project, key) in &due {
        store.revoke_key(project, key, app.clock.now()).await?;
        tracing::info!(project.id = %project, key.id = %key, "a key that was rotated out is revoked");
    }
    Ok(due.len())
}
