//! A plain HTTP client that hides nothing: one connection, one call, no retries, no redirects.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use shared::problem::{self, ErrorCode, Problem};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A call that takes longer has failed; the slowest that is meant to be slow is far below.
const CALL_MAX: Duration = Duration::from_secs(20);

/// A request that is to be sent.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Call {
    /// A request without a body.
    #[must_use]
    pub fn new(method: Method, path: &str) -> Self {
        Self { method, path: path.to_owned(), headers: Vec::new(), body: Bytes::new() }
    }

    /// A GET.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    /// A POST.
    #[must_use]
    pub fn post(path: &str, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::new(Method::POST, path) }
    }

    /// The same with a body.
    #[must_use]
    pub fn with_body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a project key or a token.
    #[must_use]
    pub fn bearer(self, credential: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), format!("Bearer {credential}"))
    }

    /// Names the agent.
    #[must_use]
    pub fn agent(self, agent: &str) -> Self {
        self.header("palveron-agent", agent)
    }

    /// Says that the body is JSON.
    #[must_use]
    pub fn json(self) -> Self {
        self.header(CONTENT_TYPE.as_str(), "application/json")
    }

    /// Sends it over a connection of its own.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, to: SocketAddr) -> Result<Answer> {
        Connection::open(to).await?.send(self).await
    }
}

/// A connection that is kept for several calls.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn open(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await.with_context(|| format!("cannot connect to {to}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with the sender; what goes wrong on it is told by the call that it went wrong for.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Self { sender, host: to.to_string() })
    }

    /// Sends one call and reads the whole answer.
    ///
    /// # Errors
    /// When there is no answer; the request may have been acted on all the same.
    pub async fn send(&mut self, call: &Call) -> Result<Answer> {
        let mut request = Request::builder().method(&call.method).uri(&call.path).header(HOST, &self.host);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(call.body.clone()))?;
        let exchange = async {
            self.sender.ready().await?;
            let (head, body) = self.sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        let told = || format!("{} {} at {}", call.method, call.path, self.host);
        timeout(CALL_MAX, exchange)
            .await
            .with_context(|| format!("{} took too long", told()))?
            .with_context(told)
    }
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// A header's text, if it is there.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads the body of a 200.
    ///
    /// # Errors
    /// When it is another status or not such a body.
    pub fn ok<T: DeserializeOwned>(&self) -> Result<T> {
        ensure!(self.status == 200, "got {}: {}", self.status, self.text());
        serde_json::from_slice(&self.body).with_context(|| format!("the body is {}", self.text()))
    }

    /// Reads the problem and checks that it is that one, complete, and says the same as the status.
    ///
    /// # Errors
    /// Says what is not as it must be.
    pub fn problem(&self, code: ErrorCode) -> Result<Problem> {
        ensure!(self.status == code.status(), "got {}, not {}: {}", self.status, code.status(), self.text());
        let media_type = self.header("content-type").unwrap_or_default();
        ensure!(media_type == problem::CONTENT_TYPE, "the media type is {media_type:?}");
        let problem: Problem = serde_json::from_slice(&self.body)?;
        ensure!(problem.code == code.as_str(), "got code {}, not {}", problem.code, code.as_str());
        ensure!(problem.status == self.status && problem.title == code.title(), "got {problem:?}");
        ensure!(problem.type_url.ends_with(code.as_str()) && !problem.detail.is_empty(), "got {problem:?}");
        Ok(problem)
    }
}
