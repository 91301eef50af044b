//! A receiver of webhooks that remembers what it got and answers as it is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;

/// What a receiver got.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Got {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn kind(&self) -> String {
        self.value()["type"].as_str().unwrap_or_default().to_owned()
    }
}

/// How a receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Status(u16),
    /// It takes the request and never answers.
    Hangs,
    /// It sends whoever calls to where nobody may go.
    Redirects(u16),
    /// It answers with a body that has no end.
    Floods,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    mood: Arc<Mutex<Mood>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            got: Arc::default(),
            mood: Arc::new(Mutex::new(Mood::Status(200))),
        };
        let app = Router::new().fallback(take).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hooks?for=demo", self.address)
    }

    pub(crate) fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// What a receiver has that keeps ids: each once, in the order in which they came.
    pub(crate) fn kept(&self) -> Vec<Got> {
        let mut seen = BTreeMap::new();
        self.got().into_iter().filter(|got| seen.insert(got.id.clone(), ()).is_none()).collect()
    }

    pub(crate) fn kinds(&self) -> Vec<String> {
        self.kept().iter().map(Got::kind).collect()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).map_or_else(String::new, |v| v.to_str().unwrap().to_owned());
    receiver.got.lock().unwrap().push(Got {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    let mood = *receiver.mood.lock().unwrap();
    match mood {
        Mood::Status(status) => (StatusCode::from_u16(status).unwrap(), "as told").into_response(),
        Mood::Hangs => std::future::pending().await,
        Mood::Redirects(port) => {
            let to = format!("http://127.0.0.1:{port}/elsewhere");
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
        }
        Mood::Floods => {
            let endless = axum::body::Body::new(Endless);
            (StatusCode::OK, endless).into_response()
        }
    }
}

/// A body that never ends.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(Bytes::from_static(&[b'x'; 4_096])))))
    }
}
