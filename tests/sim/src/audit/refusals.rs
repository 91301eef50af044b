//! Refusals judged as hard as allowances: each by its reason, against what was really left.
//!
//! A refusal is wrong if it was wrong for as long as the answer may have been under way or remembered: what the home
//! knows travels with messages, and a change of the policy is in force everywhere within two seconds. What may have
//! been right at some instant of that time is not counted.

use std::collections::BTreeMap;

use shared::decision::{Ask, Denial};
use shared::policy::{Policy, Status};
use shared::time::{Period, Timestamp};

use super::{Auditor, Verdict};

/// How long a refusal may rest on what was true, without messages that are late.
const LAG_MS: u64 = 2_000;

/// How long a new life of the home's storage may take to learn what earlier ones had issued.
const LEARNING_MS: u64 = 5_000;

/// How often one client may be told that others hold what is left, before that is wrong.
pub const CONTENDED_MAX: u32 = 3;

/// What is refused.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// When, by the home's clock.
    pub at: Timestamp,
    /// The request.
    pub ask: &'a Ask,
    /// Why.
    pub denial: Denial,
    /// How often its client was told before that others hold what is left, while nothing was in the way.
    pub contended: u32,
    /// Units on their way to others who wait at the same holder.
    pub promised: u64,
    /// Whether something was in the way of news just now.
    pub troubled: bool,
}

/// What came of judging refusals.
#[derive(Debug, Clone, Default)]
pub struct Refusals {
    /// Messages may be late by that much, in milliseconds.
    pub late_ms: u64,
    /// Until then the home may know less than it did, of anything but its units.
    unsure_until: Timestamp,
    /// Until then the same of its units.
    units_unsure_until: Timestamp,
    /// Refusals in all.
    pub judged: u64,
    /// Wrong ones, by their reason.
    pub wrong: BTreeMap<&'static str, u64>,
    /// Levels that were told though units were left, or not told though they were reached.
    pub levels_wrong: u64,
    first: Option<String>,
}

impl Refusals {
    /// For how long a refusal may rest on what was true.
    #[must_use]
    pub fn lag_ms(&self) -> u64 {
        LAG_MS + self.late_ms
    }

    /// From now on, and for as long as a refusal lasts, the home may know less than it did.
    pub fn unsure(&mut self, at: Timestamp, for_ms: u64) {
        self.unsure_until = self.unsure_until.max(at.plus_ms(for_ms + self.lag_ms()));
        self.unsure_of_units(at, for_ms);
    }

    /// The storage was lost at that instant. What was issued of minutes and to agents is not known for long; of units it
    /// is known what is held back, and what of it holders have let go since; unless overage was open, when more than the
    /// books know may have been taken from lots.
    pub fn lost(&mut self, at: Timestamp, was_open: bool) {
        self.unsure_until = self.unsure_until.max(at.plus_ms(120_000 + self.lag_ms()));
        self.unsure_of_units(at, if was_open { 120_000 } else { LEARNING_MS });
    }

    fn unsure_of_units(&mut self, at: Timestamp, for_ms: u64) {
        self.units_unsure_until = self.units_unsure_until.max(at.plus_ms(for_ms + self.lag_ms()));
    }

    fn is_unsure(&self, at: Timestamp, denial: Denial) -> bool {
        at < if denial == Denial::QuotaExhausted { self.units_unsure_until } else { self.unsure_until }
    }

    /// A refusal was wrong.
    pub fn count(&mut self, refused: &Refused<'_>, why: &str) {
        *self.wrong.entry(refused.denial.code().as_str()).or_insert(0) += 1;
        let Refused { at, ask, denial, .. } = refused;
        // How long it may go on while others hold units is not settled yet: it is a figure alone.
        if *denial == Denial::QuotaContended {
            return;
        }
        self.first.get_or_insert_with(|| {
            format!("denied wrongly at {at}: {denial:?} of {} for {}: {why}", ask.cost, ask.agent)
        });
    }

    /// # Errors
    /// Says which refusal was the first that was wrong.
    pub fn verdict(&self) -> Verdict {
        self.first.clone().map_or(Ok(()), Err)
    }

    /// A level was told though units were left, or not told though it was reached.
    ///
    /// # Errors
    /// Says so.
    pub fn level_wrong(&mut self, what: impl FnOnce() -> String) -> Verdict {
        self.levels_wrong += 1;
        Err(what())
    }
}

