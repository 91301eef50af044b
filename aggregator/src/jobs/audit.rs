//! Idempotent: replays every ledger and compares it with its cells. It reports and never repairs.

use std::time::Duration;

use crate::app::App;
use crate::store::StoreError;

/// How often all ledgers are replayed: each reads all of its project's cells.
const AUDIT_INTERVAL: Duration = Duration::from_secs(300);

/// Projects whose ids are read at once.
const PAGE: u32 = 500;

/// Audits for ever; drop the future to stop.
pub async fn run(app: App) {
    loop {
        if let Err(error) = audit_all(&app).await {
            tracing::error!(error = %error, "the ledgers were not audited");
        }
        tokio::time::sleep(AUDIT_INTERVAL).await;
    }
}

/// Audits every project and says how many findings there are.
///
/// # Errors
/// When the store fails.
pub async fn audit_all(app: &App) -> Result<usize, StoreError> {
    let (mut projects, mut count) = (0_usize, 0_usize);
    let mut after = String::new();
    loop {
        let page = app.store.project_ids(&after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.to_string();
        for project in page {
            let findings = app.store.audit(&project).await?.unwrap_or_default();
            for finding in &findings {
                tracing::error!(project.id = %project, finding, "the ledger does not balance");
            }
            projects = projects.saturating_add(1);
            count = count.saturating_add(findings.len());
        }
    }
    app.metrics.audited(count);
    tracing::info!(projects, findings = count, "the ledgers were audited");
    Ok(count)
}
