//! HTTP as bytes, for requests that no client library would send.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What came back.
#[derive(Debug, Default)]
pub struct Bytes(Vec<u8>);

impl Bytes {
    /// The status, or `None` where the connection was closed without an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.text().strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok())
    }

    /// The value of a header in the answer's head.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let text = self.text();
        let (head, _) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(got, _)| got.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    }

    /// Everything as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    fn is_complete(&self) -> bool {
        let Some(end) = self.0.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
        let body = self.0.len().saturating_sub(end.saturating_add(4));
        match self.header("content-length").and_then(|length| length.parse::<usize>().ok()) {
            Some(length) => body >= length,
            None => self.0.ends_with(b"0\r\n\r\n"),
        }
    }
}

/// One connection that is written to and read from as a test sees fit.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    got: Bytes,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn open(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await.with_context(|| format!("cannot connect to {to}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, got: Bytes::default() })
    }

    /// Writes. A peer that has already answered and closed is no failure: its answer tells.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.ok();
    }

    /// Writes, waits, and says whether the peer still takes what is written: a slow client's next step.
    pub async fn write_slowly(&mut self, bytes: &[u8], pause: Duration) -> bool {
        let written = self.stream.write_all(bytes).await.is_ok();
        tokio::time::sleep(pause).await;
        written
    }

    /// Reads until `text` has come; returns all that has come.
    ///
    /// # Errors
    /// When it has not come within that time, or the peer has closed before it came.
    pub async fn read_until(&mut self, text: &str, within: Duration) -> Result<String> {
        let reading = async {
            while !self.got.text().contains(text) {
                anyhow::ensure!(self.read_some().await, "closed before {text:?}: {}", self.got.text());
            }
            Ok(self.got.text())
        };
        timeout(within, reading).await.with_context(|| format!("{text:?} did not come within {within:?}"))?
    }

    /// Reads one whole answer, or what there is when the peer closes.
    ///
    /// # Errors
    /// When neither happens within that time.
    pub async fn answer(mut self, within: Duration) -> Result<Bytes> {
        let reading = async { while !self.got.is_complete() && self.read_some().await {} };
        timeout(within, reading).await.with_context(|| format!("no whole answer within {within:?}"))?;
        Ok(self.got)
    }

    /// Reads until the peer closes.
    ///
    /// # Errors
    /// When it does not close within that time.
    pub async fn closed(mut self, within: Duration) -> Result<Bytes> {
        let reading = async { while self.read_some().await {} };
        timeout(within, reading).await.with_context(|| format!("still open after {within:?}"))?;
        Ok(self.got)
    }

    /// Reads what there is; false once the peer has closed.
    async fn read_some(&mut self) -> bool {
        let mut piece = [0; 4096];
        let length = self.stream.read(&mut piece).await.unwrap_or(0);
        self.got.0.extend_from_slice(piece.get(..length).unwrap_or_default());
        length > 0
    }
}

/// Sends bytes and reads one answer.
///
/// # Errors
/// When there is neither an answer nor a closed connection within ten seconds.
pub async fn exchange(to: SocketAddr, bytes: impl AsRef<[u8]>) -> Result<Bytes> {
    let mut wire = Wire::open(to).await?;
    wire.write(bytes).await;
    wire.answer(Duration::from_secs(10)).await
}