impl Auditor {
    /// Why a refusal is wrong, and how many units could have been had beyond its cost. `None`: it is right, or may be.
    #[must_use]
    pub fn wrong(&self, refused: &Refused<'_>) -> Option<(u64, String)> {
        let Refused { at, ask, denial, promised, .. } = *refused;
        let rests_on_news = !matches!(denial, Denial::QuotaExhausted | Denial::RateLimited);
        if self.refusals.is_unsure(at, denial) || (refused.troubled && rests_on_news) {
            return None;
        }
        let lag_ms = self.refusals.lag_ms();
        let lately = self.in_force(self.since(at));
        let cost = u64::from(ask.cost);
        let spare = |left: u64, of: &str| {
            let spare = left.checked_sub(cost)?;
            Some((spare, format!("{left} {of} are left")))
        };
        match denial {
            Denial::KeyRevoked => {
                let known = lately.iter().all(|policy| policy.keys.contains(&ask.key));
                known.then(|| (0, format!("{} is known", ask.key)))
            }
            Denial::Suspended => {
                let active = lately.iter().all(|policy| policy.status == Status::Active);
                active.then(|| (0, "it is not suspended".to_owned()))
            }
            Denial::QuotaExhausted => spare(self.left(&lately, at)?.saturating_sub(promised), "units"),
            // Where storage may be rolled back, more is issued only once the books have what was.
            Denial::QuotaContended
                if refused.contended >= CONTENDED_MAX
                    && lately.iter().all(|policy| policy.leases.escrow.is_none()) =>
            {
                spare(self.left(&lately, at)?.saturating_sub(self.lately_served(at)), "units, for long,")
            }
            Denial::QuotaContended => None,
            Denial::RateLimited => spare(self.permits_left(&lately, at)?, "permits"),
            Denial::AgentLimit => self.agent_admitted(&lately, refused),
            Denial::AgentQuota => {
                let limits = lately.iter().filter_map(|policy| policy.leases.agents.get(&ask.agent));
                let limit = limits.min()?.get();
                if self.since(at).period() != at.period() {
                    return None;
                }
                let left = limit.saturating_sub(self.hands.agent_out(at, &ask.agent, lag_ms));
                spare(left.min(self.left(&lately, at).unwrap_or(u64::MAX)), "units of the agent")
            }
        }
    }

    /// Since when a refusal at that instant may rest on what was true.
    fn since(&self, at: Timestamp) -> Timestamp {
        Timestamp::from_ms(at.as_ms().saturating_sub(self.refusals.lag_ms()))
    }

    /// Units that can still be served, by the least that was in force lately; `None` where nothing limits them.
    fn left(&self, lately: &[&Policy], at: Timestamp) -> Option<u64> {
        let since = self.since(at).period();
        let of = |period: Period| {
            let of_policy =
                |policy: &&Policy| Self::allowance_after(policy, period, |month| self.served(month));
            let allowed = lately.iter().filter_map(of_policy).min()?;
            let gone = self.served(period)
                + self.hands.lost(period)
                + self.hands.unserved_before(period, self.refusals.lag_ms())
                // What calls of a month before may have taken of lots is not there for this one.
                + self.calls.unserved_until(period);
            Some(allowed.saturating_sub(gone))
        };
        let left = of(at.period());
        if since == at.period() { left } else { of(since).into_iter().chain(left).min() }
    }

    /// Permits of the minute that the home still has, by the fewest that were in force lately.
    fn permits_left(&self, lately: &[&Policy], at: Timestamp) -> Option<u64> {
        let lag_ms = self.refusals.lag_ms();
        // What was heard of the minute before may still be told.
        if at.ms_since(at.minute().start()) <= lag_ms || self.stepping.is_some() {
            return None;
        }
        let rpm = lately.iter().map(|policy| u64::from(policy.rpm)).min()?;
        Some(rpm.saturating_sub(self.hands.permits_out(at, lag_ms)))
    }

    /// Whether an agent was in use already, or there was room for one more.
    fn agent_admitted(&self, lately: &[&Policy], refused: &Refused<'_>) -> Option<(u64, String)> {
        let Refused { at, ask, .. } = refused;
        let max = lately.iter().filter_map(|policy| policy.agents_max).min()?;
        let since = self.since(*at);
        if since.period() != at.period() {
            return None;
        }
        let mut admitted = 0;
        for (agent, when) in self.hands.admitted(at.period()) {
            admitted += 1;
            if *agent == ask.agent && when < since {
                return Some((0, "it is in use already".to_owned()));
            }
        }
        (admitted < max).then(|| (0, format!("{admitted} agents of {max} are in use")))
    }
}
