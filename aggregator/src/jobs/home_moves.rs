//! Idempotent: brings homes that are leaving a place to the other, once all of a project's have ended where they are.
//!
//! Homes in Durable Objects end by themselves; those in a Redis are looked after here. What a move has come to is in the
//! books and in the homes' own rows, so nothing is forgotten when this process dies, and any number of them may do it.

use std::time::Duration;

use shared::home::HomeName;
use shared::ids::{Mode, ProjectId};
use shared::policy::Place;

use super::redis_homes;
use crate::app::App;

/// How often it is looked whether homes have ended: nothing is granted meanwhile.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How often where none are leaving, which is nearly always.
const QUIET_INTERVAL: Duration = Duration::from_secs(1);

/// Projects that are looked after in one round.
const BATCH_MAX: u32 = 100;

/// Looks for ever; drop the future to stop.
pub async fn run(app: App) {
    loop {
        let mut pause = QUIET_INTERVAL;
        match app.store.moving_homes(BATCH_MAX).await {
            Ok(moving) => {
                for (project, from) in moving {
                    pause = POLL_INTERVAL;
                    if let Err(why) = bring(&app, &project, from).await {
                        tracing::warn!(project.id = %project, why, "a project's homes cannot leave yet, and are tried again");
                    }
                }
            }
            Err(error) => tracing::error!(error = %error, "it is not known which homes are leaving"),
        }
        tokio::time::sleep(pause).await;
    }
}

/// Looks once whether a project's homes have ended, and has the other place have them if so.
async fn bring(app: &App, project: &ProjectId, from: Place) -> Result<(), String> {
    if from == Place::Redis {
        let counters = app.homes.redis().ok_or("they are in a Redis, and REDIS_URL is not set")?;
        for mode in Mode::ALL {
            let home = HomeName { project: project.clone(), mode };
            redis_homes::look_after(app, counters, &home).await.map_err(|error| error.to_string())?;
        }
    }
    if app.store.arrive_homes(project, app.clock.now()).await.map_err(|error| error.to_string())? {
        tracing::info!(project.id = %project, "a project's homes have moved");
    }
    Ok(())
}
