//! The one way out: a connection for each report, through the proxy if there is one, over TLS.
//!
//! It goes step by step, so that it can be told which step failed. It follows no redirects and never skips a certificate's check.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::ServiceExt as _;

use crate::config::{Endpoint, TlsFiles};

/// How long each step may take.
const STEP_MAX: Duration = Duration::from_secs(10);
/// How long the aggregator may take to answer: a report is one transaction.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The longest answer that is read: a policy with many limits of single agents is the longest part.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One step of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The host's name is resolved.
    Name,
    /// A connection is opened.
    Connect,
    /// The proxy opens a tunnel.
    Proxy,
    /// Certificates are checked.
    Tls,
    /// The other side answers.
    Answer,
}

impl Step {
    /// What to do where it fails.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Name => {
                "Check the name in TELEMETRY_ENDPOINT (or HTTPS_PROXY) and this machine's resolver."
            }
            Self::Connect => {
                "Have the firewall let this machine out to that host and port; docs/egress.md names them."
            }
            Self::Proxy => {
                "Ask whoever runs the proxy to allow CONNECT to that host and port, and check the name and password in HTTPS_PROXY."
            }
            Self::Tls => {
                "Where a proxy breaks TLS, put its certificate into METER_REPORTER_CA_FILE; where the other side asks for one of yours, set METER_REPORTER_CLIENT_CERT and METER_REPORTER_CLIENT_KEY."
            }
            Self::Answer => {
                "Something listens there that does not answer as the aggregator does: check TELEMETRY_ENDPOINT."
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "name",
            Self::Connect => "connection",
            Self::Proxy => "proxy",
            Self::Tls => "TLS",
            Self::Answer => "answer",
        })
    }
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {why}")]
pub struct Failed {
    /// Which.
    pub step: Step,
    /// Why.
    pub why: String,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// A header's text; empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// An open connection.
type Connection = http1::SendRequest<Full<Bytes>>;

/// How an address is reached.
#[derive(Clone)]
pub struct Transport {
    endpoint: Endpoint,
    proxy: Option<Intercept>,
    tls: Option<TlsConnector>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Transport {
    /// Reads what is needed to reach that address.
    ///
    /// # Errors
    /// When a file of certificates cannot be read, or the machine has none.
    pub fn new(endpoint: Endpoint, proxies: Option<&Matcher>, files: &TlsFiles) -> Result<Self, String> {
        let uri = endpoint.join("/")?;
        let proxy = proxies.and_then(|proxies| proxies.intercept(&uri));
        let tls = endpoint.tls.then(|| tls(files)).transpose()?;
        Ok(Self { endpoint, proxy, tls })
    }

    /// Sends a request, a step at a time; `done` hears of each step that succeeded.
    ///
    /// # Errors
    /// The step that failed. The request may have been acted on all the same where that is the last.
    pub async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        done: &mut (dyn FnMut(Step, String) + Send),
    ) -> Result<Answer, Failed> {
        let mut connection = self.open(done).await?;
        let host = self.endpoint.authority();
        let host = host.parse().map_err(|_| failed(Step::Answer, "the host is no header's value"))?;
        request.headers_mut().insert(header::HOST, host);
        let exchange = async {
            connection.ready().await.map_err(|error| failed(Step::Answer, told(&error)))?;
            let answer =
                connection.send_request(request).await.map_err(|error| failed(Step::Answer, told(&error)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| failed(Step::Answer, error.to_string()))?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        let answer = within(Step::Answer, ANSWER_MAX, exchange).await?;
        done(Step::Answer, answer.status.to_string());
        Ok(answer)
    }

    /// Posts JSON under headers of ours.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn post(
        &self,
        path: &str,
        (name, value): (&str, &str),
        body: String,
        done: &mut (dyn FnMut(Step, String) + Send),
    ) -> Result<Answer, Failed> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(name, value)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| failed(Step::Answer, error.to_string()))?;
        self.send(request, done).await
    }

