//! Idempotent: gives a project's policy a new version at the instant at which something comes true for it, such as
//! a cancellation at the end of paid time or a fall at the end of a grace.

use std::time::Duration;

use crate::app::App;
use crate::store::StoreError;

/// How often the calendar is looked at: the edge has to know within two seconds.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Projects that are turned before the calendar is looked at again.
const BATCH_MAX: u32 = 100;

/// Turns for ever; drop the future to stop.
pub async fn run(app: App) {
    let mut moves = app.clock.moves();
    loop {
        match turn_due(&app).await {
            Ok(turned) if turned > 0 => continue,
            Ok(_) => {}
            Err(error) => tracing::error!(error = %error, "planned changes did not come true"),
        }
        moves.next_within(POLL_INTERVAL).await;
    }
}

/// Turns what is due now, a batch at most, and says how many projects that were.
///
/// # Errors
/// When the store fails.
pub async fn turn_due(app: &App) -> Result<usize, StoreError> {
    let mut count = 0_usize;
    for project in app.store.due_turns(app.clock.now(), BATCH_MAX).await? {
        let now = app.clock.now();
        let turned = match app.store.turn(&project, now).await {
            Ok(turned) => turned,
            // One ledger that refuses must not hold up the others.
            Err(error @ StoreError::Refused(_)) => {
                tracing::error!(project.id = %project, error = %error, "a planned change cannot come true");
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some(crossings) = turned {
            app.metrics.crossed(crossings);
            tracing::info!(project.id = %project, "a planned change came true");
            count = count.saturating_add(1);
        }
    }
    Ok(count)
}
