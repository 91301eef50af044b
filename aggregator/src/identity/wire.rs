//! What is said to a provider over HTTP: bounded in time and size, without redirects, and never over a line that others
//! read.

use std::pin::Pin;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use url::Url;

use super::settings::may_be_asked;
use crate::edge::outbound::Outbound;

/// How long one answer may take: somebody is waiting for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer; keys of large providers take some tens of kilobytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Why a provider gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("{0} is neither https nor on this machine, so that nothing is sent there")]
    Forbidden(String),
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout,
    #[error("it cannot be reached: {0}")]
    Connection(String),
    #[error("the answer broke off or is longer than {ANSWER_BYTES_MAX} bytes")]
    Answer,
}

/// The way to a provider.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    plain: Outbound,
    /// `None` where the machine has no trusted certificates.
    tls: Option<Outbound>,
}

impl Wire {
    /// A way to a provider; over TLS where its issuer is.
    pub(super) fn new(needs_tls: bool) -> Result<Self, String> {
        let tls = if needs_tls { Some(Outbound::tls()?) } else { Outbound::tls().ok() };
        Ok(Self { plain: Outbound::plain(), tls })
    }

    /// Sends one request and reads its answer.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, WireError> {
        // The provider's own document names most addresses: they are looked at like the configured one.
        let uri = request.uri().to_string();
        let url = Url::parse(&uri).ok().filter(may_be_asked);
        let url = url.ok_or(WireError::Forbidden(uri))?;
        let client = if url.scheme() == "https" { self.tls.as_ref() } else { Some(&self.plain) };
        let none = || WireError::Connection("this machine has no trusted certificates".to_owned());
        let client = client.ok_or_else(none)?;
        let (parts, body) = request.into_parts();
        let exchange = exchange(client, Request::from_parts(parts, Full::new(Bytes::from(body))));
        tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.map_err(|_| WireError::Timeout)?
    }
}

/// What the protocol's library speaks through.
impl<'a> AsyncHttpClient<'a> for Wire {
    type Error = WireError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, WireError>> + Send + 'a>>;

    fn call(&'a self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

async fn exchange(client: &Outbound, request: Request<Full<Bytes>>) -> Result<HttpResponse, WireError> {
    let answer = client.send(request).await;
    let (parts, body) = answer.map_err(|error| WireError::Connection(error.to_string()))?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|_| WireError::Answer)?;
    Ok(Response::from_parts(parts, body.to_bytes().to_vec()))
}
