//! Idempotent: takes over how far `meter clock advance` moved the clock. Runs only with METER_TEST=1.

use std::time::Duration;

use crate::clock::Clock;
use crate::store::Store;

/// How soon a moved clock is followed.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Follows for ever; drop the future to stop.
pub async fn run(store: Store, clock: Clock) {
    loop {
        match store.clock_offset_ms().await {
            Ok(offset_ms) => clock.shift(offset_ms),
            Err(error) => tracing::error!(error = %error, "the clock's offset cannot be read"),
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
