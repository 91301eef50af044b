//! What was served and not yet reported, per agent, with the units of limited agents.
//!
//! An agent's entry holds all that a decision needs to know about it, so that one look-up is enough.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::AGENTS_MAX;
use super::message::{Batch, Lease, Line, Returns, Sight};
use crate::cell::{CellKey, Observed};
use crate::denials::Denials;
use crate::ids::AgentId;
use crate::kind::Kind;
use crate::planted::planted;
use crate::time::{Day, Period, Timestamp};

/// One agent as a holder knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// In which period the home admitted it.
    pub(crate) admitted: Option<Period>,
    /// Units under its own limit, of the admitting period.
    pub(crate) units: u64,
    /// Served and not yet reported.
    pub(crate) served: Vec<(Day, Kind, u64)>,
    /// Observed and not yet reported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    seen: Vec<(Day, Kind, Observed)>,
    /// Refused and not yet reported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    denied: Vec<(Day, Kind, Denials)>,
}

/// All agents of a holder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Book {
    pub(crate) agents: BTreeMap<AgentId, Entry>,
    reserve: BTreeMap<Period, u64>,
    /// Units of those that an earlier life of the sub-home's storage had issued.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    earlier: BTreeMap<Period, u64>,
    /// Units of an earlier life of the issuer that were in hand and are let go.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    let_go: BTreeMap<Period, u64>,
    /// Calls that the home decided, whose answers have left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    calls: Vec<u64>,
    /// Units served and not yet frozen in a batch.
    pub(crate) pending: u64,
    /// Whether something was observed and not yet frozen in a batch.
    #[serde(default)]
    sighted: bool,
    /// When the oldest of them was served.
    pub(crate) since: Option<Timestamp>,
    /// When the oldest request was refused that is not yet frozen in a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) denied_since: Option<Timestamp>,
    /// The version of the terms that this holder knows. What was issued to limited agents under older ones goes
    /// back, because their limits may have been cut.
    #[serde(default)]
    version: u64,
}

/// What is counted: one request's worth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served {
    pub(crate) day: Day,
    pub(crate) kind: Kind,
    pub(crate) units: u64,
}

impl Book {
    /// Counts what `agent` was served at `now`.
    pub(crate) fn count(&mut self, now: Timestamp, agent: &AgentId, served: Served) {
        if let Some(entry) = self.agents.get_mut(agent) {
            entry.count(served);
        } else {
            let counted_for = if self.agents.len() < AGENTS_MAX { agent.clone() } else { AgentId::other() };
            self.agents.entry(counted_for).or_default().count(served);
        }
        self.counted(now, served.units);
    }

    /// Adds what was observed of `agent`'s requests.
    pub(crate) fn observe(&mut self, now: Timestamp, key: &CellKey, observed: Observed) {
        let known = self.agents.contains_key(&key.agent) || self.agents.len() < AGENTS_MAX;
        let agent = if known { key.agent.clone() } else { AgentId::other() };
        let seen = &mut self.agents.entry(agent).or_default().seen;
        match seen.iter_mut().find(|(day, kind, _)| *day == key.day && *kind == key.kind) {
            Some((_, _, sum)) => *sum = sum.plus(observed),
            None => seen.push((key.day, key.kind, observed)),
        }
        self.sighted = true;
        self.counted(now, 0);
    }

    /// Counts requests that were refused.
    ///
    /// Names that are only refused get half of the places, so that whoever sends many of them does not take those of
    /// agents that are served.
    pub(crate) fn deny(&mut self, now: Timestamp, key: &CellKey, denials: Denials) {
        let has_place = self.agents.len() < AGENTS_MAX.div_euclid(2) || self.agents.contains_key(&key.agent);
        let agent = if has_place { key.agent.clone() } else { AgentId::other() };
        let denied = &mut self.agents.entry(agent).or_default().denied;
        match denied.iter_mut().find(|(day, kind, _)| *day == key.day && *kind == key.kind) {
            Some((_, _, sum)) => *sum = sum.plus(denials),
            None => denied.push((key.day, key.kind, denials)),
        }
        if self.denied_since.is_none() {
            self.denied_since = Some(now);
        }
    }

    /// Notes a call that the home decided, whose answer leaves now.
    pub(crate) fn call(&mut self, now: Timestamp, number: u64) {
        self.calls.push(number);
        self.counted(now, 0);
    }

    /// Whether such a call is not yet frozen in a batch.
    pub(crate) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Units served of a period and not yet frozen in a batch.
    pub(crate) fn served_of(&self, period: Period) -> u64 {
        if self.pending == 0 {
            return 0;
        }
        let served = self.agents.values().flat_map(|entry| &entry.served);
        let of_period = served.filter(|(day, _, _)| day.period() == period);
        of_period.fold(0, |sum, (_, _, units)| sum.saturating_add(*units))
    }

    /// Whether nothing waits to be reported.
    pub(crate) fn is_reported(&self) -> bool {
        let counts = self.pending == 0 && !self.sighted && self.denied_since.is_none();
        counts && self.calls.is_empty() && self.let_go.is_empty()
    }

    /// Notes that an entry was counted on directly.
    pub(crate) fn counted(&mut self, now: Timestamp, units: u64) {
        self.pending = self.pending.saturating_add(units);
        if self.since.is_none() {
            self.since = Some(now);
        }
    }

    /// Notes that units were served from the reserve, without a lease.
    pub(crate) fn count_reserve(&mut self, period: Period, units: u64) {
        let sum = self.reserve.entry(period).or_insert(0);
        *sum = sum.saturating_add(units);
    }

