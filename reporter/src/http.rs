//! What listens on the machine: counts, the calls of the edge, and how the reporter is.
//!
//! No key is asked for. It must not be reached by strangers, nor by pages of a browser on the machine.

mod body;
mod count;
mod decide;
mod gateway;
mod manage;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next as After, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use meter_edge::premise::{Answer, Premise, Rules};
use shared::problem::{ErrorCode, Problem};
use tokio::net::TcpListener;

use crate::agents::AgentNames;
use crate::config::Config;
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::policy;
use crate::sender::Sender;

pub use gateway::Upstream;
pub use manage::Status;

/// Everything that answers.
#[derive(Debug, Clone)]
pub struct App(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    config: Config,
    meter: Meter,
    metrics: Metrics,
    premise: Mutex<Premise>,
    sender: Option<Arc<Sender>>,
    upstream: Option<Upstream>,
}

impl App {
    /// What answers for that meter. Without a sender reports leave as files only.
    ///
    /// # Errors
    /// When the upstream's certificates cannot be read.
    pub fn new(
        config: Config,
        meter: Meter,
        metrics: Metrics,
        sender: Option<Arc<Sender>>,
    ) -> Result<Self, String> {
        let home = policy::home_of(&config.source).map_err(|error| error.to_string())?;
        let key = policy::local_key().map_err(|error| error.to_string())?;
        let upstream = config.upstream.clone().map(Upstream::new).transpose()?;
        let rules = Rules {
            routes: config.routes.clone(),
            signing_keys: config.signing_keys.clone(),
            forwards: upstream.is_some(),
            shadow: config.shadow,
        };
        let premise = Mutex::new(Premise::new(home, key, rules));
        Ok(Self(Arc::new(Parts { config, meter, metrics, premise, sender, upstream })))
    }

    fn premise(&self) -> MutexGuard<'_, Premise> {
        // It only remembers; nothing in it can be half done.
        self.0.premise.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn agents(&self) -> &AgentNames {
        &self.0.config.agents
    }
}

/// The calls.
pub fn router(app: App) -> Router {
    let own = Router::new()
        .route("/count", post(count::count))
        .route("/send", post(manage::send))
        .route("/export", post(manage::export))
        .route("/receipts", post(manage::receipts))
        .route("/internal/clock", post(manage::clock))
        .layer(from_fn(no_pages));
    let shown = Router::new()
        .route("/healthz", get(manage::healthz))
        .route("/metrics", get(manage::metrics))
        .route("/status", get(manage::status));
    let unknown_method =
        || async { problem(ErrorCode::MethodNotAllowed, "This method is not accepted here.") };
    own.merge(shown).method_not_allowed_fallback(unknown_method).fallback(decide::call).with_state(app)
}

/// Answers until `stop` is ready, then lets requests that were begun finish.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    // Answers are small and waited for.
    let listener = listener.tap_io(|stream| {
        stream
            .set_nodelay(true)
            .unwrap_or_else(|error| tracing::debug!(error = %error, "small answers may be late"));
    });
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

/// A page of a browser on this machine can post here too; browsers say so.
async fn no_pages(request: Request, after: After) -> Response {
    if is_of_a_page(&request) {
        return problem(
            ErrorCode::Forbidden,
            "Requests by pages of a browser (those with an Origin) are not accepted here.",
        );
    }
    after.run(request).await
}

fn is_of_a_page(request: &Request) -> bool {
    request.headers().contains_key(header::ORIGIN)
}

fn problem(code: ErrorCode, detail: &str) -> Response {
    answer(Answer::of(&Problem::new(code, detail)))
}

/// An answer as axum sends it.
fn answer(answer: Answer) -> Response {
    let Answer { status, headers, body, .. } = answer;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
