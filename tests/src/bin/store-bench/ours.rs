//! Our side: homes that send 1,000-cell flushes to `/ingest` as fast as they are acknowledged.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::client::Connection;
use tests::clock;
use tests::servers::{Servers, Signer};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Cells of one batch: as many as a flush may have.
pub(crate) const CELLS: usize = 1_000;

/// Homes that flush at once, each of a project of its own, as the aggregator sees them.
const HOMES: usize = 4;

pub(crate) fn agent(place: usize) -> String {
    format!("agent-{:04}", place.div_euclid(3))
}

pub(crate) fn kind(place: usize) -> &'static str {
    match place.rem_euclid(3) {
        0 => "verify",
        1 => "mcp_tool_call",
        _ => "extension_event",
    }
}

/// A load that may be run again and again.
#[derive(Debug)]
pub(crate) struct Load {
    signer: Signer,
    addresses: Vec<SocketAddr>,
    sent: Arc<AtomicU64>,
}

impl Load {
    /// Makes the projects; homes take turns in whom they flush to.
    pub(crate) async fn prepare(servers: &Servers, addresses: &[SocketAddr]) -> Result<Self> {
        for home in 0..HOMES {
            servers.project(&format!("demo-{home}"), 1_000_000_000)?;
        }
        let load = Self { signer: servers.signer()?, addresses: addresses.to_vec(), sent: Arc::default() };
        // What is measured is the merge of cells that are there; the plain loop inserts in its first batch too.
        load.run(1).await?;
        Ok(load)
    }

    /// Cells per second that were acknowledged within that time.
    pub(crate) async fn run(&self, seconds: u64) -> Result<f64> {
        let start = Instant::now();
        let end = start + Duration::from_secs(seconds);
        let mut homes = JoinSet::new();
        for (home, address) in (0..HOMES).zip(self.addresses.iter().copied().cycle()) {
            let (signer, sent) = (self.signer.clone(), Arc::clone(&self.sent));
            homes.spawn(async move { flush_until(home, &signer, address, end, &sent).await });
        }
        let mut batches = 0_u64;
        for home in homes.join_all().await {
            batches += home?;
        }
        Ok(batches as f64 * CELLS as f64 / start.elapsed().as_secs_f64())
    }
}

async fn flush_until(
    home: usize,
    signer: &Signer,
    address: SocketAddr,
    end: Instant,
    sent: &AtomicU64,
) -> Result<u64> {
    let mut connection = Connection::open(address).await?;
    let mut batches = 0;
    while Instant::now() < end {
        // Rises over all runs, so that every cell grows in every batch.
        let units = sent.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = connection.send(&signer.flush(&body(home, units))?).await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        batches += 1;
    }
    Ok(batches)
}

fn body(home: usize, units: u64) -> String {
    let day = clock::now().day();
    let mut body = format!(
        r#"{{"project":"demo-{home}","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":{units},"cells":["#
    );
    for place in 0..CELLS {
        let comma = if place == 0 { "" } else { "," };
        write!(
            body,
            r#"{comma}{{"day":"{day}","kind":"{}","agent":"{}","units":{units},"tokens_in":{units},"tokens_out":{units},"anchors":0}}"#,
            kind(place),
            agent(place)
        )
        .unwrap_or_default();
    }
    body.push_str("]}");
    body
}
