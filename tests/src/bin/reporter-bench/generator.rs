//! Requests as fast as they are answered, over plain sockets: an HTTP client would take the cores that it measures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What a check says that is denied.
const DENIED: &str = r#""allowed":false"#;

/// What is sent, and over how many connections.
#[derive(Debug)]
pub(crate) struct Load {
    requests: Arc<Vec<String>>,
    connections: usize,
}

impl Load {
    /// Requests to that path with these bodies in turn, who asks by that key where there is one; without any body it is a
    /// GET.
    pub(crate) fn new(path: &str, bodies: &[String], connections: usize, key: Option<&str>) -> Self {
        let who = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
        let post = |body: &String| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\n{who}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let mut requests: Vec<String> = bodies.iter().map(post).collect();
        if requests.is_empty() {
            requests.push(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        }
        Self { requests: Arc::new(requests), connections }
    }

    /// Sends until nobody answers any more; how much was answered, and how much was sent.
    pub(crate) async fn count_until_it_breaks(self, to: SocketAddr) -> Result<(u64, u64)> {
        let (acked, asked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut all = JoinSet::new();
        for at in 0..self.connections {
            let (requests, acked, asked) =
                (Arc::clone(&self.requests), Arc::clone(&acked), Arc::clone(&asked));
            all.spawn(async move {
                let Ok(mut connection) = Connection::open(to).await else { return };
                for request in requests.iter().cycle().skip(at) {
                    asked.fetch_add(1, Ordering::SeqCst);
                    if connection.ask(request).await.is_err() {
                        return;
                    }
                    acked.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        while all.join_next().await.is_some() {}
        Ok((acked.load(Ordering::SeqCst), asked.load(Ordering::SeqCst)))
    }
}

/// Keeps every connection busy for that long; how many answers came. Anything but a 200 is an error, and so is a check
/// that is denied: a denial is cheaper than what is to be measured.
pub(crate) async fn run(load: &Load, to: SocketAddr, window: Duration) -> Result<u64> {
    let end = clock::now().plus_ms(u64::try_from(window.as_millis())?);
    let mut all = JoinSet::new();
    for at in 0..load.connections {
        let requests = Arc::clone(&load.requests);
        all.spawn(async move {
            let mut connection = Connection::open(to).await?;
            let mut answers = 0_u64;
            // Each begins elsewhere, so that agents come in another order on each connection.
            for request in requests.iter().cycle().skip(at.saturating_mul(131)) {
                if clock::now() >= end {
                    break;
                }
                connection.ask(request).await?;
                answers = answers.saturating_add(1);
            }
            anyhow::Ok(answers)
        });
    }
    let mut answers = 0_u64;
    while let Some(one) = all.join_next().await {
        answers = answers.saturating_add(one??);
    }
    Ok(answers)
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4_096) })
    }

    /// Sends one and waits for the whole answer.
    async fn ask(&mut self, request: &str) -> Result<()> {
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed");
            let text = str::from_utf8(&self.buffer).context("an answer is text")?;
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let (_, length) = length.context("an answer has a length")?;
            if body.len() >= length.parse()? {
                ensure!(head.starts_with("HTTP/1.1 200 ") && !body.contains(DENIED), "{text}");
                return Ok(());
            }
        }
    }
}
