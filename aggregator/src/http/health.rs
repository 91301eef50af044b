//! Whether this process lives, and whether it can do its work.

use std::time::Duration;

use axum::extract;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use shared::time::Timestamp;
use tokio::sync::Mutex;

use super::failure::Failure;
use super::route::{Route, Who};
use super::site::Site;
use crate::app::App;

/// How long one answer of the store stands: each question costs a durable write, and anybody may ask.
const ANSWER_STANDS_MS: u64 = 1_000;

/// How long the store may take to answer.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The store's last answer.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<(Timestamp, bool)>>);

impl Readiness {
    async fn is_ready(&self, app: &App) -> bool {
        let mut last = self.0.lock().await;
        let now = app.clock.now();
        if let Some((at, ready)) = *last
            && now >= at
            && now.ms_since(at) < ANSWER_STANDS_MS
        {
            return ready;
        }
        let ready = match tokio::time::timeout(CHECK_TIMEOUT, app.store.check_writable()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "the store takes no writes");
                false
            }
            Err(_) => {
                tracing::warn!("the store did not answer in time");
                false
            }
        };
        *last = Some((now, ready));
        ready
    }
}

/// A process's state.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct State {
    status: &'static str,
}

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/healthz", Who::Anyone, "Say whether the process lives", alive)
            .answers::<State>(200, "It does"),
        Route::get("/readyz", Who::Anyone, "Say whether the store takes writes", ready)
            .answers::<State>(200, "It does"),
    ]
}

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> impl IntoResponse {
    axum::Json(State { status: "ok" })
}

/// `GET /readyz`: the store takes writes.
pub(super) async fn ready(extract::State(site): extract::State<Site>) -> Result<impl IntoResponse, Failure> {
    if site.readiness.is_ready(&site.app).await {
        Ok(axum::Json(State { status: "ready" }))
    } else {
        Err(Failure::not_ready())
    }
}
