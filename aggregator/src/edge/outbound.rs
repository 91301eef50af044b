//! The HTTP client towards machines that the configuration names. It follows no redirects and never skips a
//! certificate's check.

use std::fmt;

use axum::body::Bytes;
use axum::http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;

use super::client::EdgeUrl;

/// A client that keeps its connections.
#[derive(Clone)]
pub(crate) enum Outbound {
    /// Over plain HTTP.
    Plain(Client<HttpConnector, Full<Bytes>>),
    /// Over TLS.
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Tls(_) => "Tls",
        })
    }
}

impl Outbound {
    /// A client towards that address: over TLS where it says so.
    ///
    /// # Errors
    /// When TLS is needed and the machine has no trusted certificates.
    pub(crate) fn to(url: &EdgeUrl) -> Result<Self, String> {
        if url.is_https() { Self::tls() } else { Ok(Self::plain()) }
    }

    /// A client over plain HTTP.
    pub(crate) fn plain() -> Self {
        Self::Plain(Client::builder(TokioExecutor::new()).build(HttpConnector::new()))
    }

    /// A client over TLS.
    ///
    /// # Errors
    /// When the machine has no trusted certificates.
    pub(crate) fn tls() -> Result<Self, String> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
            .map_err(|error| format!("there are no trusted certificates here: {error}"))?
            .https_only()
            .enable_http1()
            .build();
        Ok(Self::Tls(Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// Sends a request; its URI is absolute.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        match self {
            Self::Plain(client) => client.request(request).await,
            Self::Tls(client) => client.request(request).await,
        }
    }
}
