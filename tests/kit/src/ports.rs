//! Free ports for the parts under test.
//!
//! They are taken from below the range that systems give to outgoing connections, so that no
//! client's connection can take a port between its choice and its use.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

const PORT_MIN: u32 = 20_000;
const PORTS: u32 = 12_000;

/// Apart for each process, so that test runs beside each other seldom try the same port.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A loopback address that nobody listens on; no later call of this process returns it again.
pub fn free() -> Result<SocketAddr> {
    let start = std::process::id().wrapping_mul(97);
    (0..PORTS)
        .map(|_| start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)).rem_euclid(PORTS))
        .filter_map(|offset| u16::try_from(PORT_MIN.saturating_add(offset)).ok())
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .context("no port is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_can_be_listened_on() {
        let (one, other) = (free().unwrap(), free().unwrap());
        assert_ne!(one, other);
        TcpListener::bind(one).unwrap();
    }
}
