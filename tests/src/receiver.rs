//! A receiver of webhooks: keeps what it got, can be down, and has the standard's own library verify it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::webhook_library;

/// Verifies each message with the library, by the machine's clock: ours may have been moved. Then makes sure that the
/// library refuses the same message with another byte.
const VERIFY: &str = r#"
const { Webhook } = require("standardwebhooks");
const messages = JSON.parse(require("fs").readFileSync(0, "utf8"));
for (const { secret, headers, body } of messages) {
  new Webhook(secret).verify(body, headers);
  let refused = false;
  try { new Webhook(secret).verify(body + " ", headers); } catch { refused = true; }
  if (!refused) throw new Error("a forged message was verified");
}
console.log(messages.length);
"#;

/// What was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Received {
    /// The `webhook-id`.
    pub id: String,
    /// The `webhook-timestamp`.
    pub timestamp: String,
    /// The `webhook-signature`.
    pub signature: String,
    /// The body.
    pub body: String,
}

impl Received {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn value(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {}", self.body))
    }
}

/// A receiver that answers 200 while it is up.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    server: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Begins to listen.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let mut receiver = Self { address: listener.local_addr()?, received: Arc::default(), server: None };
        receiver.serve(listener);
        Ok(receiver)
    }

    /// Stops listening; whoever connects is refused.
    pub async fn goes_down(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            // It ended because it was told to.
            server.await.ok();
        }
    }

    /// Listens again where it did.
    ///
    /// # Errors
    /// When somebody has taken its port meanwhile.
    pub async fn comes_back(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.serve(listener);
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// Everything that came, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a receiver takes that keeps ids: of each the first that came.
    #[must_use]
    pub fn kept(&self) -> Vec<Received> {
        let mut ids = BTreeSet::new();
        self.received().into_iter().filter(|received| ids.insert(received.id.clone())).collect()
    }

    fn serve(&mut self, listener: TcpListener) {
        let app = Router::new().fallback(take).with_state(Arc::clone(&self.received));
        // What goes wrong is told by what did not come.
        self.server = Some(tokio::spawn(async move { axum::serve(listener, app).await.unwrap_or_default() }));
    }
}

/// Has the official library verify messages.
///
/// # Errors
/// When it refuses one, or takes a forged one.
pub fn verify(secret: &str, messages: &[Received]) -> Result<()> {
    let messages: Vec<Value> = messages
        .iter()
        .map(|Received { id, timestamp, signature, body }| {
            let headers =
                json!({"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature});
            json!({ "secret": secret, "headers": headers, "body": body })
        })
        .collect();
    let mut node = Command::new("node");
    node.arg("-e").arg(VERIFY).current_dir(webhook_library()?);
    let mut child = node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    serde_json::to_writer(child.stdin.take().context("no input")?, &messages)?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && said.trim() == messages.len().to_string(),
        "the library says {said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

async fn take(State(received): State<Arc<Mutex<Vec<Received>>>>, headers: HeaderMap, body: Bytes) {
    let header =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    received.lock().unwrap_or_else(PoisonError::into_inner).push(Received {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body: String::from_utf8_lossy(&body).into_owned(),
    });
}
