//! Runs a call again whose change the database took back for the sake of another one; nothing of it was kept.
//!
//! A call's body can be read once only, so that [`Call`](super::call::Call) leaves it here as soon as it has it.

use std::sync::{Arc, OnceLock};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

use crate::store::TRIES_MAX;

/// Marks the answer to a call whose change was taken back.
#[derive(Debug, Clone, Copy)]
pub(super) struct TakenBack;

/// Where a call's body is kept until it is answered.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<OnceLock<Bytes>>);

/// Keeps the body of a call, so that it can be run again.
pub(super) fn keep_body(head: &Parts, body: &Bytes) {
    if let Some(Kept(kept)) = head.extensions.get() {
        // It is kept already where the call runs again.
        kept.get_or_init(|| body.clone());
    }
}

/// Runs a call until its change stays, at most [`TRIES_MAX`] times in all.
pub(super) async fn run(mut request: Request, next: Next) -> Response {
    let kept = Kept::default();
    request.extensions_mut().insert(kept.clone());
    let (head, body) = request.into_parts();
    let mut answer = next.clone().run(Request::from_parts(head.clone(), body)).await;
    for _ in 1..TRIES_MAX {
        let taken_back = answer.extensions().get::<TakenBack>().is_some();
        let Some(body) = kept.0.get().filter(|_| taken_back) else { break };
        answer = next.clone().run(Request::from_parts(head.clone(), Body::from(body.clone()))).await;
    }
    answer
}
