//! What a home has issued in one period, and to which agents.

use alloc::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::AgentId;
use crate::source::{Beyond, Funds};
use crate::units::Units;

/// The percentages of the included quota at which a home does not wait to flush (design §3).
const CROSSING_PERCENTS: [u8; 2] = [80, 100];

/// One period's account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    /// Units issued, to holders or with a decision; never decreases.
    pub(super) issued: Units,
    /// Units that holders gave back unused.
    #[serde(default)]
    pub(super) returned: Units,
    /// What of the units that were issued and not given back is beyond the plan's.
    #[serde(default, skip_serializing_if = "Beyond::is_none")]
    pub(super) beyond: Beyond,
    /// Units that were served for certain.
    #[serde(default)]
    pub(super) settled: Units,
    /// Units settled that the aggregator has.
    #[serde(default)]
    pub(super) acked: Units,
    /// Units out with silent holders that the aggregator knows of.
    #[serde(default, skip_serializing_if = "Units::is_zero")]
    pub(super) stranded: Units,
    /// Units that earlier lives of this storage may have issued, and that nobody will settle here.
    #[serde(default)]
    pub(super) void: Units,
    /// The flush in which it travels that a request was denied for want of units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) exhausted: Option<u64>,
    /// The largest quota that was in force then.
    #[serde(default)]
    pub(super) denied_quota: Units,
    /// Units issued to agents that have a limit of their own, less what they gave back.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) agent_units: BTreeMap<AgentId, Units>,
    /// The named agents of the period, kept only where the plan limits them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) agents: BTreeSet<AgentId>,
}

impl Account {
    /// Units that are gone from the allowance: out with holders, settled, or forfeited.
    pub(super) fn net(&self) -> Units {
        self.issued.saturating_sub(self.returned)
    }

    /// Issues units, and says what of them is beyond the plan's.
    pub(super) fn issue(&mut self, funds: Funds, units: Units) -> Beyond {
        let beyond = funds.issue(self.net().get(), &mut self.beyond, units.get());
        self.issued = self.issued.saturating_add(units);
        beyond
    }

    /// Takes units back, of which so many are beyond the plan's.
    pub(super) fn take_back(&mut self, units: Units, beyond: Beyond) {
        self.returned = self.returned.saturating_add(units);
        self.beyond.remove(beyond.within(units.get()));
        // Holders of releases before do not say what they give back.
        self.beyond = self.beyond.within(self.net().get());
    }

    /// Units that holders have and did not settle, dead ones included.
    pub(super) fn out(&self) -> Units {
        self.net().saturating_sub(self.settled).saturating_sub(self.void)
    }

    /// Units issued that the aggregator does not know of, while so many are out with silent holders.
    pub(super) fn unacked(&self, silent: Units) -> Units {
        let known = self.acked.saturating_add(self.void).saturating_add(self.stranded.min(silent));
        self.net().saturating_sub(known)
    }
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
