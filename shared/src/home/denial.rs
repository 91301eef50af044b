//! Denials: which one, and for how long, so that not everybody comes back at once.

use alloc::vec::Vec;

use super::Home;
use super::offer::Short;
use crate::decision::{Ask, Denial};
use crate::lease::math::times;
use crate::lease::message::{Contact, HolderId, Refusal};
use crate::planted::planted;
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
            let denial = match short.denial {
                // Units are left, but not before the aggregator has acknowledged more: that takes a moment, and nobody
                // is refused for it. What has become silent since the last flush is no event that a flush follows.
                Denial::QuotaExhausted if self.is_short_of_room(now, Units::from(short.cost)) => {
                    self.pace.waited_for(now);
                    continue;
                }
                Denial::QuotaExhausted if !self.is_spent(period, Units::from(short.cost)) => {
                    Denial::QuotaContended
                }
                Denial::QuotaExhausted => {
                    let live =
                        self.live_out(period, Some(m.holder)).saturating_add(self.live_with(period, m));
                    self.note_exhausted(now, live);
                    self.spent_denial(period, short.cost, live)
                }
                // The minute's other permits are with holders that have units to spend them with.
                Denial::RateLimited if self.permits_would_do(now, short.cost) => Denial::QuotaContended,
                other @ (Denial::KeyRevoked
                | Denial::Suspended
                | Denial::AgentLimit
                | Denial::RateLimited
                | Denial::QuotaContended
                | Denial::AgentQuota) => other,
            };
            if denial == Denial::QuotaContended && !planted!(NeverCalledBack) {
                self.crowd.contend(now);
            }
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
    pub(super) fn is_spent(&self, period: Period, units: Units) -> bool {
        let allowance = self.policy.as_ref().and_then(|policy| self.allowance(policy, period));
        let total = self.net(period).checked_add(units);
        allowance.is_some_and(|allowance| total.is_none_or(|total| total > allowance))
    }

    /// Units of the period that present holders may give back, without those of `except`.
    pub(super) fn live_out(&self, period: Period, except: Option<HolderId>) -> u64 {
        if planted!(OutIsSpent) {
            return 0;
        }
        self.crowd
            .stranded()
            .filter(|(holder, _)| Some(**holder) != except)
            .map(|(holder, stranded)| self.spare(period, *holder, stranded))
            .fold(0, u64::saturating_add)
    }

    /// The same of who writes: all but what it says is served is in hand or on its way, perhaps by another lane.
    fn live_with(&self, period: Period, m: &Contact) -> u64 {
        if planted!(OutIsSpent) {
            return 0;
        }
        let served = self.desk.unreported(m);
        let spent = m.stranded.saturating_add(served).saturating_add(self.calls.units(m.holder));
        self.desk.out(m.holder, period).saturating_sub(spent)
    }

    /// The same of all holders that are present at that time, in its period.
    pub(super) fn live_at(&self, now: Timestamp) -> u64 {
        let present = self.crowd.stranded_at(now);
        present
            .map(|(holder, stranded)| self.spare(now.period(), *holder, stranded))
            .fold(0, u64::saturating_add)
    }

    /// Units of a holder that it may give back; so many are stranded with its isolates.
    fn spare(&self, period: Period, holder: HolderId, stranded: u64) -> u64 {
        let out = self.desk.out(holder, period).saturating_sub(stranded);
        // What was allowed already is spent, whoever says so later.
        out.saturating_sub(self.calls.units(holder))
    }

    /// Why so many units are refused while `live` ones are with holders that may give them back: for good only where
    /// even all of these would not be enough.
    pub(super) fn spent_denial(&self, period: Period, cost: u32, live: u64) -> Denial {
        let policy = self.policy.as_ref();
        let allowance = policy.and_then(|policy| self.allowance(policy, period)).unwrap_or(Units::MAX);
        // More may be issued than the allowance is since it was cut.
        let spent = self.net(period).saturating_sub(Units::new(live));
        if allowance.saturating_sub(spent) >= Units::from(cost) && live > 0 {
            Denial::QuotaContended
        } else {
            Denial::QuotaExhausted
        }
    }

    /// Whether a minute that has too few permits left for that cost would have enough, if holders gave theirs back.
    ///
    /// What a holder has of them is not known here, but it is no more than its units. One request is not worth asking
    /// for: its minute ends before long.
    fn permits_would_do(&self, now: Timestamp, cost: u32) -> bool {
        let Some(policy) = self.policy.as_ref().filter(|policy| (2..=policy.rpm).contains(&cost)) else {
            return false;
        };
        let left = u64::from(self.meta.window.remaining(now, policy.rpm));
        let live = self.live_out(now.period(), None);
        live > 0 && left.saturating_add(live) >= u64::from(cost)
    }

    /// A denial of a single unit, while nobody has one that may come back, counts as the passing of 100 %: forfeits may
    /// keep settled usage below it. A request for more units than are left says nothing of the quota.
    pub(super) fn note_exhausted(&mut self, now: Timestamp, live: u64) {
        let period = now.period();
        let passes = live == 0 && self.is_spent(period, Units::new(1));
        if !passes && !planted!(CostlyDenialPasses) {
            return;
        }
        let epoch = self.meta.epoch;
        let quota = self.policy.as_ref().map_or(Units::ZERO, |policy| policy.allowance.included_in(period));
        let account = self.accounts.entry(period).or_default();
        if account.exhausted.is_none() || quota > account.denied_quota {
            (account.exhausted, account.denied_quota) = (Some(epoch), quota);
            self.pace.counted(now, true);
        }
    }

    /// Units that others may give back to a client of `asking`, which is asked for by itself: what it has in hand it
    /// would have spent, unless the request only looks.
    pub(super) fn live_for(&self, period: Period, ask: &Ask, asking: Option<HolderId>) -> u64 {
        self.live_out(period, asking.filter(|_| !ask.dry_run))
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
