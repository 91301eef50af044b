//! Listeners that stand at a part's place to see what reaches it. They answer, but they decide nothing.
//!
//! A request's `x-answer-status` and `x-answer-after-ms` say with what and when.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts as Head;
use axum::response::{AppendHeaders, IntoResponse};
use tokio::net::TcpListener;

/// Sees every request that reaches it and answers 200 with headers that a client must or must not see.
#[derive(Debug, Clone)]
pub struct StandIn {
    address: SocketAddr,
    /// What it tells of its own work with each answer.
    observed: &'static [(&'static str, &'static str)],
    seen: Arc<Mutex<Vec<Head>>>,
}

impl StandIn {
    /// Begins to listen; it ends with the test's runtime.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> Result<Self> {
        Self::telling(&[
            ("palveron-tokens-in", "7"),
            ("palveron-tokens-out", "11"),
            ("palveron-anchors", "1"),
        ])
        .await
    }

    /// As [`Self::start`], but it tells nothing of tokens and anchors.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn silent() -> Result<Self> {
        Self::telling(&[]).await
    }

    async fn telling(observed: &'static [(&'static str, &'static str)]) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let stand_in = Self { address: listener.local_addr()?, observed, seen: Arc::default() };
        let app = Router::new().fallback(see).with_state(stand_in.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(stand_in)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of all requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Head> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn see(State(stand_in): State<StandIn>, request: Request) -> impl IntoResponse {
    let (head, _) = request.into_parts();
    let asked = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()?.parse().ok());
    let status = StatusCode::from_u16(asked("x-answer-status").unwrap_or(200)).unwrap_or_default();
    let wait = Duration::from_millis(asked("x-answer-after-ms").unwrap_or(0).into());
    stand_in.seen.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    tokio::time::sleep(wait).await;
    (status, [("x-governance", "kept")], AppendHeaders(stand_in.observed.to_vec()), "seen")
}
