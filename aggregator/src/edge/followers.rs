//! Waits until every server on the books has moved its clock, in tests and demonstrations.
//!
//! Each server notes in the books how far it has moved. One that was killed notes nothing any more: nobody listens where
//! it did, and it is forgotten.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::store::{Store, StoreError};

/// How often the books are looked at; a server follows within a tenth of a second.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A server that has not followed after this long is not waited for.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// Waits until all have moved by `offset_ms`, and says which has not.
///
/// # Errors
/// When the store fails.
pub(crate) async fn wait(store: &Store, offset_ms: u64) -> Result<Vec<String>, StoreError> {
    let all_moved = async {
        loop {
            let behind = behind(store, offset_ms).await?;
            if behind.is_empty() {
                return Ok(());
            }
            for address in behind {
                if nobody_listens(address).await {
                    store.forget_clock_follower(address).await?;
                }
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    match tokio::time::timeout(WAIT_MAX, all_moved).await {
        Ok(done) => done.map(|()| Vec::new()),
        Err(_) => {
            let behind = behind(store, offset_ms).await?;
            Ok(behind
                .iter()
                .map(|address| format!("the server at {address} has not moved its clock"))
                .collect())
        }
    }
}

async fn behind(store: &Store, offset_ms: u64) -> Result<Vec<SocketAddr>, StoreError> {
    let followers = store.clock_followers().await?.into_iter();
    Ok(followers.filter(|(_, moved_ms)| *moved_ms < offset_ms).map(|(address, _)| address).collect())
}

/// Whether a connection is refused; an address that cannot be reached at all says nothing about its server.
async fn nobody_listens(mut address: SocketAddr) -> bool {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    matches!(TcpStream::connect(address).await, Err(error) if error.kind() == ErrorKind::ConnectionRefused)
}
