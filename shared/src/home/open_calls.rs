//! Calls that the home has decided for holders, until it is known whether their answers left.
//!
//! A decided call is issued to its holder: it counts against every limit at once, and becomes part of a cell when the
//! holder says that the answer left, or has been silent for so long that it must be dead. What did not leave is taken
//! back. A number counts once, however often and in whatever order its messages come.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::call::CallId;
use super::rows::Writes;
use super::{Home, NoPolicy};
use crate::cell::CellKey;
use crate::decision::{Ask, Verdict};
use crate::lease::message::HolderId;
use crate::planted::planted;
use crate::policy::Policy;
use crate::source::{Beyond, Paid};
use crate::time::{Minute, Period, Timestamp};
use crate::units::Units;

/// A holder that says nothing for so long is dead, in milliseconds: its answers may have left, and are counted.
///
/// Longer than a process is stopped or cut off that lives on, and shorter than a reader of reports waits.
pub const SILENT_MS: u64 = 20_000;
/// Where the home itself looks so much later, it was stopped too, and what it would have heard is still to come.
const LATE_MS: u64 = 5_000;
/// The most numbers that are remembered one by one; far more than one instance has under way.
const SEEN_MAX: usize = 4_096;

/// A call that was allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenCall {
    /// What it is counted as once its answer has left.
    #[serde(flatten)]
    key: CellKey,
    units: u32,
    minute: Minute,
    /// Whether the holder itself counts it, once its upstream has answered.
    #[serde(default)]
    held: bool,
    /// What of its units is beyond the plan's.
    #[serde(default, skip_serializing_if = "Beyond::is_none")]
    beyond: Beyond,
    /// When it is concluded unless its holder is heard by then; only where homes are kept by no process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dead_at: Option<Timestamp>,
}

impl OpenCall {
    fn paid(&self) -> Paid {
        self.beyond.of(self.units.into())
    }
}

/// The numbers of a holder's calls that are known here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Up to this one, all.
    below: u64,
    /// And these.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    above: BTreeSet<u64>,
}

impl Seen {
    /// Notes a number, and says whether it is new.
    pub(super) fn note(&mut self, number: u64) -> bool {
        if number <= self.below || self.above.contains(&number) {
            return false;
        }
        self.above.insert(number);
        while let Some(first) = self.above.first().copied()
            && (self.above.len() > SEEN_MAX || first == self.below.saturating_add(1))
        {
            self.above.pop_first();
            self.below = first;
        }
        true
    }
}

/// A holder with open calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Caller {
    /// When it was heard last; not stored.
    heard: Timestamp,
    calls: u64,
    units: u64,
    /// The last of its calls' times to be concluded.
    dead_at: Option<Timestamp>,
}

impl Caller {
    /// When its calls are concluded, if that was said after it was heard last.
    fn ends_at(&self) -> Option<Timestamp> {
        self.dead_at.filter(|at| *at >= self.heard.plus_ms(SILENT_MS.saturating_add(SILENT_MS)))
    }
}

/// All open calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OpenCalls {
    calls: BTreeMap<CallId, OpenCall>,
    callers: BTreeMap<HolderId, Caller>,
    /// Units of the calls, per period.
    periods: BTreeMap<Period, u64>,
    /// No process keeps this home: whoever looks knows of its holders what is in the rows.
    is_read_anew: bool,
}

impl OpenCalls {
    /// Takes a call, new or from its row.
    pub(super) fn insert(&mut self, now: Timestamp, id: CallId, call: OpenCall) {
        let caller = self.callers.entry(id.holder).or_insert_with(|| Caller {
            heard: now,
            calls: 0,
            units: 0,
            dead_at: None,
        });
        caller.dead_at = caller.dead_at.max(call.dead_at);
        caller.calls = caller.calls.saturating_add(1);
        caller.units = caller.units.saturating_add(call.units.into());
        let units = self.periods.entry(call.key.day.period()).or_insert(0);
        *units = units.saturating_add(call.units.into());
        self.calls.insert(id, call);
    }

