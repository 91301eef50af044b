//! Idempotent: pushes each project's newest policy to the edge until the edge has it.
//!
//! A policy that arrives twice or late changes nothing there, because versions only rise. What is
//! still to be pushed is in the store, so nothing is forgotten when this process dies.

use std::ops::RangeInclusive;
use std::time::Duration;

use shared::home::HomeName;
use shared::ids::Mode;
use shared::policy::Place;
use tokio::task::JoinSet;

use super::backoff::backoff_ms;
use super::redis_homes;
use crate::app::{App, Homes};
use crate::counters::Counters;
use crate::metrics::Pushed;
use crate::store::DuePush;

/// How soon changes of other processes, such as `meter` commands, are seen.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The first wait after a failure and the longest.
const BACKOFF_MS: RangeInclusive<u64> = 250..=LEASE_MS;

/// How long a push belongs to the server that took it: longer than any push takes, and as long as a failed
/// one may wait, so that a longer wait tells of a clock that was set back.
const LEASE_MS: u64 = 30_000;

/// How many pushes run at once, so that slow homes do not hold up other projects'.
const PUSHES_MAX: usize = 16;

/// Pushes for ever; drop the future to stop.
pub async fn run(app: App, homes: impl Into<Homes>) {
    let homes = homes.into();
    // A start is often the end of a repair: what failed before is tried at once.
    if let Err(error) = app.store.hurry_pushes(app.clock.now()).await {
        tracing::warn!(error = %error, "the waiting policy pushes were not hurried");
    }
    let mut running: JoinSet<()> = JoinSet::new();
    loop {
        let free = u32::try_from(PUSHES_MAX.saturating_sub(running.len())).unwrap_or(0);
        match app.store.take_pushes(app.clock.now(), LEASE_MS, free).await {
            Ok(pushes) => {
                for push in pushes {
                    // A newer version may overtake an older one that hangs; the same is sent once.
                    running.spawn(push_one(app.clone(), homes.clone(), push));
                }
            }
            Err(error) => tracing::error!(error = %error, "the policies to push cannot be read"),
        }
        tokio::select! {
            () = app.store.policy_changed() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            Some(done) = running.join_next() => if let Err(error) = done {
                // A push that died is taken again when its lease has ended.
                tracing::error!(error = %error, "a policy push died");
            },
        }
    }
}

#[tracing::instrument(
    target = "meter_trace", name = "job", skip_all,
    fields(otel.name = "push a policy", project.id = %push.project, policy.version = push.version)
)]
async fn push_one(app: App, homes: Homes, push: DuePush) {
    let result = match deliver(&app, &homes, &push).await {
        Ok(version) => {
            app.metrics.pushed(Pushed::Arrived);
            tracing::debug!(project.id = %push.project, policy.version = version, "the edge has the policy");
            app.store.push_arrived(&push.project, version).await
        }
        Err(error) => {
            app.metrics.pushed(Pushed::Failed);
            let wait_ms = backoff_ms(&BACKOFF_MS, push.attempts);
            tracing::warn!(
                project.id = %push.project, policy.version = push.version, attempt = push.attempts, wait_ms, error,
                "the policy did not reach the edge and will be sent again"
            );
            app.store.push_failed(&push, app.clock.now().plus_ms(wait_ms)).await
        }
    };
    if let Err(error) = result {
        // It is taken again when its lease has ended.
        tracing::error!(project.id = %push.project, error = %error, "the outcome of a policy push was not noted");
    }
}

/// Sends the newest policy and says which version has arrived.
async fn deliver(app: &App, homes: &Homes, push: &DuePush) -> Result<u64, String> {
    let parts = app.store.policy_parts(&push.project).await.map_err(|error| error.to_string())?;
    let (book, keys) = parts.ok_or("the project is gone")?;
    match (homes.stay(&book.project).place, homes.redis()) {
        (Place::DurableObject, _) => {}
        (Place::Redis, Some(counters)) => return install(app, counters, push).await,
        (Place::Redis, None) => return Err("its homes are in a Redis, and REDIS_URL is not set".to_owned()),
    }
    let signed = app.signed_policy(&book, keys)?;
    let installed = homes.push(&signed).await?;
    let installed = installed.map_or(book.project.policy_version, |installed| installed.version);
    if installed < push.version {
        return Err(format!("the edge has version {installed}"));
    }
    Ok(installed.min(book.project.policy_version))
}

/// Installs the newest policy in the project's homes, and says which version they have.
async fn install(app: &App, counters: &Counters, push: &DuePush) -> Result<u64, String> {
    let mut least = u64::MAX;
    for mode in Mode::ALL {
        let home = HomeName { project: push.project.clone(), mode };
        let version =
            redis_homes::look_after(app, counters, &home).await.map_err(|error| error.to_string())?;
        least = least.min(version.ok_or("the project is gone")?);
    }
    if least < push.version { Err(format!("a home has version {least}")) } else { Ok(least) }
}
