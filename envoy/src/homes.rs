//! The one way to the homes: calls that are signed with an edge key, as those between processes of an edge are
//! (docs/protocol.md). It follows no redirects, and never skips a certificate's check.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use shared::sign::{Purpose, SIGNATURE_HEADER, Signed, SigningKeys};
use tokio::time::timeout;
use url::Url;

use crate::clock;

/// Where processes that share one process's homes call them.
const CALL_PATH: &str = "/internal/contact";
/// Whoever waits longer is told to try again: the home may be gone. As at the edge.
const HOME_WAIT: Duration = Duration::from_millis(1_000);
/// The longest reply: new terms with all the keys of a project are the longest part.
const REPLY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Connections that wait to be used again; contacts are few, decisions of strict projects may be many.
const IDLE_CONNECTIONS_MAX: usize = 64;

/// A call that was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Nobody answered in time.
    #[error("the homes' process did not answer within a second")]
    Late,
    /// There was no connection, or it broke.
    #[error("the homes' process cannot be reached: {0}")]
    Broken(String),
    /// It refused.
    #[error("the homes' process answered {0}")]
    Refused(StatusCode),
    /// It answered something else.
    #[error("the homes' process answered what is no reply")]
    Unread,
}

/// Calls the homes. Clones share their connections.
#[derive(Clone)]
pub struct Homes {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    keys: SigningKeys,
    calls: Arc<Calls>,
}

/// Two calls that say the same are two, by their last argument.
#[derive(Debug)]
struct Calls {
    process: u128,
    last: AtomicU64,
}

impl fmt::Debug for Homes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Homes").field("uri", &self.uri).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Replied {
    reply: String,
}

impl Homes {
    /// The homes at that address; `process` names this process.
    ///
    /// # Errors
    /// When the machine has no trusted certificates, or the address is none.
    pub fn new(origin: &Url, keys: SigningKeys, process: u128) -> Result<Self, String> {
        let uri = origin.join(CALL_PATH).map_err(|error| error.to_string())?;
        let uri = uri.as_str().parse().map_err(|_| format!("{uri} is no address"))?;
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(HOME_WAIT));
        let tls = HttpsConnectorBuilder::new();
        let tls = if origin.scheme() == "https" {
            let tls = tls.with_provider_and_native_roots(ring::default_provider());
            tls.map_err(|error| format!("there are no trusted certificates here: {error}"))?
        } else {
            // A machine without certificates needs none for calls that stay on it.
            let tls_of_nobody = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth();
            tls.with_tls_config(tls_of_nobody)
        };
        let connector = tls.https_or_http().enable_http1().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        let calls = Arc::new(Calls { process, last: AtomicU64::new(0) });
        Ok(Self { client, uri, keys, calls })
    }

    /// Hands a contact to an object, which is the home itself or one of its sub-homes.
    ///
    /// # Errors
    /// When it was not answered. It may have been taken all the same.
    pub async fn contact(&self, object: &str, home: &str, contact: &str) -> Result<String, Unanswered> {
        let class = if object == home { "HOME" } else { "SUB_HOME" };
        self.call(&[class, object, "contact", home, contact]).await
    }

    /// Has a home decide.
    ///
    /// # Errors
    /// When it was not answered. It may have been decided all the same.
    pub async fn decide(&self, home: &str, [ask, call]: &[String; 2]) -> Result<String, Unanswered> {
        self.call(&["HOME", home, "decide", home, ask, call]).await
    }

    async fn call(&self, call: &[&str]) -> Result<String, Unanswered> {
        let number = self.calls.last.fetch_add(1, Ordering::Relaxed);
        let once = format!("{:032x}-{number}", self.calls.process);
        let call: Vec<&str> = call.iter().copied().chain([once.as_str()]).collect();
        let body = shared::json::write(&call);
        let signed = Signed { method: "POST", path: CALL_PATH, body: body.as_bytes() };
        let key = self.keys.current(Purpose::Edge);
        let signature = key.map(|key| signed.sign(key, clock::wall())).unwrap_or_default();
        let request = Request::post(self.uri.clone())
            .header(SIGNATURE_HEADER, signature)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Unanswered::Broken(error.to_string()))?;
        timeout(HOME_WAIT, self.exchange(request)).await.map_err(|_| Unanswered::Late)?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<String, Unanswered> {
        let response = self.client.request(request).await;
        let response = response.map_err(|error| Unanswered::Broken(error.to_string()))?;
        if response.status() != StatusCode::OK {
            return Err(Unanswered::Refused(response.status()));
        }
        let body = Limited::new(response.into_body(), REPLY_BYTES_MAX).collect().await;
        let body = body.map_err(|_| Unanswered::Unread)?.to_bytes();
        let replied: Replied = serde_json::from_slice(&body).map_err(|_| Unanswered::Unread)?;
        Ok(replied.reply)
    }
}
