//! Idempotent: closes every period 72 hours after its end; a period that is closed stays as it is.

use crate::traces;
use std::time::Duration;
use tracing::Instrument as _;

use crate::access::trail::Actor;
use crate::app::App;
use crate::store::StoreError;

/// How often the calendar is looked at; the answer is one look into an index.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Projects that are closed before the calendar is looked at again.
const BATCH_MAX: u32 = 100;

/// Closes for ever; drop the future to stop.
pub async fn run(app: App) {
    let mut moves = app.clock.moves();
    loop {
        match close_due(&app).await {
            // There may be more where there was one; a failure waits, or it would fail at full speed.
            Ok(closed) if closed > 0 => continue,
            Ok(_) => {}
            Err(error) => tracing::error!(error = %error, "periods that are due were not closed"),
        }
        moves.next_within(POLL_INTERVAL).await;
    }
}

/// Closes what is due now, a batch of projects at most, and says how many periods that were.
///
/// # Errors
/// When the store fails; what was closed before stays closed.
pub async fn close_due(app: &App) -> Result<usize, StoreError> {
    let mut count = 0_usize;
    let store = app.store.by(Actor::Job("month_close"));
    for project in store.due_closes(app.clock.now(), BATCH_MAX).await? {
        let span = tracing::info_span!(
            target: traces::TARGET, "job", otel.name = "close months", project.id = %project,
            period = tracing::field::Empty
        );
        match store.close_periods(&project, app.clock.now()).instrument(span.clone()).await {
            Ok(closed) => {
                if !closed.is_empty() {
                    let periods: Vec<String> = closed.iter().map(ToString::to_string).collect();
                    span.record("period", periods.join(","));
                }
                for period in &closed {
                    tracing::info!(project.id = %project, period = %period, "period closed");
                }
                app.metrics.closed(closed.len());
                count = count.saturating_add(closed.len());
            }
            // One ledger that refuses must not keep the others open.
            Err(error @ StoreError::Refused(_)) => {
                tracing::error!(project.id = %project, error = %error, "a period cannot be closed");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
