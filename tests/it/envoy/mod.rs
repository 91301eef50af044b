//! Real Envoy that asks `meter-envoy`, which has leases of the homes in a real workerd.

mod limits;
mod outages;
mod quotas;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use tests::client::{Answer, Call, Connection};
use tests::envoy::Envoy;
use tests::stack::{Options, Stack};
use tests::stand_in::StandIn;
use tokio::task::JoinSet;

/// As many as a busy gateway has connections.
const CLIENTS: usize = 32;
/// The configuration that the document shows.
const CONFIGURATION: &str = "envoy.yaml";

/// A meter with leases, whose homes others may use.
async fn stack() -> Result<Stack> {
    let edge_settings = vec![("METER_HOMES", "serve".to_owned())];
    Stack::start_with(Options { leases: true, edge_settings, ..Options::default() }).await
}

/// A stack, a service, and Envoy in front of it.
async fn mesh() -> Result<(Stack, StandIn, Envoy)> {
    let (stack, service) = (stack().await?, StandIn::silent().await?);
    let envoy = Envoy::start(&stack, CONFIGURATION, service.address()).await?;
    Ok((stack, service, envoy))
}

/// A request to the service.
fn call(key: &str, agent: &str) -> Call {
    Call::post("/v1/verify", "{}").json().bearer(key).agent(agent)
}

/// Why Envoy's answer refuses, by the header and the body alike.
fn denied(answer: &Answer) -> Result<String> {
    ensure!(answer.status == 429, "got {}: {}", answer.status, answer.text());
    ensure!(answer.header("content-type") == Some("application/problem+json"), "{:?}", answer.headers);
    let problem: serde_json::Value = serde_json::from_slice(&answer.body)?;
    let code = answer.header("palveron-denied").context("no Palveron-Denied")?;
    ensure!(problem.get("code").and_then(|code| code.as_str()) == Some(code), "{problem} is not {code}");
    Ok(code.to_owned())
}

/// What clients of one key were answered.
#[derive(Debug, Default)]
struct Tally {
    allowed: AtomicU64,
    exhausted: AtomicUsize,
    contended: AtomicU64,
    limited: AtomicU64,
    failed: AtomicU64,
    stop: AtomicBool,
}

impl Tally {
    fn allowed(&self) -> u64 {
        self.allowed.load(Ordering::SeqCst)
    }

    /// How many clients were refused for good.
    fn exhausted(&self) -> usize {
        self.exhausted.load(Ordering::SeqCst)
    }

    /// Sends until it is refused for good, or told to stop.
    async fn client(&self, at: SocketAddr, key: &str, agent: &str) -> Result<()> {
        let mut connection = Connection::open(at).await?;
        while !self.stop.load(Ordering::SeqCst) {
            let answer = connection.send(&call(key, agent)).await?;
            let count = match answer.status {
                200 => &self.allowed,
                // The meter does not answer.
                500 | 503 => &self.failed,
                _ => match denied(&answer)?.as_str() {
                    "quota_exhausted" => {
                        self.exhausted.fetch_add(1, Ordering::SeqCst);
                        return Ok(());
                    }
                    "quota_contended" => &self.contended,
                    "rate_limited" => &self.limited,
                    other => anyhow::bail!("refused with {other}"),
                },
            };
            count.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Starts that many clients.
    fn begin(self: &Arc<Self>, at: SocketAddr, key: &str) -> JoinSet<Result<()>> {
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let (tally, key) = (Arc::clone(self), key.to_owned());
            clients.spawn(async move { tally.client(at, &key, &format!("agent-{}", number % 4)).await });
        }
        clients
    }
}

/// Waits until all clients have ended.
async fn ended(mut clients: JoinSet<Result<()>>) -> Result<()> {
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    Ok(())
}
