//! The auditor: it sees every request served and every cell billed, and knows nothing of leases.
//!
//! It must never call the code under test to learn what is right; of the policy it reads the numbers.
//!
//! What it holds the product to, where limits change: units are charged to a month when they are issued, also
//! while overage is open. So a stop or a cap that comes later binds what is served from eleven seconds after it:
//! everything served in the month on leases is within the allowance. Apart from that is only the reserve, which
//! isolates serve from while overage is open and no home answers: never more than [`RESERVE_MAX`] units of one
//! isolate between two answers. A home charges those units when it hears of them, and if the isolate dies, never.

pub mod calls;
pub mod hands;
#[cfg(test)]
mod hands_tests;
pub mod refusals;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shared::cell::CellKey;
use shared::ids::AgentId;
use shared::lease::message::HolderId;
use shared::policy::{Overage, Policy, Status};
use shared::time::{Minute, Period, Timestamp};

use crate::aggregator::Aggregator;

use calls::Calls;
use hands::Hands;
use refusals::Refusals;

/// How long what was cut may still be spent: ten seconds, and one for what was under way.
const CUT_MS: u64 = 11_000;

/// The most units that an isolate may serve between two answers without a lease.
const RESERVE_MAX: u64 = 100;

/// How far back what is served counts as of the moment.
const RECENT_MS: u64 = 2_000;

/// What a run did, for the figures and for shrinking.
pub type Verdict = Result<(), String>;

/// The auditor's own books.
#[derive(Debug, Clone, Default)]
pub struct Auditor {
    served: BTreeMap<Period, u64>,
    cells: BTreeMap<CellKey, u64>,
    agents: BTreeMap<(Period, AgentId), u64>,
    minutes: BTreeMap<Minute, u64>,
    /// Of what was served, what came from reserves.
    reserve: BTreeMap<Period, u64>,
    /// What each holder served from its reserve since it was last answered.
    reserves: BTreeMap<u64, u64>,
    policies: Vec<(Timestamp, Policy)>,
    /// The run's first minute, and how far the home's clock was stepped in all; `None` where it never was.
    stepping: Option<(Minute, u64)>,
    /// Units that dead isolates had not settled, or that a rollback may have lost.
    pub lost_at_most: u64,
    /// Whether anything died that could lose units.
    pub deaths: bool,
    /// Whether the home's storage was rolled back.
    pub rolled_back: bool,
    /// Who has what.
    pub hands: Hands,
    /// What the home decided, until it is known whether it was served.
    pub calls: Calls,
    /// The most units of a month that were ever with holders which were cut off: what of them the home took for lost
    /// is known to it when the cut has ended, and a level may have been told meanwhile.
    pub out_of_reach: BTreeMap<Period, u64>,
    /// What came of judging refusals.
    pub refusals: Refusals,
    /// How many crossings were looked at.
    told: usize,
    /// What was served in the last seconds.
    recent: VecDeque<(Timestamp, u64)>,
}

/// One request that was served.
#[derive(Debug, Clone)]
pub struct Serve {
    /// When, by the home's clock.
    pub at: Timestamp,
    /// What it is counted as.
    pub key: CellKey,
    /// Its cost.
    pub units: u64,
    /// The serial of the holder whose reserve it came from, if it came without a lease.
    pub reserve: Option<u64>,
    /// The holder whose lease it came from; `None` where the home itself decided.
    pub holder: Option<HolderId>,
}

impl Auditor {
    /// The home has a new policy.
    pub fn installed(&mut self, at: Timestamp, policy: &Policy) {
        if self.policies.last().is_none_or(|(_, last)| last.version < policy.version) {
            self.policies.push((at, policy.clone()));
        }
    }

    /// The home's clock is stepped by so many milliseconds, forward or back, in a run that began in that minute.
    ///
    /// A permit belongs to the minute that it was issued for, and holders spend it by how long that had to last. After
    /// a step those are other seconds than the clock shows, so minutes cannot be judged one by one any more: in all
    /// of them together no more is served than they permit.
    pub fn stepped(&mut self, by_ms: u64, first: Minute) {
        let (_, steps_ms) = self.stepping.get_or_insert((first, 0));
        *steps_ms += by_ms;
    }