    /// Opens a connection.
    async fn open(&self, done: &mut (dyn FnMut(Step, String) + Send)) -> Result<Connection, Failed> {
        let (host, port) = match &self.proxy {
            Some(proxy) => proxy_address(proxy.uri()),
            None => (self.endpoint.host.clone(), self.endpoint.port),
        };
        let addresses = within(Step::Name, STEP_MAX, async {
            let found = tokio::net::lookup_host((host.as_str(), port)).await;
            found
                .map(Iterator::collect::<Vec<SocketAddr>>)
                .map_err(|error| failed(Step::Name, error.to_string()))
        })
        .await?;
        let shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
        done(Step::Name, format!("{host} is {}", shown.join(", ")));
        let stream = within(Step::Connect, STEP_MAX, async {
            let stream = TcpStream::connect(addresses.as_slice()).await;
            let stream = stream.map_err(|error| failed(Step::Connect, format!("{host}:{port}: {error}")))?;
            stream.set_nodelay(true).map_err(|error| failed(Step::Connect, error.to_string()))?;
            Ok(stream)
        })
        .await?;
        done(Step::Connect, format!("{host}:{port}"));
        let stream = self.tunnel(stream, done).await?;
        let Some(tls) = &self.tls else { return handshake(TokioIo::new(stream)).await };
        let name = ServerName::try_from(self.endpoint.host.clone());
        let name = name.map_err(|error| failed(Step::Tls, error.to_string()))?;
        let stream = within(Step::Tls, STEP_MAX, async {
            tls.connect(name, stream).await.map_err(|error| failed(Step::Tls, error.to_string()))
        })
        .await?;
        let version = stream.get_ref().1.protocol_version();
        done(
            Step::Tls,
            version.map_or_else(String::new, |version| format!("{version:?}, certificate checked")),
        );
        handshake(TokioIo::new(stream)).await
    }

    /// Has the proxy, if there is one, open a tunnel.
    async fn tunnel(
        &self,
        stream: TcpStream,
        done: &mut (dyn FnMut(Step, String) + Send),
    ) -> Result<TcpStream, Failed> {
        let Some(proxy) = &self.proxy else { return Ok(stream) };
        let target = self.endpoint.join("/").map_err(|why| failed(Step::Proxy, why))?;
        let mut opened = Some(TokioIo::new(stream));
        let opened = tower::service_fn(move |_: Uri| {
            let taken = opened.take();
            async move { taken.ok_or_else(|| io::Error::other("the connection is in use")) }
        });
        let mut tunnel = Tunnel::new(proxy.uri().clone(), opened);
        if let Some(credentials) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        let stream = within(Step::Proxy, STEP_MAX, async {
            tunnel.oneshot(target).await.map_err(|error| failed(Step::Proxy, told(&error)))
        })
        .await?;
        done(
            Step::Proxy,
            format!("{} has opened a tunnel to {}", shown(proxy.uri()), self.endpoint.authority()),
        );
        Ok(stream.into_inner())
    }
}

/// Begins HTTP on an open connection.
async fn handshake<T>(io: T) -> Result<Connection, Failed>
where
    T: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (sender, connection) =
        http1::handshake(io).await.map_err(|error| failed(Step::Answer, told(&error)))?;
    // It ends with the sender; what goes wrong on it is told by the request that it went wrong for.
    tokio::spawn(async move { connection.await.ok() });
    Ok(sender)
}

async fn within<T>(
    step: Step,
    patience: Duration,
    work: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Failed> {
    let late = || failed(step, format!("nothing within {} seconds", patience.as_secs()));
    tokio::time::timeout(patience, work).await.map_err(|_| late())?
}

fn failed(step: Step, why: impl Into<String>) -> Failed {
    Failed { step, why: why.into() }
}

/// An error with what caused it: hyper says only that something failed.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

fn proxy_address(uri: &Uri) -> (String, u16) {
    const USUAL: u16 = 80;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    (host.to_owned(), uri.port_u16().unwrap_or(USUAL))
}

fn shown(proxy: &Uri) -> String {
    let (host, port) = proxy_address(proxy);
    format!("{host}:{port}")
}

/// Whom is trusted, and who we are.
fn tls(files: &TlsFiles) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    match &files.ca {
        Some(file) => {
            for certificate in certificates("METER_REPORTER_CA_FILE", file)? {
                roots.add(certificate).map_err(|error| format!("METER_REPORTER_CA_FILE: {error}"))?;
            }
        }
        None => {
            let machine = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(machine.certs);
        }
    }
    if roots.is_empty() {
        return Err(
            "there are no trusted certificates on this machine: METER_REPORTER_CA_FILE names a file of them"
                .to_owned(),
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?.with_root_certificates(roots);
    let config = match &files.client {
        Some((certificate, key)) => {
            let ours = certificates("METER_REPORTER_CLIENT_CERT", certificate)?;
            let key = PrivateKeyDer::from_pem_file(key);
            let key = key.map_err(|error| format!("METER_REPORTER_CLIENT_KEY: {error}"))?;
            config
                .with_client_auth_cert(ours, key)
                .map_err(|error| format!("METER_REPORTER_CLIENT_CERT: {error}"))?
        }
        None => config.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(setting: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|error| format!("{setting}: {}: {error}", file.display()))?;
    if all.is_empty() { Err(format!("{setting}: {} holds no certificate", file.display())) } else { Ok(all) }
}
