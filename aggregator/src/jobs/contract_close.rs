//! Idempotent: settles the months of contracts once their projects are closed, and what late cells changed since.

use crate::traces;
use std::time::Duration;
use tracing::Instrument as _;

use crate::access::trail::Actor;
use crate::app::App;
use crate::store::StoreError;

/// How often the months are looked at: they close 72 hours after their end, and nobody waits for the minute.
const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// Settles for ever; drop the future to stop.
pub async fn run(app: App) {
    let mut moves = app.clock.moves();
    loop {
        if let Err(error) = close_due(&app).await {
            tracing::error!(error = %error, "months of contracts were not settled");
        }
        moves.next_within(POLL_INTERVAL).await;
    }
}

/// Settles what is due now, and says how many documents that made.
///
/// # Errors
/// When the store fails; what was settled before stays settled.
pub async fn close_due(app: &App) -> Result<usize, StoreError> {
    let mut count = 0_usize;
    let store = app.store.by(Actor::Job("contract_close"));
    for (contract, period) in store.contract_months(app.clock.now()).await? {
        let span = tracing::info_span!(
            target: traces::TARGET, "job", otel.name = "settle a month of a contract",
            contract.id = %contract, period = %period,
        );
        let settled = store.settle_contract(&contract, period, app.clock.now()).instrument(span).await?;
        if let Some(document) = settled {
            tracing::info!(
                contract.id = %contract, period = %period, number = document.number, amount = %document.amount,
                "a month of a contract was settled"
            );
            count = count.saturating_add(1);
        }
    }
    Ok(count)
}
