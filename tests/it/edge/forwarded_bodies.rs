//! Bodies that are forwarded: as large as permitted they arrive byte for byte, and larger ones never as a whole.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Request, State};
use http_body_util::BodyExt;
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::raw::{Wire, exchange};
use tests::stack::{Options, Stack};
use tokio::net::TcpListener;

const FORWARDED_MAX: usize = 100 * 1024 * 1024;

/// Many megabytes, on a machine that others use.
const MOVED_MAX: Duration = Duration::from_secs(60);

/// A body is this again and again. Its length has no divisor in common with that of any buffer on the way.
fn pattern() -> Vec<u8> {
    (0..65_521_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

/// What has arrived of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Arrived {
    bytes: usize,
    /// Whether it ended as bodies end.
    whole: bool,
    /// Whether each byte was what was sent at its place.
    same: bool,
}

type Bodies = Arc<Mutex<Vec<Arrived>>>;

/// An upstream that notes what arrives.
async fn upstream() -> Result<(SocketAddr, Bodies)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let (address, bodies) = (listener.local_addr()?, Bodies::default());
    let router = Router::new().fallback(note).with_state(Arc::clone(&bodies));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((address, bodies))
}

async fn note(State(bodies): State<Bodies>, request: Request) {
    let (pattern, mut body) = (pattern(), request.into_body());
    let mut arrived = Arrived { bytes: 0, whole: true, same: true };
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            arrived.whole = false;
            break;
        };
        let mut piece = frame.data_ref().map_or(&[][..], |data| data);
        while !piece.is_empty() {
            let (_, expected) = pattern.split_at(arrived.bytes.rem_euclid(pattern.len()));
            let (begin, rest) = piece.split_at(piece.len().min(expected.len()));
            arrived.same &= expected.starts_with(begin);
            arrived.bytes = arrived.bytes.saturating_add(begin.len());
            piece = rest;
        }
    }
    bodies.lock().unwrap_or_else(PoisonError::into_inner).push(arrived);
}

/// Sends a body of that length, in chunks or announced, and says what it was answered.
async fn send(stack: &Stack, key: &str, bytes: usize, chunked: bool) -> Result<u16> {
    let framing =
        if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {bytes}") };
    let mut wire = Wire::open(stack.edge()).await?;
    wire.write(format!(
        "POST /v1/verify HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {key}\r\n{framing}\r\n\r\n"
    ))
    .await;
    let pattern = pattern();
    let mut left = bytes;
    while left > 0 {
        let (piece, _) = pattern.split_at(left.min(pattern.len()));
        if chunked {
            wire.write(format!("{:x}\r\n", piece.len())).await;
        }
        wire.write(piece).await;
        if chunked {
            wire.write("\r\n").await;
        }
        left = left.saturating_sub(piece.len());
    }
    if chunked {
        wire.write("0\r\n\r\n").await;
    }
    wire.answer(MOVED_MAX).await?.status().context("no answer")
}

#[tokio::test]
async fn bodies_are_forwarded_up_to_a_length_and_no_further() -> Result<()> {
    let (upstream, bodies) = upstream().await?;
    let stack = Stack::start_with(Options { upstream: Some(upstream), ..Options::default() }).await?;
    let project = Project::ready(&stack, "large", Limits::WIDE).await?;
    let arrived = || std::mem::take(&mut *bodies.lock().unwrap_or_else(PoisonError::into_inner));

    for chunked in [true, false] {
        assert_eq!(send(&stack, &project.key, FORWARDED_MAX, chunked).await?, 200, "chunked: {chunked}");
        assert_eq!(arrived(), [Arrived { bytes: FORWARDED_MAX, whole: true, same: true }]);
    }

    // What announces too much is refused before any of it is there, and nothing is asked of the upstream.
    let head = format!("POST /v1/verify HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {}\r\n", project.key);
    let announced = format!("{head}Content-Length: {}\r\n\r\n", FORWARDED_MAX + 1);
    let answer = exchange(stack.edge(), announced).await?;
    assert_eq!(answer.status(), Some(413), "{}", answer.text());
    assert_eq!(arrived(), []);

    // What announces nothing is broken off.
    for bytes in [FORWARDED_MAX + 1, FORWARDED_MAX + 10 * 1024 * 1024] {
        assert_eq!(send(&stack, &project.key, bytes, true).await?, 413, "{bytes} bytes");
        let body =
            eventually("the upstream notices", MOVED_MAX, async || Ok(arrived().into_iter().next())).await?;
        assert!(body.same && !body.whole && body.bytes <= FORWARDED_MAX, "{body:?}");
    }
    assert_eq!(project.verify().await?.status, 200);
    stack.finish()
}
