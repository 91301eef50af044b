//! Idempotent: forgets the names of calls that nobody repeats any more, events that nobody asks for any more, and
//! sessions that are over.

use std::time::Duration;

use shared::time::Timestamp;

use crate::app::App;
use crate::store::StoreError;

/// How often; names are kept for weeks, so that an hour more does not matter.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// How long events are kept: longer than a quarter's bills are discussed.
const EVENTS_KEPT_MS: u64 = 92 * 24 * 60 * 60 * 1_000;

/// Events that are removed in one transaction, so that no other writer waits long.
const EVENTS_MAX: u32 = 500;

/// Forgets for ever; drop the future to stop.
pub async fn run(app: App) {
    loop {
        match app.store.forget_calls(app.clock.now()).await {
            Ok(0) => {}
            Ok(calls) => tracing::info!(calls, "names of old calls were forgotten"),
            Err(error) => tracing::error!(error = %error, "names of old calls were not forgotten"),
        }
        match app.store.forget_cloud_events(app.clock.now()).await {
            Ok(0) => {}
            Ok(events) => tracing::info!(events, "the names of old events were forgotten"),
            Err(error) => tracing::error!(error = %error, "the names of old events were not forgotten"),
        }
        match app.store.forget_sessions(app.clock.now()).await {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(rows, "sessions, links and invitations that are over were forgotten"),
            Err(error) => tracing::error!(error = %error, "sessions that are over were not forgotten"),
        }
        match forget_events(&app).await {
            Ok(0) => {}
            Ok(events) => tracing::info!(events, "old events were forgotten"),
            Err(error) => tracing::error!(error = %error, "old events were not forgotten"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Forgets all events that are old enough and that no delivery waits for.
///
/// # Errors
/// When the store fails; what was forgotten stays so.
pub async fn forget_events(app: &App) -> Result<u64, StoreError> {
    let before = Timestamp::from_ms(app.clock.now().as_ms().saturating_sub(EVENTS_KEPT_MS));
    let mut sum = 0_u64;
    loop {
        match app.store.forget_events(before, EVENTS_MAX).await? {
            0 => return Ok(sum),
            events => sum = sum.saturating_add(events),
        }
    }
}
