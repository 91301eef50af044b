//! Idempotent: pushes each project's newest policy to the edge until the edge has it.
//!
//! A policy that arrives twice or late changes nothing there, because versions only rise. What is
//! still to be pushed is in the store, so nothing is forgotten when this process dies.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::StatusCode;
use serde::Deserialize;
use shared::ids::ProjectId;
use shared::wire::POLICY_PATH;
use tokio::task::JoinSet;

use super::edge_client::EdgeClient;
use crate::app::App;
use crate::metrics::Pushed;
use crate::store::{DuePush, StoreError};

/// How soon changes of other processes, such as `meter` commands, are seen.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The first wait after a failure; it doubles from there.
const BACKOFF_MS_MIN: u64 = 250;

/// The longest wait after a failure.
const BACKOFF_MS_MAX: u64 = 30_000;

/// How many pushes run at once, so that slow homes do not hold up other projects'.
const PUSHES_MAX: usize = 16;

/// The edge's answer to a push.
#[derive(Debug, Deserialize)]
struct Installed {
    version: u64,
}

/// Pushes for ever; drop the future to stop.
pub async fn run(app: App, edge: EdgeClient) {
    // A start is often the end of a repair: what failed before is tried at once.
    if let Err(error) = app.store.hurry_pushes(app.clock.now()).await {
        tracing::warn!(error = %error, "the waiting policy pushes were not hurried");
    }
    let mut running: JoinSet<DuePush> = JoinSet::new();
    let mut in_flight: BTreeSet<(ProjectId, u64)> = BTreeSet::new();
    loop {
        match due(&app, &in_flight).await {
            Ok(pushes) => {
                for push in pushes {
                    // A newer version may overtake an older one that hangs; the same is sent once.
                    in_flight.insert((push.project.clone(), push.version));
                    running.spawn(push_one(app.clone(), edge.clone(), push));
                }
            }
            Err(error) => tracing::error!(error = %error, "the policies to push cannot be read"),
        }
        tokio::select! {
            () = app.store.policy_changed() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            Some(done) = running.join_next() => match done {
                Ok(push) => { in_flight.remove(&(push.project, push.version)); }
                // A push that died is tried again from the store.
                Err(error) => { tracing::error!(error = %error, "a policy push died"); in_flight.clear(); }
            },
        }
    }
}

/// What is due and not being sent already, as far as there is room.
async fn due(app: &App, in_flight: &BTreeSet<(ProjectId, u64)>) -> Result<Vec<DuePush>, StoreError> {
    let free = PUSHES_MAX.saturating_sub(in_flight.len());
    // Those in flight are still due in the store, so that many more are asked for.
    let limit = u32::try_from(free.saturating_add(in_flight.len())).unwrap_or(u32::MAX);
    let mut pushes = app.store.due_pushes(app.clock.now(), BACKOFF_MS_MAX, limit).await?;
    pushes.retain(|push| !in_flight.contains(&(push.project.clone(), push.version)));
    pushes.truncate(free);
    Ok(pushes)
}

async fn push_one(app: App, edge: EdgeClient, push: DuePush) -> DuePush {
    let result = match deliver(&app, &edge, &push).await {
        Ok(version) => {
            app.metrics.pushed(Pushed::Arrived);
            tracing::debug!(project.id = %push.project, policy.version = version, "the edge has the policy");
            app.store.push_arrived(&push.project, version).await
        }
        Err(error) => {
            app.metrics.pushed(Pushed::Failed);
            let wait_ms = backoff_ms(push.attempts);
            tracing::warn!(
                project.id = %push.project, policy.version = push.version, attempt = push.attempts, wait_ms, error,
                "the policy did not reach the edge and will be sent again"
            );
            app.store.push_failed(&push, app.clock.now().plus_ms(wait_ms)).await
        }
    };
    if let Err(error) = result {
        tracing::error!(project.id = %push.project, error = %error, "the outcome of a policy push was not noted");
        // It is still due; without this pause a broken store would have the edge pushed at full speed.
        tokio::time::sleep(Duration::from_millis(BACKOFF_MS_MAX)).await;
    }
    push
}

/// Sends the newest policy and says which version has arrived.
async fn deliver(app: &App, edge: &EdgeClient, push: &DuePush) -> Result<u64, String> {
    let parts = app.store.policy_parts(&push.project).await.map_err(|error| error.to_string())?;
    let (book, keys) = parts.ok_or("the project is gone")?;
    let signed = app.signed_policy(&book, keys)?;
    let body = serde_json::to_vec(&signed).map_err(|error| error.to_string())?;
    let (status, body) = edge.post_json(POLICY_PATH, body).await.map_err(|error| error.to_string())?;
    if status != StatusCode::OK {
        return Err(format!("the edge answered {status}"));
    }
    // An edge that names no version has nonetheless said that it has what was sent.
    let installed = serde_json::from_slice::<Installed>(&body)
        .map_or(book.project.policy_version, |answer| answer.version);
    if installed < push.version {
        return Err(format!("the edge has version {installed}"));
    }
    Ok(installed.min(book.project.policy_version))
}

/// How long to wait after that many failures before this one.
fn backoff_ms(attempts: u32) -> u64 {
    2_u64
        .checked_pow(attempts)
        .and_then(|factor| BACKOFF_MS_MIN.checked_mul(factor))
        .map_or(BACKOFF_MS_MAX, |ms| ms.min(BACKOFF_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_from_a_quarter_second_to_half_a_minute() {
        let waits: Vec<u64> = (0..9).map(backoff_ms).collect();
        assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(backoff_ms(u32::MAX), BACKOFF_MS_MAX);
    }
}