    fn remove(&mut self, id: CallId) -> Option<OpenCall> {
        let call = self.calls.remove(&id)?;
        let period = call.key.day.period();
        if let Some(units) = self.periods.get_mut(&period) {
            *units = units.saturating_sub(call.units.into());
            if *units == 0 {
                self.periods.remove(&period);
            }
        }
        if let Some(caller) = self.callers.get_mut(&id.holder) {
            caller.calls = caller.calls.saturating_sub(1);
            caller.units = caller.units.saturating_sub(call.units.into());
            if caller.calls == 0 {
                self.callers.remove(&id.holder);
            }
        }
        Some(call)
    }

    /// A holder was heard.
    pub(super) fn heard(&mut self, now: Timestamp, holder: HolderId) {
        if let Some(caller) = self.callers.get_mut(&holder) {
            caller.heard = now;
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Units of a holder's open calls: they are out with it, and it spends them no more.
    pub(super) fn units(&self, holder: HolderId) -> u64 {
        self.callers.get(&holder).map_or(0, |caller| caller.units)
    }

    /// Units of all open calls of that period.
    pub(super) fn units_of(&self, period: Period) -> Units {
        Units::new(self.periods.get(&period).copied().unwrap_or(0))
    }

    /// When the next holder has been silent for too long.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let due = |caller: &Caller| caller.ends_at().unwrap_or_else(|| caller.heard.plus_ms(SILENT_MS));
        self.callers.values().map(due).min()
    }

    /// Takes each holder for heard when its lanes say, or in the minute of its last call. Else every look from rows would be
    /// the first that hears of it.
    pub(super) fn presume_heard(&mut self, now: Timestamp, mut heard: BTreeMap<HolderId, Timestamp>) {
        self.is_read_anew = true;
        for (id, call) in &self.calls {
            let last = heard.entry(id.holder).or_default();
            *last = call.minute.end().max(*last);
        }
        for (holder, caller) in self.callers.iter_mut() {
            caller.heard = heard.get(holder).copied().unwrap_or_default().min(now);
        }
    }

    /// Says of holders that have been silent for so long when their calls are concluded, where nobody could have waited for
    /// them until now: what they would have said may be on its way. The calls whose rows that changes.
    fn give_notice(&mut self, now: Timestamp) -> Vec<CallId> {
        if !self.is_read_anew {
            return Vec::new();
        }
        let silent = |caller: &Caller| caller.ends_at().is_none() && now >= caller.heard.plus_ms(SILENT_MS);
        let mut changed = Vec::new();
        for (holder, caller) in self.callers.iter_mut().filter(|(_, caller)| silent(caller)) {
            let at = now.plus_ms(SILENT_MS);
            caller.dead_at = Some(at);
            for (id, call) in self.calls.iter_mut().filter(|(id, _)| id.holder == *holder) {
                call.dead_at = Some(at);
                changed.push(*id);
            }
        }
        changed
    }

    /// The calls of holders that are dead by now.
    fn of_the_dead(&mut self, now: Timestamp) -> Vec<CallId> {
        let mut dead = Vec::new();
        for (holder, caller) in self.callers.iter_mut() {
            let due = caller.heard.plus_ms(SILENT_MS);
            if self.is_read_anew {
                if caller.ends_at().is_some_and(|at| now >= at) {
                    dead.push(*holder);
                }
            } else if now >= due.plus_ms(LATE_MS) {
                caller.heard = now;
            } else if now >= due {
                dead.push(*holder);
            }
        }
        if dead.is_empty() {
            return Vec::new();
        }
        self.calls.keys().filter(|id| dead.contains(&id.holder)).copied().collect()
    }

    /// Forgets all of them: a new life of the storage has begun.
    pub(super) fn clear(&mut self, writes: &mut Writes) {
        for id in core::mem::take(self).calls.keys() {
            writes.put::<OpenCall>(row_key(*id), None);
        }
    }
}

impl Home {
    /// Knows of holders with open calls what rows tell, as whoever looks after a home that no process keeps.
    pub(super) fn presume_callers(&mut self, now: Timestamp) {
        let heard = self.desk.heard(now, u64::MAX);
        self.calls.presume_heard(now, heard);
    }

