//! How all reporters stand together, for those who watch the meter.

use std::collections::BTreeMap;

use shared::ids::ContractId;
use shared::time::Timestamp;

use super::{Store, StoreError, contracts, reporters, reports, silences};
use crate::contracts::standing::{State, standing};

impl Store {
    /// How many reporters stand how; those that are retired do not stand at all.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reporter_states(&self, now: Timestamp) -> Result<BTreeMap<State, usize>, StoreError> {
        let mut tx = self.read().await?;
        let downtime = silences::downtime(&mut tx).await?;
        let rows = sqlx::query("SELECT * FROM reporter WHERE retired_ms IS NULL").fetch_all(&mut *tx).await?;
        let (mut states, mut agreements) = (BTreeMap::new(), BTreeMap::<ContractId, _>::new());
        for row in &rows {
            let (reporter, refused) = (reporters::read(row)?, reports::refused_of(row)?);
            if !agreements.contains_key(&reporter.contract) {
                let Some(found) = contracts::find(&mut tx, &reporter.contract).await? else { continue };
                agreements.insert(reporter.contract.clone(), found);
            }
            let Some(agreement) = agreements.get(&reporter.contract) else { continue };
            let state = standing(&reporter, agreement, (refused, &downtime), now).state;
            let count: &mut usize = states.entry(state).or_default();
            *count = count.saturating_add(1);
        }
        Ok(states)
    }
}