    /// Notes that units were served which an earlier life of the sub-home's storage had issued.
    pub(crate) fn count_earlier(&mut self, period: Period, units: u64) {
        if units > 0 {
            let sum = self.earlier.entry(period).or_insert(0);
            *sum = sum.saturating_add(units);
        }
    }

    /// Notes units of an earlier life of the issuer that were in hand and are let go.
    pub(crate) fn let_go(&mut self, now: Timestamp, units: &BTreeMap<Period, u64>) {
        for (period, units) in units.iter().filter(|(_, units)| **units > 0) {
            let sum = self.let_go.entry(*period).or_insert(0);
            *sum = sum.saturating_add(*units);
            self.counted(now, 0);
        }
    }

    /// Adds lines that others reported, at a sub-home.
    pub(crate) fn merge(&mut self, now: Timestamp, batch: &Batch) {
        for line in &batch.lines {
            let CellKey { day, kind, agent } = &line.key;
            self.count(now, agent, Served { day: *day, kind: *kind, units: line.units });
        }
        for Sight { key, observed, denials } in &batch.sights {
            if !observed.is_empty() {
                self.observe(now, key, *observed);
            }
            if !denials.is_empty() {
                self.deny(now, key, *denials);
            }
        }
        for (period, units) in &batch.reserve {
            self.count_reserve(*period, *units);
        }
        self.let_go(now, &batch.let_go);
    }

    /// Takes everything served, and forgets agents that nothing else is known of.
    pub(crate) fn freeze(&mut self, seq: u64) -> Batch {
        let (mut lines, mut sights) = (Vec::new(), Vec::new());
        for (agent, entry) in &mut self.agents {
            for (day, kind, units) in entry.served.drain(..) {
                lines.push(Line { key: CellKey { day, kind, agent: agent.clone() }, units });
            }
            for (day, kind, observed) in entry.seen.drain(..) {
                let key = CellKey { day, kind, agent: agent.clone() };
                sights.push(Sight { key, observed, denials: Denials::NONE });
            }
            for (day, kind, denials) in entry.denied.drain(..) {
                let key = CellKey { day, kind, agent: agent.clone() };
                sights.push(Sight { key, observed: Observed::default(), denials });
            }
        }
        if self.agents.len() >= AGENTS_MAX {
            self.agents.retain(|_, entry| entry.units > 0);
        }
        self.pending = 0;
        self.sighted = false;
        self.since = None;
        self.denied_since = None;
        let (reserve, earlier) = (core::mem::take(&mut self.reserve), core::mem::take(&mut self.earlier));
        let (let_go, calls) = (core::mem::take(&mut self.let_go), core::mem::take(&mut self.calls));
        Batch { seq, lines, sights, reserve, earlier, let_go, calls }
    }

    /// Limits of agents may have changed with these terms: everything under older ones goes back.
    pub(crate) fn new_terms(&mut self, version: u64, returns: &mut Returns) {
        if !planted!(OldLimitsKept) {
            self.version = version;
            self.drain(None, returns);
        }
    }

    /// Takes the agents that a reply admits in its period.
    pub(crate) fn admit(&mut self, lease: &Lease, returns: &mut Returns) {
        let period = lease.period;
        for grant in &lease.agents {
            if grant.units > 0 && lease.version < self.version {
                returns.add_agent(period, &grant.agent, grant.units);
                continue;
            }
            let entry = self.agents.entry(grant.agent.clone()).or_default();
            match entry.admitted {
                Some(known) if known == period => entry.units = entry.units.saturating_add(grant.units),
                Some(known) if known > period => returns.add_agent(period, &grant.agent, grant.units),
                Some(known) => {
                    returns.add_agent(known, &grant.agent, entry.units);
                    (entry.admitted, entry.units) = (Some(period), grant.units);
                }
                None => (entry.admitted, entry.units) = (Some(period), grant.units),
            }
        }
    }

    /// Gives the units of limited agents back, except those of the period `keep`.
    pub(crate) fn drain(&mut self, keep: Option<Period>, returns: &mut Returns) {
        for (agent, entry) in &mut self.agents {
            if entry.units > 0
                && entry.admitted != keep
                && let Some(period) = entry.admitted
            {
                returns.add_agent(period, agent, entry.units);
                entry.units = 0;
            }
        }
    }

    /// The home's new life knows nobody: every agent must be admitted again.
    pub(crate) fn forget_admissions(&mut self) {
        for entry in self.agents.values_mut() {
            (entry.admitted, entry.units) = (None, 0);
        }
    }

    /// Whether `agent` was admitted in `period`.
    pub(crate) fn knows(&self, agent: &AgentId, period: Period) -> bool {
        self.agents.get(agent).is_some_and(|entry| entry.admitted == Some(period))
    }

    /// Units of a limited agent in `period`.
    pub(crate) fn units(&self, agent: &AgentId, period: Period) -> u64 {
        self.agents.get(agent).filter(|entry| entry.admitted == Some(period)).map_or(0, |entry| entry.units)
    }
}

impl Entry {
    /// Counts one request's worth.
    pub(crate) fn count(&mut self, served: Served) {
        let Served { day, kind, units } = served;
        match self.served.iter_mut().find(|(d, k, _)| *d == day && *k == kind) {
            Some((_, _, sum)) => *sum = sum.saturating_add(units),
            None => self.served.push((day, kind, units)),
        }
    }
}