    /// The permits of every minute that has begun, by a clock that was stepped.
    fn permits_until(&self, at: Timestamp, (first, steps_ms): (Minute, u64), rpm: u64) -> u64 {
        let last = at.plus_ms(steps_ms).minute();
        let minutes = std::iter::successors(Some(first), |minute| Some(minute.next()));
        let begun = minutes.take_while(|minute| *minute <= last).count();
        rpm * u64::try_from(begun).unwrap_or(0)
    }

    /// Units served in a period.
    #[must_use]
    pub fn served(&self, period: Period) -> u64 {
        self.served.get(&period).copied().unwrap_or(0)
    }

    /// Units served in a period for an agent.
    #[must_use]
    pub fn served_by(&self, period: Period, agent: &AgentId) -> u64 {
        self.agents.get(&(period, agent.clone())).copied().unwrap_or(0)
    }

    /// All units served.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.served.values().sum()
    }

    /// The holder of that serial is answered.
    pub fn answered(&mut self, serial: u64) {
        self.reserves.remove(&serial);
    }

    /// What came without a lease is outside the claims about limits, but there is never much of it.
    fn serve_from_reserve(&mut self, serve: &Serve, serial: u64) -> Verdict {
        *self.reserve.entry(serve.at.period()).or_insert(0) += serve.units;
        let since = self.reserves.entry(serial).or_insert(0);
        *since += serve.units;
        if *since > RESERVE_MAX {
            return Err(format!("reserve: holder {serial} served {since} of {RESERVE_MAX} units unanswered"));
        }
        Ok(())
    }

    /// Notes whose lease it came from, and how much is served lately.
    fn serve_from_hand(&mut self, serve: &Serve) {
        let (at, period) = (serve.at, serve.at.period());
        if let Some(holder) = serve.holder {
            self.hands.served(holder, period, serve.units);
        }
        self.recent.push_back((at, serve.units));
        while self.recent.front().is_some_and(|(when, _)| at.ms_since(*when) > RECENT_MS) {
            self.recent.pop_front();
        }
    }

    /// Units served within the last seconds: so many may be on their way to other requests.
    fn lately_served(&self, at: Timestamp) -> u64 {
        let recent = self.recent.iter().rev().take_while(|(when, _)| at.ms_since(*when) <= RECENT_MS);
        recent.map(|(_, units)| units).sum()
    }

    /// Units of a period that were served from reserves.
    #[must_use]
    pub fn reserved(&self, period: Period) -> u64 {
        self.reserve.get(&period).copied().unwrap_or(0)
    }

    /// Units of a period that were served on leases.
    fn leased(&self, period: Period) -> u64 {
        self.served(period).saturating_sub(self.reserved(period))
    }

    /// The version of the policy that the home had at an instant.
    #[must_use]
    pub fn version_at(&self, at: Timestamp) -> u64 {
        let known = self.policies.iter().rev().find(|(since, _)| *since <= at);
        known.or(self.policies.first()).map_or(0, |(_, policy)| policy.version)
    }

    /// Checks one serve against every limit, and books it.
    ///
    /// # Errors
    /// Says which invariant it breaks.
    pub fn serve(&mut self, serve: &Serve) -> Verdict {
        let (at, period, minute) = (serve.at, serve.at.period(), serve.at.minute());
        *self.served.entry(period).or_insert(0) += serve.units;
        let total = self.leased(period);
        *self.cells.entry(serve.key.clone()).or_insert(0) += serve.units;
        let of_agent = self.agents.entry((period, serve.key.agent.clone())).or_insert(0);
        *of_agent += serve.units;
        let of_agent = *of_agent;
        if let Some(serial) = serve.reserve {
            return self.serve_from_reserve(serve, serial);
        }
        self.serve_from_hand(serve);
        let in_minute = self.minutes.entry(minute).or_insert(0);
        *in_minute += serve.units;
        let in_minute = *in_minute;
        let lately = self.in_force(Timestamp::from_ms(at.as_ms().saturating_sub(CUT_MS)));
        let allowance = lately.iter().map(|policy| self.allowance(policy, period)).max().flatten();
        let open = lately.iter().any(|policy| policy.allowance.overage == Overage::Open);
        if lately.iter().all(|policy| policy.status == Status::Suspended) {
            return Err("a suspended project is served".to_owned());
        }
        if let Some(allowance) = allowance.filter(|allowance| !open && total > *allowance) {
            return Err(format!("I1: {total} units served of {allowance} in {period}"));
        }
        // Permits may have been issued in the last sixth of the minute before.
        let this_minute = self.in_force(Timestamp::from_ms(minute.start().as_ms().saturating_sub(CUT_MS)));
        let rpm = this_minute.iter().map(|policy| u64::from(policy.rpm)).max().unwrap_or(0);
        if let Some(stepping) = self.stepping {
            let (all, most) = (self.minutes.values().sum::<u64>(), self.permits_until(at, stepping, rpm));
            if all > most {
                return Err(format!("I9: {all} requests of {most} in all minutes, with a stepped clock"));
            }
        } else if in_minute > rpm {
            return Err(format!("I9: {in_minute} requests of {rpm} in the minute from {}", minute.start()));
        }
        let limit = lately.iter().map(|policy| policy.leases.agents.get(&serve.key.agent)).max().flatten();
        if let Some(limit) = limit.filter(|limit| of_agent > limit.get()) {
            return Err(format!("agent limit: {} has {of_agent} of {limit}", serve.key.agent));
        }
        let agents_max = lately.iter().filter_map(|policy| policy.agents_max).max();
        let agents = self.agents.keys().filter(|(of, agent)| *of == period && agent.is_named()).count();
        // A rolled back home knows only the agents that were reported: it may admit further ones.
        if !self.rolled_back && agents_max.is_some_and(|max| u32::try_from(agents).unwrap_or(u32::MAX) > max)
        {
            return Err(format!("agents: {agents} in {period}, permitted {agents_max:?}"));
        }
        Ok(())
    }

    /// The policies that were in force at some time since `from`.
    fn in_force(&self, from: Timestamp) -> Vec<&Policy> {
        let first = self.policies.iter().rposition(|(at, _)| *at <= from).unwrap_or(0);
        self.policies.iter().skip(first).map(|(_, policy)| policy).collect()
    }

    /// The most that may be served in a period under a policy: `None` sorts below every number, so
    /// open overage is asked for apart.
    fn allowance(&self, policy: &Policy, period: Period) -> Option<u64> {
        Self::allowance_after(policy, period, |month| self.leased(month))
    }

    /// The same where the months before have taken so many units. The books know of no reserve: what came from it takes
    /// from lots as well, and nobody is refused wrongly who is refused for that.
    fn allowance_after(policy: &Policy, period: Period, taken: impl Fn(Period) -> u64) -> Option<u64> {
        let parts = &policy.allowance;
        // A month cannot have used what came once it had ended. Of several open ones, the parts do not tell which
        // had it: then all of them may have.
        let after = parts.credits_after.get();
        let apart = period <= parts.period.next();
        let mut lots = parts.lots.get() + parts.credits.get() - if apart { after } else { 0 };
        let mut month = parts.period;
        while month < period {
            lots = lots.saturating_sub(taken(month).saturating_sub(parts.included_in(month).get()));
            month = month.next();
        }
        if apart && period > parts.period {
            lots += after;
        }
        let cap = match parts.overage {
            Overage::Stop => 0,
            Overage::Capped { units } => units.get(),
            Overage::Open => return None,
        };
        Some(parts.included_in(period).get() + lots + cap)
    }

    /// Checks what is billed against what was served.
    ///
    /// # Errors
    /// Says which cell is billed beyond what was served, or told wrongly.
    pub fn billed(&mut self, aggregator: &Aggregator) -> Verdict {
        for (key, billed) in aggregator.cells() {
            let served = self.cells.get(&key).copied().unwrap_or(0);
            if billed > served + self.calls.presumed(&key) {
                return Err(format!("I2: {billed} billed, {served} served of {key:?}"));
            }
        }
        let mut seen = BTreeSet::new();
        for (period, quota, percent) in &aggregator.told {
            let eighty = seen.contains(&(*period, *quota, 80));
            if !seen.insert((*period, *quota, *percent)) || (*percent == 100 && !eighty) {
                return Err(format!("I6: {percent} % of {quota} in {period} told twice or out of order"));
            }
        }
        self.told_truly(aggregator)
    }

    /// Checks the crossings that were told since the last time: so much was served, or nothing was left.
    ///
    /// By the smallest quota that the month has had up to then: a cut quota that is reached is told at once, and may
    /// have been raised again before any home heard of it.
    fn told_truly(&mut self, aggregator: &Aggregator) -> Verdict {
        let new = aggregator.told.get(self.told..).unwrap_or_default();
        self.told = aggregator.told.len();
        for (period, _, percent) in new {
            let served = self.served(*period) + self.calls.unserved(*period);
            let of_month = |policy: &&Policy| {
                let stated = policy.allowance.period;
                *period == stated || *period == stated.next()
            };
            let policies = || self.policies.iter().map(|(_, policy)| policy).chain(aggregator.policies());
            let quotas =
                policies().filter(of_month).map(|policy| policy.allowance.included_in(*period).get());
            let reached = quotas.min().is_none_or(|quota| served * 100 >= quota * u64::from(*percent));
            let allowed = policies().filter_map(|policy| self.allowance(policy, *period)).min();
            let hands = &self.hands;
            let gone = served
                + hands.lost(*period)
                + hands.under_way()
                + hands.unserved_before(*period, self.refusals.lag_ms())
                + self.out_of_reach.get(period).copied().unwrap_or(0);
            if !reached && !self.rolled_back && allowed.is_none_or(|allowed| gone < allowed) {
                self.refusals.level_wrong(|| {
                    format!(
                        "I6: {percent} % of {period} told with {served} served, {gone} gone of {allowed:?}"
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Checks that no crossing was forgotten.
    fn told_all(&mut self, aggregator: &Aggregator) -> Verdict {
        let parts = &aggregator.policy.allowance;
        for period in [parts.period, parts.period.next()] {
            // A month that is left without a quota has no levels, whatever it had before.
            if parts.included_in(period).get() == 0 {
                continue;
            }
            // Levels go by the largest quota of the month.
            let policies = self.policies.iter().map(|(_, policy)| policy).chain(aggregator.policies());
            let quota = policies.map(|policy| policy.allowance.included_in(period).get()).max().unwrap_or(0);
            for percent in [80, 100] {
                let told = aggregator.told.iter().any(|(of, _, told)| *of == period && *told == percent);
                let billed = aggregator.billed(period);
                if billed > 0 && billed * 100 >= quota * u64::from(percent) && !told {
                    self.refusals.level_wrong(|| {
                        format!("I6: {percent} % of {quota} in {period} not told, {billed} are billed")
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Checks the end, after everything was healed and drained.
    ///
    /// # Errors
    /// Says which cell was served and not billed, beyond what deaths explain.
    pub fn settled(&mut self, aggregator: &Aggregator) -> Verdict {
        self.billed(aggregator)?;
        self.told_all(aggregator)?;
        let billed = aggregator.cells();
        let mut missing = 0;
        for (key, served) in &self.cells {
            let billed = billed.get(key).copied().unwrap_or(0);
            missing += served.saturating_sub(billed);
            if billed < *served && !self.deaths {
                return Err(format!("I3: {served} served, {billed} billed of {key:?}"));
            }
        }
        if missing > self.lost_at_most {
            return Err(format!("I3: {missing} units unbilled, deaths explain {}", self.lost_at_most));
        }
        Ok(())
    }
}
