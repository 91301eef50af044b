//! Idempotent: brings projects under their contracts on the first day, and out of them after the last.

use std::time::Duration;

use crate::access::trail::Actor;
use crate::app::App;
use crate::store::StoreError;

/// How often the calendar is looked at; the ledgers have both instants exact to the millisecond.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Projects that are turned before the calendar is looked at again.
const BATCH_MAX: u32 = 100;

/// Turns for ever; drop the future to stop.
pub async fn run(app: App) {
    let mut moves = app.clock.moves();
    loop {
        match turn_due(&app).await {
            // What is refused stays due: it must not be tried at full speed.
            Ok(turned) if turned > 0 => continue,
            Ok(_) => {}
            Err(error) => tracing::error!(error = %error, "contracts that are due were not applied"),
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
    let store = app.store.by(Actor::Job("contract_turn"));
    for (contract, project) in store.due_contracts(app.clock.now(), BATCH_MAX).await? {
        match store.turn_contract(&contract, &project, app.clock.now()).await? {
            None => {
                tracing::info!(contract.id = %contract, project.id = %project, "a contract began or ended");
                count = count.saturating_add(1);
            }
            Some(why) => {
                tracing::error!(contract.id = %contract, project.id = %project, why, "a contract was not applied");
            }
        }
    }
    Ok(count)
}
