//! Connections: HTTP/1.1 with limits of size, number and time, and a stop that lets requests finish.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// The whole head of a request. It is above what `limits` accepts, so that heads somewhat too large
/// are told which limit they broke; beyond this hyper answers 431 (or 414) without a body.
const HEAD_BYTES_MAX: usize = 96 * 1024;

/// The most header lines; hyper answers 431 beyond.
const HEADER_LINES_MAX: usize = 100;

/// The most connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 4_096;

/// The pause after a failed accept, which is most often a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the parts of a conversation may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the connection's being idle to the end of a request's head.
    pub head: Duration,
    /// From the head of a request to the end of its body.
    pub body: Duration,
    /// From the signal to stop until the last request is cut off.
    pub stop: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let ten = Duration::from_secs(10);
        Self { head: ten, body: ten, stop: ten }
    }
}

/// Serves until `stop` is ready, then lets requests that were begun finish.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    timeouts: Timeouts,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, place)) => {
                let connection = graceful.watch(
                    http(timeouts)
                        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone())),
                );
                tokio::spawn(async move {
                    // Broken and slow clients end here every day; it is nobody's fault of ours.
                    if let Err(error) = connection.await {
                        tracing::debug!(error = %error, "a connection ended early");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(timeouts.stop, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were cut off because they did not finish in time");
    }
}

fn http(timeouts: Timeouts) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(timeouts.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADER_LINES_MAX);
    http
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Answers are small and waited for.
    stream.set_nodelay(true)?;
    Ok((stream, place))
}
