//! Idempotent: makes a project's policy anew at the instant at which its plan ends or its grace is over.
//!
//! The ledger knows such instants by itself; only the edge has to be told.

use std::time::Duration;

use crate::app::App;
use crate::store::StoreError;

/// How soon after its instant a change is told: the answer is one look into an index.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Projects that are told before the calendar is looked at again; at a month's turn there may be many.
const BATCH_MAX: u32 = 100;

/// Tells for ever; drop the future to stop.
pub async fn run(app: App) {
    loop {
        match turn_due(&app).await {
            // There may be more where there was one; a failure waits, or it would fail at full speed.
            Ok(turned) if turned > 0 => continue,
            Ok(_) => {}
            Err(error) => tracing::error!(error = %error, "policies whose time has come were not made"),
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Makes the policies that are due, and says how many.
///
/// # Errors
/// When the store fails; what was made before stays.
pub async fn turn_due(app: &App) -> Result<usize, StoreError> {
    let now = app.clock.now();
    let due = app.store.due_turns(now, BATCH_MAX).await?;
    for project in &due {
        app.store.turn(project, now).await?;
        tracing::info!(project.id = %project, "the plan or standing changed by time alone");
    }
    Ok(due.len())
}
