//! A small governance service for demos and tests: it allows everything and says what it was asked.
//!
//! With `METER_SIGNING_KEYS` it answers only requests that the edge has signed, as a real service
//! should. It must never be more than a stand-in: it keeps nothing and decides nothing.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use shared::problem::{CONTENT_TYPE, ErrorCode, Problem};
use shared::sign::{Purpose, SIGNATURE_HEADER, Signed, SigningKeys};
use tests::clock;
use tests::config::UpstreamConfig;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// What the service says about a request that it allowed.
#[derive(Debug, Serialize, Deserialize)]
struct Decision {
    decision: String,
    project: String,
    agent: String,
    path: String,
    bytes: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let config = UpstreamConfig::read()?;
    let listener = listen(config.listen).await?;
    eprintln!("demo-upstream: listening on {}", config.listen);
    if config.keys.is_none() {
        eprintln!("demo-upstream: METER_SIGNING_KEYS is not set, so requests are answered whoever sent them");
    }
    let app = Router::new()
        .route("/healthz", get(|| async { Json(serde_json::json!({"status": "ok"})) }))
        .fallback(decide)
        .with_state(config.keys);
    axum::serve(listener, app).with_graceful_shutdown(stopped()?).await?;
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} (DEMO_UPSTREAM_LISTEN)"))
}

/// Ends when the process is asked to stop.
fn stopped() -> Result<impl Future<Output = ()> + Send + 'static> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn decide(State(keys): State<Option<SigningKeys>>, request: Request) -> Response {
    let target = request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let who = Who::of(request.headers());
    if let Some(keys) = keys
        && !who.is_signed(request.method(), &target, request.headers(), &keys)
    {
        let problem = Problem::new(
            ErrorCode::SignatureRejected,
            "Only requests that the edge has signed are answered.",
        );
        return (StatusCode::UNAUTHORIZED, [(header::CONTENT_TYPE, CONTENT_TYPE)], problem.to_json())
            .into_response();
    }
    if request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "stream=1")) {
        // Each piece goes back as it comes, so that whoever streams can see that nothing is held up.
        return Body::new(request.into_body()).into_response();
    }
    match count(request.into_body()).await {
        Ok(bytes) => Json(Decision {
            decision: "allow".to_owned(),
            project: who.project,
            agent: who.agent,
            path: target,
            bytes,
        })
        .into_response(),
        // Whoever was sending is gone, so nobody reads this.
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// The body's length; the body itself is dropped piece by piece.
async fn count(mut body: Body) -> Result<u64, axum::Error> {
    let mut bytes = 0_u64;
    while let Some(frame) = body.frame().await {
        let length = frame?.data_ref().map_or(0, |data| data.len());
        bytes = bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }
    Ok(bytes)
}

/// For whom the edge says that it asks.
struct Who {
    project: String,
    agent: String,
    key: String,
}

impl Who {
    fn of(headers: &HeaderMap) -> Self {
        let text =
            |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        Self {
            project: text("palveron-project"),
            agent: text("palveron-agent"),
            key: text("palveron-key-id"),
        }
    }

    fn is_signed(&self, method: &Method, target: &str, headers: &HeaderMap, keys: &SigningKeys) -> bool {
        let Some(signature) = headers.get(SIGNATURE_HEADER).and_then(|value| value.to_str().ok()) else {
            return false;
        };
        let who = format!("{}\n{}\n{}", self.project, self.agent, self.key);
        let signed = Signed { method: method.as_str(), path: target, body: who.as_bytes() };
        signed.verify(signature, keys, Purpose::Upstream, clock::now()).is_ok()
    }
}
