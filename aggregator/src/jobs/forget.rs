//! Idempotent: forgets the names of calls that nobody repeats any more.

use std::time::Duration;

use crate::app::App;

/// How often; names are kept for weeks, so that an hour more does not matter.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// Forgets for ever; drop the future to stop.
pub async fn run(app: App) {
    loop {
        match app.store.forget_calls(app.clock.now()).await {
            Ok(0) => {}
            Ok(calls) => tracing::info!(calls, "names of old calls were forgotten"),
            Err(error) => tracing::error!(error = %error, "names of old calls were not forgotten"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
