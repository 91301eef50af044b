//! Denials: which one, and for how long, so that not everybody comes back at once.

use alloc::vec::Vec;

use super::Home;
use super::offer::Short;
use crate::decision::Denial;
use crate::lease::math::times;
use crate::lease::message::{Contact, HolderId, Refusal};
use crate::random::Stream;
use crate::time::{Period, Timestamp};
use crate::units::Units;

/// The longest denial, in milliseconds: top-ups are usable within two seconds.
const DENY_MS_MAX: u64 = 2_000;
/// The same for a sub-home, which denies its isolates for longer.
const DENY_CHILD_MS_MAX: u64 = 400;
/// The shortest and longest denial of one agent, in milliseconds.
pub(crate) const DENY_AGENT_MS: (u64, u64) = (700, 1_000);

/// When the period and the minute end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) now: Timestamp,
    pub(super) period_ms: u64,
    pub(super) minute_ms: u64,
}

impl Home {
    /// How long each denial holds: a turn of its own, and never across the turn of its period.
    pub(super) fn refusals(
        &mut self,
        ends: Ends,
        m: &Contact,
        short: &[Short],
        random: &mut Stream,
    ) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let (now, period) = (ends.now, ends.now.period());
        for short in short {
            let denial = if short.denial != Denial::QuotaExhausted {
                short.denial
            } else if self.is_spent(period, Units::from(short.cost)) {
                self.note_exhausted(now, period);
                self.spent_denial(period, Some(m.holder))
            } else {
                // Units are left, but not before the aggregator has acknowledged more.
                Denial::QuotaContended
            };
            let for_ms = if short.agent.is_some() {
                random.between(DENY_AGENT_MS.0, DENY_AGENT_MS.1)
            } else {
                let cap = if m.child { DENY_CHILD_MS_MAX } else { DENY_MS_MAX };
                self.crowd.deny_slot(now, cap, random)
            };
            let spread = random.between(0, times(self.crowd.count(), 2));
            let end = if denial == Denial::RateLimited { ends.minute_ms } else { ends.period_ms };
            let for_ms = for_ms.min(end.saturating_add(spread));
            refusals.push(Refusal { denial, agent: short.agent.clone(), cost: short.cost, for_ms });
        }
        refusals
    }

    /// Whether that many units are not left of the allowance.
    fn is_spent(&self, period: Period, units: Units) -> bool {
        let allowance = self.policy.as_ref().and_then(|policy| self.allowance(policy, period));
        let total = self.net(period).checked_add(units);
        allowance.is_some_and(|allowance| total.is_none_or(|total| total > allowance))
    }

    /// Whether a spent allowance is final, or others still hold some of it.
    pub(super) fn spent_denial(&self, period: Period, asking: Option<HolderId>) -> Denial {
        let live = self
            .crowd
            .stranded()
            .any(|(holder, stranded)| Some(*holder) != asking && self.desk.out(*holder, period) > stranded);
        if live { Denial::QuotaContended } else { Denial::QuotaExhausted }
    }

    /// A quota denial counts as the passing of 100 %: forfeits may keep settled usage below it.
    pub(super) fn note_exhausted(&mut self, now: Timestamp, period: Period) {
        let epoch = self.meta.epoch;
        let quota = self.policy.as_ref().map_or(Units::ZERO, |policy| policy.allowance.included_in(period));
        let account = self.accounts.entry(period).or_default();
        if account.exhausted.is_none() || quota > account.denied_quota {
            (account.exhausted, account.denied_quota) = (Some(epoch), quota);
            self.pace.counted(now, true);
        }
    }

    pub(super) fn reclaim_silent(&mut self, now: Timestamp) {
        let period = now.period();
        let silent: Vec<HolderId> = self
            .desk
            .holders
            .keys()
            .filter(|id| !self.crowd.present().any(|seen| seen == *id))
            .copied()
            .collect();
        for id in silent {
            let out = self.desk.out(id, period);
            self.desk.came_back(id, period, out);
            if let Some(account) = self.accounts.get_mut(&period) {
                account.returned = account.returned.saturating_add(Units::new(out));
            }
        }
    }
}
