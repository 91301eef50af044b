//! Connections: HTTP/1.1 with limits of size, number and time, and a stop that lets requests finish.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;

use super::places::{Connections, Place, Places};

/// The whole head of a request. It is above what `limits` accepts, so that heads somewhat too large
/// are told which limit they broke; beyond this hyper answers 431 (or 414) without a body.
const HEAD_BYTES_MAX: usize = 96 * 1024;

/// The most header lines; hyper answers 431 beyond.
const HEADER_LINES_MAX: usize = 100;

/// The pause after a failed accept, which is most often a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection of the reserve may take for a request's head, at most: others wait for its place.
const RESERVE_HEAD: Duration = Duration::from_secs(2);

/// How long the parts of a conversation may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the connection's being idle to the end of a request's head.
    pub head: Duration,
    /// From the head of a request to the end of its body.
    pub body: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub write: Duration,
    /// The age at which a connection takes no further request.
    pub age: Duration,
    /// From then until its last request is cut off.
    pub last: Duration,
    /// From the signal to stop until the last request is cut off.
    pub stop: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let (ten, hour) = (Duration::from_secs(10), Duration::from_secs(3_600));
        // Who reads slowly may pause. A live stream that begins at the last instant lasts an hour, and a little longer.
        let (write, last) = (Duration::from_secs(30), hour.saturating_add(ten));
        Self { head: ten, body: ten, write, age: hour, last, stop: ten }
    }
}

/// Serves until `stop` is ready, then lets requests that were begun finish.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    timeouts: Timeouts,
    connections: Connections,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let (stopping, stopped) = watch::channel(false);
    let places = Places::new(connections);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, from)) => {
                // Who has more than its places is closed at once, and nobody waits for it.
                let Some(place) = places.enter(from.ip()) else { continue };
                let (router, stopped) = (router.clone(), stopped.clone());
                tokio::spawn(async move {
                    // Broken and slow clients end here every day; it is nobody's fault of ours.
                    if let Err(error) = converse(stream, place, router, timeouts, stopped).await {
                        tracing::debug!(error = %error, "a connection ended early");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, stopped));
    stopping.send_replace(true);
    if tokio::time::timeout(timeouts.stop, stopping.closed()).await.is_err() {
        tracing::warn!("requests were cut off because they did not finish in time");
    }
}

/// One connection, from its first request to its last.
async fn converse(
    stream: TcpStream,
    place: Place,
    router: Router,
    timeouts: Timeouts,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    // Answers are small and waited for.
    stream.set_nodelay(true)?;
    end_when_nothing_is_taken(&stream, timeouts.write)?;
    let http = http(timeouts, &place);
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(place.clone());
        request
    });
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = tokio::time::sleep(timeouts.age) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    Ok(tokio::time::timeout(timeouts.last, connection).await??)
}

fn http(timeouts: Timeouts, place: &Place) -> http1::Builder {
    let mut http = http1::Builder::new();
    let head = if place.is_reserve() { timeouts.head.min(RESERVE_HEAD) } else { timeouts.head };
    http.timer(TokioTimer::new())
        .header_read_timeout(head)
        .keep_alive(!place.is_reserve())
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADER_LINES_MAX);
    http
}

/// Has the system break a connection whose client takes nothing for so long, be it gone or only silent. Only the
/// system knows: a client that reads slowly takes something long before there is room for more of ours.
#[cfg(target_os = "linux")]
fn end_when_nothing_is_taken(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    let ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    Ok(nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::TcpUserTimeout, &ms)?)
}

/// Other systems have no such setting. They end such connections by their age.
#[cfg(not(target_os = "linux"))]
fn end_when_nothing_is_taken(_: &TcpStream, _: Duration) -> io::Result<()> {
    Ok(())
}
