//! Idempotent: sums the parts of months from before there were parts, in the background, one month of a project at a time.

use std::time::Duration;

use crate::app::App;
use crate::store::StoreError;

/// How long others have the books to themselves between two months.
const REST: Duration = Duration::from_millis(100);

/// How soon after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Sums until there is nothing left, and then there never is again; drop the future to stop.
pub async fn run(app: App) {
    loop {
        match sum_all(&app).await {
            Ok(months) => {
                if months > 0 {
                    tracing::info!(months, "the parts of months are summed");
                }
                return;
            }
            Err(error) => tracing::error!(error = %error, "the parts of months were not summed"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Sums what is not summed yet, and says how many months that were.
///
/// # Errors
/// When the store fails; what was summed before stays summed.
pub async fn sum_all(app: &App) -> Result<usize, StoreError> {
    let mut months = 0_usize;
    while app.store.sum_parts().await? {
        months = months.saturating_add(1);
        tokio::time::sleep(REST).await;
    }
    Ok(months)
}
