//! The HTTP client towards the edge. It follows no redirects and never skips a certificate's check.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use shared::time::Timestamp;

use super::outbound::Outbound;
use crate::traces;

/// How long the edge may take: its homes each make one durable write.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The edge answers a push with a few bytes; nothing longer is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Where the edge is; only its scheme and authority are configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeUrl(Uri);

impl EdgeUrl {
    /// Reads `http://host:port` or `https://host`.
    ///
    /// # Errors
    /// Says what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Not repeated: somebody may have put a password into it.
        let refused = || "accepted is a URL without path such as http://127.0.0.1:8787".to_owned();
        let uri: Uri = text.parse().map_err(|_| refused())?;
        let scheme = uri.scheme_str().ok_or_else(refused)?;
        let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.path_and_query().is_none_or(|path| path.as_str() == "/");
        if plain && (scheme == "http" || scheme == "https") { Ok(Self(uri)) } else { Err(refused()) }
    }

    /// The address of `path` at the edge.
    ///
    /// # Errors
    /// When `path` is no path.
    pub fn join(&self, path: &str) -> Result<Uri, axum::http::Error> {
        let mut uri = Uri::builder().path_and_query(path);
        if let (Some(scheme), Some(authority)) = (self.0.scheme(), self.0.authority()) {
            uri = uri.scheme(scheme.clone()).authority(authority.clone());
        }
        uri.build()
    }

    /// Whether TLS is needed.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

impl fmt::Display for EdgeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

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
    #[error("no answer came within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
    /// There was no connection, or it broke.
    #[error("it cannot be reached: {0}")]
    Connection(String),
}

impl EdgeClient {
    /// A client for that edge.
    ///
    /// # Errors
    /// When TLS is needed and the machine has no trusted certificates.
    pub fn new(edge: EdgeUrl) -> Result<Self, String> {
        let client = Outbound::to(&edge).map_err(|why| format!("EDGE_URL is https, but {why}"))?;
        Ok(Self { client, edge })
    }

    /// Posts JSON to a path at the edge.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post_json(&self, path: &str, body: Vec<u8>) -> Result<(StatusCode, Bytes), EdgeError> {
        self.ask_json(path, body, ANSWER_BYTES_MAX).await
    }

    /// Posts JSON to a path at the edge whose answer may be so long.
    ///
    /// # Errors
    /// When there is no answer, or a longer one.
    pub async fn ask_json(
        &self,
        path: &str,
        body: Vec<u8>,
        bytes_max: usize,
    ) -> Result<(StatusCode, Bytes), EdgeError> {
        let uri = self.edge.join(path).map_err(|error| EdgeError::Connection(error.to_string()))?;
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, self.send(uri, body, bytes_max));
        answer.await.map_err(|_| EdgeError::Timeout)?
    }

    /// Asks a path at the edge, and says what it was answered with, and when by the edge's own clock.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, Option<Timestamp>), EdgeError> {
        let uri = self.edge.join(path).map_err(|error| EdgeError::Connection(error.to_string()))?;
        let request = Request::builder().uri(uri).body(Full::default()).map_err(broken)?;
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, self.client.send(request));
        let (head, _) = answer.await.map_err(|_| EdgeError::Timeout)?.map_err(broken)?.into_parts();
        let date = head.headers.get(header::DATE).and_then(|date| date.to_str().ok());
        Ok((head.status, date.and_then(instant)))
    }

    async fn send(
        &self,
        uri: Uri,
        body: Vec<u8>,
        bytes_max: usize,
    ) -> Result<(StatusCode, Bytes), EdgeError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .map_err(broken)?;
        traces::pass_on(request.headers_mut());
        let (head, body) = self.client.send(request).await.map_err(broken)?.into_parts();
        let body = Limited::new(body, bytes_max).collect().await.map_err(broken)?;
        Ok((head.status, body.to_bytes()))
    }
}

/// The instant that a `Date` header names.
fn instant(date: &str) -> Option<Timestamp> {
    let since = httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_ms(since.as_secs().checked_mul(1_000)?))
}

/// The whole chain of causes: "connection refused" is at its end.
fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> EdgeError {
    EdgeError::Connection(format!("{:#}", anyhow::Error::from_boxed(error.into())))
}