    /// Decides a call of a holder under its number; `None` where it was taken back or concluded already, so that
    /// nobody waits for its answer. Sent again before that, it is allowed again and nothing is counted.
    ///
    /// # Errors
    /// [`NoPolicy`] until a policy is installed; nothing is changed then.
    pub fn decide_call(
        &mut self,
        now: Timestamp,
        ask: &Ask,
        id: CallId,
    ) -> Result<Option<Verdict>, NoPolicy> {
        if id.number == 0 || ask.dry_run {
            return self.decide_for(now, ask, Some(id.holder)).map(Some);
        }
        let now = self.tick(now);
        let period = now.period();
        let numbers = self.numbers(now)?;
        self.calls.heard(now, id.holder);
        if !self.desk.note_call(id, period) {
            let paid = self.calls.calls.get(&id).map(OpenCall::paid);
            return Ok(paid.is_some().then_some(Verdict { denial: None, numbers, paid }));
        }
        let policy = self.policy.as_ref().ok_or(NoPolicy)?;
        let denial = self.denial(now, policy, ask, Some(id.holder));
        let mut paid = None;
        if denial.is_none() {
            let limits = Limits::of(policy, ask);
            let key = CellKey { day: now.day(), kind: ask.kind, agent: ask.agent.clone() };
            let beyond = self.charge(now, ask, limits);
            let (units, minute) = (ask.cost, now.minute());
            let call = OpenCall { key, units, minute, held: ask.held, beyond, dead_at: None };
            paid = Some(call.paid());
            self.writes.put(row_key(id), Some(&call));
            self.calls.insert(now, id, call);
            self.desk.issued_anew(id.holder, period, ask.cost.into());
            self.charged(now);
        }
        // A denied call's number is kept as an allowed one's: its holder will say no more of it, and a copy that comes
        // after a crash must not be allowed.
        self.desk.write_holder(id.holder, &mut self.writes);
        Ok(Some(Verdict { paid, ..self.told(now, ask, denial, Some(id.holder))? }))
    }

    /// Takes a holder's word on a call: its answer has left as an allowance, or never will.
    pub(super) fn conclude_call(&mut self, now: Timestamp, id: CallId, has_left: bool) {
        let Some(call) = self.calls.remove(id) else {
            // It may still be under way: whoever asks under that number later is not served.
            self.desk.note_call(id, now.period());
            return;
        };
        self.writes.put::<OpenCall>(row_key(id), None);
        let (period, units) = (call.key.day.period(), Units::from(call.units));
        match (has_left || planted!(VoidCallBilled), call.held) {
            (true, true) => return,
            (true, false) => {
                self.desk.came_back(id.holder, period, units.get());
                self.settle_cell(now, &call.key, units);
            }
            (false, _) => {
                let known = Units::new(self.desk.came_back(id.holder, period, units.get()));
                self.meta.window.take_back(now, call.minute, call.units);
                let account = self.accounts.entry(period).or_default();
                account.take_back(known, call.beyond);
                if let Some(used) = account.agent_units.get_mut(&call.key.agent) {
                    *used = used.saturating_sub(known);
                }
            }
        }
        self.write_account(period);
        self.desk.write_holder(id.holder, &mut self.writes);
        self.write_meta();
    }

    /// Counts what dead holders were allowed; what they count themselves is forfeited.
    pub(super) fn conclude_dead(&mut self, now: Timestamp) {
        for id in self.calls.give_notice(now) {
            self.writes.put(row_key(id), self.calls.calls.get(&id));
        }
        for id in self.calls.of_the_dead(now) {
            self.conclude_call(now, id, true);
        }
    }
}

/// Which limits of agents an allowed request counts against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The plan limits how many agents there are.
    pub(super) agents: bool,
    /// The agent has a limit of its own.
    pub(super) units: bool,
}

impl Limits {
    pub(super) fn of(policy: &Policy, ask: &Ask) -> Self {
        Self { agents: policy.agents_max.is_some(), units: policy.leases.agents.contains_key(&ask.agent) }
    }
}

fn row_key(id: CallId) -> String {
    format!("call/{id}")
}
