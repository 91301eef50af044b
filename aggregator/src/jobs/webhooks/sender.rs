//! One attempt: resolve, judge, connect to what was judged, post, read how the answer begins.
//!
//! A receiver's URL comes from a customer, so it must never lead us to a place that only we can reach. Names are
//! resolved once for each attempt, every address is judged, and the connection is made to one of just these, so that
//! a name that changes its mind in between gains nothing. Redirects are not followed; no proxy is ever asked.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_rustls::ConfigBuilderExt;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::text::is_unseen;
use crate::webhooks::schedule::Outcome;
use crate::webhooks::target::{Rules, Target};

/// How long an attempt may take in all; receivers are told to answer first and work later.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long one address may take to accept a connection, so that another of the same host has its chance.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses of a host that are tried.
const SOCKETS_MAX: usize = 3;

/// How long the beginning of a body is waited for once the status is known.
const BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// How much of a body is kept, for its owner to see what the receiver said.
const RESPONSE_BYTES_MAX: usize = 1_024;

/// All header lines of an answer together; receivers that send more are none.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Who we are in the receivers' logs.
const USER_AGENT: &str = concat!("palveron-meter/", env!("CARGO_PKG_VERSION"));

/// Makes attempts; clones are the same.
#[derive(Clone)]
pub struct Sender {
    rules: Rules,
    resolver: Resolver,
    tls: Option<TlsConnector>,
}

/// The addresses of names, as a test has them.
pub type Table = Arc<dyn Fn(&str) -> Vec<IpAddr> + Send + Sync>;

/// Who knows the addresses of names.
#[derive(Clone)]
pub enum Resolver {
    /// The machine.
    System,
    /// A table, for tests of what names may do.
    Table(Table),
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("System"),
            Self::Table(_) => f.write_str("Table(…)"),
        }
    }
}

impl Sender {
    /// A sender that keeps to these rules. Without certificates to trust it reaches no https receiver, and says so
    /// in each attempt.
    #[must_use]
    pub fn new(rules: Rules, resolver: Resolver) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok();
        let config = config.and_then(|builder| builder.with_native_roots().ok());
        let tls = config.map(|builder| TlsConnector::from(Arc::new(builder.with_no_client_auth())));
        if tls.is_none() {
            tracing::warn!("this machine has no trusted certificates: no https webhook can be delivered");
        }
        Self { rules, resolver, tls }
    }

    /// Posts a body, and says what came of it and how the answer's body began.
    pub async fn send(
        &self,
        url: &str,
        headers: [(&'static str, String); 3],
        body: String,
    ) -> (Outcome, String) {
        match timeout(ATTEMPT_TIMEOUT, self.try_send(url, headers, body)).await {
            Ok(Ok((status, response))) => (Outcome::of_status(status), response),
            Ok(Err(outcome)) => (outcome, String::new()),
            Err(_) => (Outcome::TimedOut, String::new()),
        }
    }

    async fn try_send(
        &self,
        url: &str,
        headers: [(&'static str, String); 3],
        body: String,
    ) -> Result<(u16, String), Outcome> {
        // Judged again at each attempt: the rules, and what the name means, may have changed.
        let target = Target::parse(url, &self.rules).map_err(|refused| Outcome::Forbidden(refused.0))?;
        let addresses = self.resolver.addresses(&target).await?;
        let sockets =
            target.sockets(&addresses, &self.rules).map_err(|refused| Outcome::Forbidden(refused.0))?;
        let mut request = Request::post(target.path_and_query())
            .header(header::HOST, target.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, USER_AGENT);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(unreachable)?;
        let stream = connect(sockets).await?;
        if !target.is_tls() {
            return exchange(stream, request).await;
        }
        let tls = self
            .tls
            .as_ref()
            .ok_or_else(|| Outcome::Unreachable("our machine has no trusted certificates".to_owned()))?;
        let name = ServerName::try_from(target.name().to_owned()).map_err(unreachable)?;
        exchange(tls.connect(name, stream).await.map_err(unreachable)?, request).await
    }
}

impl Resolver {
    async fn addresses(&self, target: &Target) -> Result<Vec<IpAddr>, Outcome> {
        if let Some(address) = target.literal() {
            return Ok(vec![address]);
        }
        let name = target.name();
        match self {
            Self::Table(table) => Ok(table(name)),
            Self::System => {
                // The dot at its end keeps a resolver from looking for the name below our own domains first.
                let full = if name.contains('.') { format!("{name}.") } else { name.to_owned() };
                let found = tokio::net::lookup_host((full, target.port())).await.map_err(unreachable)?;
                Ok(found.map(|socket| socket.ip()).collect())
            }
        }
    }
}

async fn connect(sockets: Vec<SocketAddr>) -> Result<TcpStream, Outcome> {
    let mut left: VecDeque<SocketAddr> = sockets.into_iter().take(SOCKETS_MAX).collect();
    let mut last = Outcome::Unreachable("the host has no address".to_owned());
    while let Some(socket) = left.pop_front() {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(socket)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = unreachable(error),
            Err(_) => last = Outcome::TimedOut,
        }
    }
    Err(last)
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(u16, String), Outcome>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    // What goes wrong on it is told by the request.
    let _driver = Driver(tokio::spawn(async move { drop(connection.await) }));
    let answer = sender.send_request(request).await.map_err(unreachable)?;
    let (head, body) = answer.into_parts();
    Ok((head.status.as_u16(), beginning(body).await))
}

/// The connection's task, which ends with the attempt.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How a body begins, as text that a terminal may show. The status is known: a body that hangs or breaks off is not
/// held against the receiver.
async fn beginning(mut body: Incoming) -> String {
    let mut kept = Vec::new();
    let reading = async {
        while kept.len() < RESPONSE_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            if let Some(data) = frame.data_ref() {
                let room = RESPONSE_BYTES_MAX.saturating_sub(kept.len());
                kept.extend(data.iter().take(room));
            }
        }
    };
    drop(timeout(BODY_TIMEOUT, reading).await);
    let shown = |character: char| if is_unseen(character) && character != '\n' { ' ' } else { character };
    String::from_utf8_lossy(&kept).chars().map(shown).collect()
}

/// The whole chain of causes: "connection refused" is at its end.
fn unreachable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Outcome {
    Outcome::Unreachable(format!("{:#}", anyhow::Error::from_boxed(error.into())))
}
