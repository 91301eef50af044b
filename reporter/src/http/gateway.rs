//! Gateway calls that were allowed: forwarded to the governance service, with who asks, and without what only we may say.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response as HttpResponse, header};
use axum::response::Response;
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use meter_edge::premise::{Forward, observed_of};
use shared::problem::ErrorCode;

use super::{App, problem};
use crate::config::Endpoint;

/// How long the governance service may take to begin its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// What only we say; the agent is told anew.
const OURS: &str = "palveron-";
/// What is about one connection, and not about the request.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
];

/// The governance service.
#[derive(Clone)]
pub struct Upstream {
    endpoint: Endpoint,
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.endpoint)
    }
}

impl Upstream {
    /// The service at that address.
    ///
    /// # Errors
    /// When TLS is needed and the machine has no trusted certificates.
    pub fn new(endpoint: Endpoint) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = HttpsConnectorBuilder::new();
        let builder = if endpoint.tls {
            builder.with_provider_and_native_roots(provider).map_err(|error| {
                format!("METER_REPORTER_UPSTREAM: there are no trusted certificates here: {error}")
            })?
        } else {
            // Nobody is asked for a certificate over plain HTTP.
            let config =
                rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let config = config.map_err(|error| error.to_string())?;
            builder.with_tls_config(
                config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth(),
            )
        };
        let connector = builder.https_or_http().enable_http1().build();
        Ok(Self { endpoint, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    async fn call(
        &self,
        forward: &Forward,
        head: Parts,
        body: Body,
    ) -> Result<HttpResponse<Incoming>, String> {
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        // A body that announces no length is counted while it comes.
        let bytes_max = usize::try_from(meter_edge::forward_bytes_max()).unwrap_or(usize::MAX);
        let mut request = Request::new(Body::new(Limited::new(body, bytes_max)));
        *request.method_mut() = head.method;
        *request.uri_mut() = self.endpoint.join(target)?;
        *request.headers_mut() = head.headers;
        let headers = request.headers_mut();
        strip(headers, true);
        headers.remove(header::HOST);
        for (name, value) in &forward.identity {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        let answered = tokio::time::timeout(PATIENCE, self.client.request(request)).await;
        answered.map_err(|_| "it did not answer in time".to_owned())?.map_err(|error| error.to_string())
    }
}

/// Removes what is not to travel on, in either direction. Servers that make variables of headers read `_` as `-`.
fn strip(headers: &mut HeaderMap, request: bool) {
    let is_ours = |name: &HeaderName| name.as_str().replace('_', "-").starts_with(OURS);
    let is_not_for_them = |name: &HeaderName| {
        HOP_BY_HOP.contains(name) || is_ours(name) || (request && *name == header::AUTHORIZATION)
    };
    let gone: Vec<HeaderName> = headers.keys().filter(|name| is_not_for_them(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

impl App {
    /// Forwards what was allowed and counted.
    pub(super) async fn forward(&self, forward: Forward, head: Parts, body: Body) -> Response {
        let unanswered = "The request was allowed and counted, but the governance service did not answer. Send it again later.";
        let Some(upstream) = &self.0.upstream else {
            return problem(ErrorCode::UpstreamUnavailable, unanswered);
        };
        let mut answered = match upstream.call(&forward, head, body).await {
            Ok(answered) => answered,
            Err(error) => {
                tracing::warn!(error, "the governance service did not answer");
                return problem(ErrorCode::UpstreamUnavailable, unanswered);
            }
        };
        let headers = answered.headers_mut();
        let mut told = |name: &str| {
            let value = headers.remove(name);
            value.and_then(|value| value.to_str().ok().map(str::to_owned)).unwrap_or_default()
        };
        let (read, written) = (told("palveron-tokens-in"), told("palveron-tokens-out"));
        let observed = observed_of(&read, &written, &told("palveron-anchors"));
        if !observed.is_empty() {
            let (kind, agent) = (forward.kind, &forward.agent);
            self.0.meter.note(|core, now| {
                core.home.count_served(now, (kind, agent), shared::units::Units::ZERO, observed)
            });
        }
        strip(headers, false);
        for (name, value) in forward.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        answered.map(Body::new)
    }
}
