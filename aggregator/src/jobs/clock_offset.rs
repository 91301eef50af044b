//! Idempotent: takes over how far the clock was moved, also by a command, and tells those whose clocks move along
//! until they know. Runs only with METER_TEST=1.

use std::net::SocketAddr;
use std::time::Duration;

use crate::clock::Clock;
use crate::edge::peers::ClockPeers;
use crate::store::Store;

/// How soon a moved clock is followed: whoever moves it waits for that.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How long to wait for a peer that could not be told.
const PEER_PAUSE: Duration = Duration::from_millis(500);

/// Follows for ever, as the server that listens at `address`; drop the future to stop.
pub async fn run(store: Store, clock: Clock, peers: ClockPeers, address: SocketAddr) {
    let (mut told, mut noted) = (None, None);
    loop {
        match store.clock_offset_ms().await {
            Ok(offset_ms) => {
                clock.shift(offset_ms);
                if noted != Some(offset_ms) {
                    match store.follow_clock(address, offset_ms).await {
                        Ok(()) => noted = Some(offset_ms),
                        Err(error) => tracing::error!(error = %error, "the moved clock was not noted"),
                    }
                }
                // A clock that was never moved has nobody to tell.
                if offset_ms > 0 && told != Some(offset_ms) {
                    let failures = peers.tell(offset_ms).await;
                    for failure in &failures {
                        tracing::warn!(offset_ms, "{failure}");
                    }
                    told = failures.is_empty().then_some(offset_ms);
                    if told.is_none() {
                        tokio::time::sleep(PEER_PAUSE).await;
                    }
                }
            }
            Err(error) => tracing::error!(error = %error, "the clock's offset cannot be read"),
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
