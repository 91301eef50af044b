//! What a home has issued in one period, and to which agents.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::AgentId;
use crate::units::Units;

/// The percentages of the included quota at which a home does not wait to flush (design §3).
const CROSSING_PERCENTS: [u8; 2] = [80, 100];

/// One period's account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    /// Units issued; never decreases.
    pub(super) issued: Units,
    /// The named agents of the period, kept only where the plan limits them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) agents: BTreeSet<AgentId>,
}

/// Whether `agent` may be used under a limit of `max` agents a period.
pub(super) fn admits(account: Option<&Account>, agent: &AgentId, max: u32) -> bool {
    if !agent.is_named() {
        return true;
    }
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    match account {
        Some(account) => account.agents.contains(agent) || account.agents.len() < max,
        None => max > 0,
    }
}

/// Whether usage passes a percentage of the quota on its way from `before` to `after`.
pub(super) fn crosses(before: Units, after: Units, included: Units) -> bool {
    CROSSING_PERCENTS
        .into_iter()
        .any(|percent| !before.reaches(percent, included) && after.reaches(percent, included))
}
