//! Idempotent: tells customers of reporters that are silent, each rung once, counts how all of them stand, and notes that
//! an aggregator runs, so that the time in which none did is not taken for silence.

use std::time::Duration;

use crate::app::App;
use crate::contracts::standing::State;
use crate::store::StoreError;

/// How often it is looked: what is told of is counted in days.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Reporters that are looked at in one round.
const BATCH_MAX: u32 = 1_000;

/// Watches for ever; drop the future to stop.
pub async fn run(app: App) {
    let mut moves = app.clock.moves();
    loop {
        if let Err(error) = watch(&app).await {
            tracing::error!(error = %error, "silent reporters were not looked for");
        }
        moves.next_within(POLL_INTERVAL).await;
    }
}

/// Tells what is due now, and says how much that was.
///
/// # Errors
/// When the store fails.
pub async fn watch(app: &App) -> Result<usize, StoreError> {
    let mut count = 0_usize;
    for reporter in app.store.quiet_reporters(app.clock.now(), BATCH_MAX).await? {
        for hours in app.store.tell_silence(&reporter, app.clock.now()).await? {
            tracing::warn!(reporter.id = %reporter, hours, "a reporter is silent");
            count = count.saturating_add(1);
        }
    }
    let states = app.store.reporter_states(app.clock.now()).await?;
    app.metrics
        .reporters(State::ALL.map(|state| (state.as_str(), states.get(&state).copied().unwrap_or_default())));
    app.store.note_alive(app.clock.now()).await?;
    Ok(count)
}
