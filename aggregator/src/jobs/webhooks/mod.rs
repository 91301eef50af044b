//! Idempotent: sends what is due to the endpoints of webhooks until it arrived or was given up.
//!
//! What is to be sent is in the store, so nothing is forgotten when this process dies; what had been sent and not
//! written down is sent again under the same id. It must never hold up one receiver for another: each has at most one
//! attempt at a time, and those that fail share places of their own.

mod sender;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tracing::Instrument as _;

pub use sender::{ATTEMPT_TIMEOUT, Resolver, Sender, Table};

use crate::app::App;
use crate::clock::Stopwatch;
use crate::metrics::Delivered;
use crate::random;
use crate::store::{Attempt, Claim, Due, Lane, StoreError};
use crate::traces;
use crate::webhooks::endpoint::Format;
use crate::webhooks::health::Health;
use crate::webhooks::schedule::Outcome;
use crate::webhooks::sign::{ID_HEADER, SIGNATURE_HEADER, Secret, TIMESTAMP_HEADER, signatures};
use crate::webhooks::slack;

/// How soon what other processes wrote, such as `meter` commands, and what waited is seen.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// How long a claim holds: an attempt at its longest, and time to write down what came of it.
const CLAIM_MS: u64 = 30_000;

/// Attempts at once to endpoints whose last attempt arrived. They wait more than they work.
const WELL_MAX: usize = 128;

/// Attempts at once to endpoints whose last one did not arrive; most of these take as long as they may.
const FAILING_MAX: usize = 32;

/// Deliveries that an endpoint gets before others have their turn.
const TURN_MAX: usize = 16;

/// Sends for ever; drop the future to stop.
pub async fn run(app: App, sender: Sender) {
    let by = match random::id() {
        Ok(id) => id,
        Err(error) => return tracing::error!(error = %error, "no webhooks are delivered"),
    };
    match app.store.reseal_webhooks(&app.webhooks.keys).await {
        Ok(0) => {}
        Ok(secrets) => tracing::info!(secrets, "webhook secrets were sealed with the newest key"),
        Err(error) => tracing::error!(error = %error, "webhook secrets were not sealed with the newest key"),
    }
    let mut running = Running::default();
    loop {
        for lane in [Lane::Well, Lane::Failing] {
            if let Err(error) = running.start(&app, &sender, &by, lane).await {
                tracing::error!(error = %error, "the webhooks that are due cannot be read");
            }
        }
        tokio::select! {
            () = app.store.deliveries_due() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            () = running.any_done() => {}
        }
    }
}

/// The turns that are under way in this process.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    lanes: BTreeMap<Id, Lane>,
}

impl Running {
    /// Takes up what is due in a lane, as far as there is room.
    async fn start(&mut self, app: &App, sender: &Sender, by: &str, lane: Lane) -> Result<(), StoreError> {
        let most = match lane {
            Lane::Well => WELL_MAX,
            Lane::Failing => FAILING_MAX,
        };
        let taken = self.lanes.values().filter(|running| **running == lane).count();
        let free = u32::try_from(most.saturating_sub(taken)).unwrap_or(u32::MAX);
        let now = app.clock.now();
        for claim in app.store.claim_webhooks(by, lane, (now, now.plus_ms(CLAIM_MS)), free).await? {
            let task = self.tasks.spawn(take_turn(app.clone(), sender.clone(), claim));
            self.lanes.insert(task.id(), lane);
        }
        Ok(())
    }

    /// Waits until one is done with its turn.
    async fn any_done(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => {
                tracing::error!(error = %error, "a webhook's turn died; its claim ends by itself");
                error.id()
            }
            None => return std::future::pending().await,
        };
        self.lanes.remove(&id);
    }
}

/// Delivers what is due for one endpoint, until one attempt fails.
async fn take_turn(app: App, sender: Sender, claim: Claim) {
    for _ in 0..TURN_MAX {
        match deliver_next(&app, &sender, &claim).await {
            Ok(Some(true)) => {}
            Ok(Some(false) | None) => break,
            // The claim ends by itself, which is the pause that a broken store needs.
            Err(error) => {
                return tracing::error!(webhook.id = claim.webhook, error = %error, "a delivery was not written down");
            }
        }
    }
    if let Err(error) = app.store.release_webhook(&claim).await {
        tracing::error!(webhook.id = claim.webhook, error = %error, "a webhook's claim was not given back");
    }
}

/// Makes one attempt and says whether it arrived; `None` where nothing is due.
async fn deliver_next(app: &App, sender: &Sender, claim: &Claim) -> Result<Option<bool>, StoreError> {
    let Some(due) = app.store.next_due(claim, app.clock.now()).await? else { return Ok(None) };
    let span = tracing::info_span!(
        target: traces::TARGET, "job", otel.name = "deliver a webhook", otel.kind = "client",
        project.id = %claim.project, webhook.id = claim.webhook, delivery.id = due.delivery,
        outcome = tracing::field::Empty,
    );
    let attempt = attempt(app, sender, &due).instrument(span.clone()).await;
    span.record("outcome", attempt.outcome.as_str());
    drop(span);
    let now = app.clock.now();
    let health = app.store.record_attempt(claim, &due, &attempt, (now, now.plus_ms(CLAIM_MS))).await?;
    let arrived = matches!(attempt.outcome, Outcome::Accepted(_));
    app.metrics.delivered(if arrived { Delivered::Arrived } else { Delivered::Failed });
    tracing::debug!(
        project.id = %claim.project, webhook.id = claim.webhook, delivery.id = due.delivery,
        outcome = attempt.outcome.as_str(), status = attempt.outcome.status(), duration_ms = attempt.duration_ms,
        "a delivery was tried"
    );
    if let Health::Disabled { because, .. } = health {
        app.metrics.delivered(Delivered::Disabled);
        tracing::warn!(project.id = %claim.project, webhook.id = claim.webhook, reason = %because, "a webhook was disabled");
    }
    Ok(Some(arrived))
}

async fn attempt(app: &App, sender: &Sender, due: &Due) -> Attempt {
    let (at, watch, url) = (app.clock.now(), Stopwatch::start(), due.endpoint.url.clone());
    let opened = due.secrets.iter().filter_map(|sealed| app.webhooks.keys.open(sealed, &due.endpoint.id));
    let secrets: Vec<Secret> = opened.collect();
    let (outcome, response) = if secrets.is_empty() {
        (Outcome::Unsealable, String::new())
    } else {
        let body = match due.endpoint.format {
            Format::Standard => due.message.body.clone(),
            Format::Slack => slack::body(&due.message),
        };
        // Receivers compare it with their own clock, which nobody has moved.
        let signed_at = app.clock.unmoved();
        let headers = [
            (ID_HEADER, due.message.id.clone()),
            (TIMESTAMP_HEADER, signed_at.as_seconds().to_string()),
            (SIGNATURE_HEADER, signatures(&secrets, &due.message.id, signed_at, &body)),
        ];
        sender.send(&url, headers, body).await
    };
    Attempt { at, duration_ms: watch.elapsed_ms(), url, outcome, response }
}
