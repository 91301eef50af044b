//! CSV that is sent while it is read: some pieces at most are in memory, however long the report is.
//!
//! A report that cannot be read to its end must not look like a whole one: its connection is broken off.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::mpsc;

use super::failure::Failure;
use crate::store::Piece;

/// CSV with a head.
const CSV: HeaderValue = HeaderValue::from_static("text/csv; charset=utf-8; header=present");

/// Pieces that were read and not yet sent.
pub(super) const PIECES_MAX: usize = 2;

/// A body that is known already.
pub(super) fn whole(csv: String) -> Response {
    ([(header::CONTENT_TYPE, CSV)], csv).into_response()
}

/// Answers with the head and one line for each row, as pieces come, and tells what they are as of. Fails as any other
/// call if that does.
pub(super) async fn pieces<T: Send + 'static>(
    head: &'static str,
    mut pieces: mpsc::Receiver<Piece<T>>,
    line: fn(&T) -> String,
) -> Result<(Response, u64), Failure> {
    let watermark = match pieces.recv().await {
        Some(Piece::Failed(error)) => return Err(error.into()),
        Some(Piece::AsOf(watermark)) => watermark,
        Some(Piece::Rows(_) | Piece::End) | None => {
            return Err(Failure::internal(&"an export did not begin with what it is as of"));
        }
    };
    let begun = (Some(head), None, pieces);
    let body = stream::try_unfold(begun, move |(head, next, mut pieces)| async move {
        let piece = match next {
            Some(piece) => Some(piece),
            None => pieces.recv().await,
        };
        match piece {
            Some(Piece::Rows(rows)) => {
                let text: String = head.map(str::to_owned).into_iter().chain(rows.iter().map(line)).collect();
                Ok(Some((Bytes::from(text), (None, None, pieces))))
            }
            // A head without lines is a whole report too.
            Some(Piece::End) => {
                let rest =
                    head.map(|head| (Bytes::from_static(head.as_bytes()), (None, Some(Piece::End), pieces)));
                Ok(rest)
            }
            Some(Piece::Failed(error)) => {
                tracing::warn!(error = %error, "a report was broken off: the store cannot be used at present");
                Err(io::Error::other(error))
            }
            Some(Piece::AsOf(_)) => Err(io::Error::other("the report began twice")),
            None => Err(io::Error::other("the report took too long to be read to its end")),
        }
    });
    Ok((([(header::CONTENT_TYPE, CSV)], Body::from_stream(body)).into_response(), watermark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    async fn sent(all: Vec<Piece<u32>>) -> Result<Option<String>, Failure> {
        let (to, received) = mpsc::channel(8);
        for piece in all {
            to.send(piece).await.unwrap();
        }
        drop(to);
        let (answer, watermark) = pieces("n\r\n", received, |n| format!("{n}\r\n")).await?;
        assert_eq!(watermark, 7);
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
        Ok(body.ok().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
    }

    fn failed() -> Piece<u32> {
        Piece::Failed(StoreError::Unsafe("it is gone".to_owned()))
    }

    #[tokio::test]
    async fn what_does_not_come_to_its_end_is_broken_off() {
        let rows = |numbers: &[u32]| Piece::Rows(numbers.to_vec());
        let begun = || Piece::AsOf(7);
        let whole = sent(vec![begun(), rows(&[1, 2]), rows(&[3]), Piece::End]).await.unwrap();
        assert_eq!(whole.as_deref(), Some("n\r\n1\r\n2\r\n3\r\n"));
        assert_eq!(sent(vec![begun(), Piece::End]).await.unwrap().as_deref(), Some("n\r\n"));
        assert_eq!(sent(vec![begun(), rows(&[1]), failed()]).await.unwrap(), None, "the body is an error");
        assert_eq!(sent(vec![begun(), rows(&[1])]).await.unwrap(), None, "nobody said that this was all");
        assert!(sent(vec![failed()]).await.is_err(), "nothing was sent yet: a problem");
        assert!(sent(vec![]).await.is_err());
    }
}
