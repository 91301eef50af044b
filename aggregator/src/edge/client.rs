//! The HTTP client towards the edge. It follows no redirects and never skips a certificate's check.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};

use crate::config::EdgeUrl;
use crate::edge::outbound::Outbound;

/// How long the edge may take: its homes each make one durable write.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The edge answers a push with a few bytes; nothing longer is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// A client that keeps its connections.
#[derive(Debug, Clone)]
pub struct EdgeClient {
    client: Outbound,
    edge: EdgeUrl,
}

/// Why the edge gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// It took longer than [`REQUEST_TIMEOUT`].
    #[error("the edge did not answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
    /// There was no connection, or it broke.
    #[error("the edge cannot be reached: {0}")]
    Connection(String),
}

impl EdgeClient {
    /// A client for that edge.
    ///
    /// # Errors
    /// When TLS is needed and the machine has no trusted certificates.
    pub fn new(edge: EdgeUrl) -> Result<Self, String> {
        let client = if edge.is_https() {
            Outbound::tls().map_err(|why| format!("EDGE_URL is https, but {why}"))?
        } else {
            Outbound::plain()
        };
        Ok(Self { client, edge })
    }

    /// Posts JSON to a path at the edge.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post_json(&self, path: &str, body: Vec<u8>) -> Result<(StatusCode, Bytes), EdgeError> {
        let uri = self.edge.join(path).map_err(|error| EdgeError::Connection(error.to_string()))?;
        tokio::time::timeout(REQUEST_TIMEOUT, self.send(uri, body)).await.map_err(|_| EdgeError::Timeout)?
    }

    async fn send(&self, uri: Uri, body: Vec<u8>) -> Result<(StatusCode, Bytes), EdgeError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .map_err(broken)?;
        let (head, body) = self.client.send(request).await.map_err(broken)?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(broken)?;
        Ok((head.status, body.to_bytes()))
    }
}

/// The whole chain of causes: "connection refused" is at its end.
fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> EdgeError {
    EdgeError::Connection(format!("{:#}", anyhow::Error::from_boxed(error.into())))
}
