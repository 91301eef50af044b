//! Where Stripe's books differed from ours at the last comparison, for operators.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::time::Timestamp;

use crate::store::{Store, StoreError};

const SETTING: &str = "stripe_drift";

/// How many findings of a comparison are kept.
const FINDINGS_MAX: usize = 100;

/// Where Stripe's books differed from ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    /// When they were compared.
    pub at: String,
    /// In how many places they differed.
    pub count: u64,
    /// The first 100, in words.
    pub findings: Vec<String>,
}

impl Store {
    /// Keeps what a comparison has found.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep_drift(&self, findings: Vec<String>, now: Timestamp) -> Result<(), StoreError> {
        let count = u64::try_from(findings.len()).unwrap_or(u64::MAX);
        let findings = findings.into_iter().take(FINDINGS_MAX).collect();
        let drift = serde_json::to_string(&Drift { at: now.to_string(), count, findings })
            .map_err(|error| StoreError::Unwritable(error.to_string()))?;
        self.keep_stripe_setting(SETTING, &drift).await
    }

    /// What the last comparison has found; `None` before the first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn drift(&self) -> Result<Option<Drift>, StoreError> {
        let kept = self.stripe_setting(SETTING).await?;
        let read = |text: String| {
            serde_json::from_str(&text).map_err(|_| StoreError::Unreadable { column: "value", got: text })
        };
        kept.map(read).transpose()
    }
}
