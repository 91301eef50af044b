//! Idempotent: forgets events of live streams that nobody comes back for.

use std::time::Duration;

use shared::time::Timestamp;

use crate::app::App;

/// How long a watcher may be away and still get what it missed.
pub const KEPT_MS: u64 = 24 * 60 * 60 * 1_000;

/// How often old events are forgotten: each time a few minutes' worth.
const INTERVAL: Duration = Duration::from_secs(300);

/// Forgets for ever; drop the future to stop.
pub async fn run(app: App) {
    loop {
        let before = Timestamp::from_ms(app.clock.now().as_ms().saturating_sub(KEPT_MS));
        match app.store.forget_shown(before).await {
            Ok(0) => {}
            Ok(events) => tracing::debug!(events, "old events of live streams were forgotten"),
            Err(error) => tracing::error!(error = %error, "old events of live streams were not forgotten"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
