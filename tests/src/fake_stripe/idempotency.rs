//! Idempotency keys as Stripe keeps them: the first status and body are replayed, errors of the server
//! included; refused parameters are not kept; a key is forgotten after a day.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::refused::Refused;
use super::world::World;

/// How long a key is remembered; Stripe promises no more.
const KEPT_MS: u64 = 24 * 60 * 60 * 1_000;

/// What was answered to a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    at_ms: u64,
    route: String,
    parameters: Value,
    /// Absent while the first call runs.
    pub(super) answer: Option<(u16, Value)>,
}

impl World {
    /// What the key was answered before; otherwise the key is now in use.
    pub(super) fn recall(
        &mut self,
        key: &str,
        route: &str,
        parameters: &Value,
    ) -> Result<Option<(u16, Value)>, Refused> {
        let oldest_ms = self.now_ms.saturating_sub(KEPT_MS);
        self.kept.retain(|_, kept| kept.at_ms > oldest_ms);
        if let Some(kept) = self.kept.get(key) {
            if kept.route != route || kept.parameters != *parameters {
                return Err(Refused::idempotency());
            }
            return kept.answer.clone().map(Some).ok_or_else(Refused::in_progress);
        }
        let fresh = Kept {
            at_ms: self.now_ms,
            route: route.to_owned(),
            parameters: parameters.clone(),
            answer: None,
        };
        self.kept.insert(key.to_owned(), fresh);
        Ok(None)
    }

    /// Keeps what the key was answered, or forgets the key where Stripe does.
    pub(super) fn remember(&mut self, key: &str, status: u16, body: &Value) {
        let refused = (400..500).contains(&status) && status != 402;
        if refused {
            self.kept.remove(key);
        } else if let Some(kept) = self.kept.get_mut(key) {
            kept.answer = Some((status, body.clone()));
        }
    }
}
