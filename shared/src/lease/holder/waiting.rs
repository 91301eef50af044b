//! Requests that wait for the home, in the order of their arrival.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Answer, Freshness, HeldUnits, Holder};
use crate::decision::Ask;
use crate::ids::{AgentId, KeyId};
use crate::lease::keys::add_key;
use crate::lease::message::Need;
use crate::lease::{NEEDS_MAX, RESERVE_UNITS_MAX, WAIT_MS_MAX};
use crate::planted::planted;
use crate::source::{Beyond, Paid};
use crate::time::{Period, Timestamp};

/// Names a waiting request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(u64);

#[derive(Debug, Clone)]
struct Waiter {
    ask: Ask,
    since: Timestamp,
    /// Whether the terms have its key, or there are none yet.
    known: bool,
    /// The lane whose contact asks for it.
    carried: Option<u8>,
}

/// What an allowed request holds that was told so, or will be: nothing is served before that.
#[derive(Debug, Clone)]
pub(super) enum Kept {
    /// Units that are counted when the outcome is fetched.
    UntilFetched(HeldUnits),
    /// The same from the reserve.
    FromReserve(HeldUnits),
    /// Units that are counted once the upstream has answered.
    UntilAnswered(HeldUnits),
}

impl Kept {
    fn paid(&self) -> Paid {
        match self {
            Self::UntilFetched(units) | Self::FromReserve(units) | Self::UntilAnswered(units) => units.paid(),
        }
    }
}

/// All waiting requests, and the outcomes that were not fetched yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting {
    last: u64,
    open: BTreeMap<WaiterId, Waiter>,
    outcomes: BTreeMap<WaiterId, Answer>,
    /// What allowed ones hold until their outcomes are fetched, or longer.
    pub(super) kept: BTreeMap<WaiterId, Kept>,
    /// Outcomes of requests that were served without a lease.
    from_reserve: Vec<WaiterId>,
}

impl Waiting {
    pub(super) fn join(&mut self, now: Timestamp, ask: &Ask, known: bool) -> WaiterId {
        self.last = self.last.saturating_add(1);
        let id = WaiterId(self.last);
        self.open.insert(id, Waiter { ask: ask.clone(), since: now, known, carried: None });
        id
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether some request waits that no contact asks for, and that lacks nothing but units.
    pub(super) fn has_uncarried(&self) -> bool {
        self.open.values().any(|waiter| waiter.known && waiter.carried.is_none())
    }

    /// Whether some request waits whose key no contact asks for.
    pub(super) fn has_question(&self) -> bool {
        self.open.values().any(|waiter| !waiter.known && waiter.carried.is_none())
    }

    /// Whether one of them needs more than so many units.
    pub(super) fn has_costlier(&self, units: u64) -> bool {
        let mut uncarried = self.open.values().filter(|waiter| waiter.known && waiter.carried.is_none());
        uncarried.any(|waiter| waiter.ask.cost > 1 && u64::from(waiter.ask.cost) > units)
    }

    /// When the first of them has waited long enough.
    pub(super) fn timeout(&self) -> Option<Timestamp> {
        self.open.values().next().map(|waiter| waiter.since.plus_ms(WAIT_MS_MAX))
    }

    /// The keys that no contact asks for; they are carried by `lane` from now.
    pub(super) fn take_keys(&mut self, lane: u8) -> Vec<KeyId> {
        let mut keys = Vec::new();
        for waiter in self.open.values_mut().filter(|waiter| !waiter.known && waiter.carried.is_none()) {
            if !add_key(&mut keys, &waiter.ask.key) {
                break;
            }
            waiter.carried = Some(lane);
        }
        keys
    }

    /// The keys of requests that `lane` carries, each as often as it is asked for.
    pub(super) fn keys_of(&self, lane: u8) -> impl Iterator<Item = &KeyId> {
        self.open.values().filter(move |waiter| waiter.carried == Some(lane)).map(|waiter| &waiter.ask.key)
    }

    /// The needs of requests that no contact asks for; they are carried by `lane` from now. Where there are no terms
    /// yet, `names_key`, their keys are asked for too.
    pub(super) fn take_needs(
        &mut self,
        lane: u8,
        names_key: bool,
        mut names_agent: impl FnMut(&Ask) -> bool,
    ) -> (Vec<Need>, Vec<KeyId>) {
        let (mut needs, mut keys): (Vec<Need>, Vec<KeyId>) = (Vec::new(), Vec::new());
        for waiter in self.open.values_mut().filter(|waiter| waiter.known && waiter.carried.is_none()) {
            if names_key && !add_key(&mut keys, &waiter.ask.key) {
                break;
            }
            let agent = names_agent(&waiter.ask).then(|| waiter.ask.agent.clone());
            let full = needs.len() >= NEEDS_MAX;
            match needs.iter_mut().find(|need| need.cost == waiter.ask.cost && need.agent == agent) {
                Some(need) => need.count = need.count.saturating_add(1),
                None if full => break,
                None => needs.push(Need { agent, cost: waiter.ask.cost, count: 1 }),
            }
            waiter.carried = Some(lane);
        }
        (needs, keys)
    }

    /// Nothing is under way any more.
    pub(super) fn uncarry_all(&mut self) {
        for waiter in self.open.values_mut() {
            waiter.carried = None;
        }
    }
}

impl Holder {
    /// Whether a waiting request was served from the reserve, without a lease; ask before its outcome.
    #[must_use]
    pub fn is_from_reserve(&self, id: WaiterId) -> bool {
        self.waiting.from_reserve.contains(&id)
    }

    /// What became of a waiting request; [`Answer::Wait`] while it is not known.
    pub fn outcome(&mut self, now: Timestamp, id: WaiterId) -> Answer {
        self.time_out(now);
        self.waiting.from_reserve.retain(|known| *known != id);
        match self.waiting.outcomes.remove(&id) {
            Some(answer) => {
                self.fetched(now, id);
                answer
            }
            None if self.waiting.open.contains_key(&id) => Answer::Wait(id),
            None => Answer::Unavailable,
        }
    }

    /// A waiting request is gone: nothing will be served for it.
    pub fn abandon(&mut self, id: WaiterId) {
        self.waiting.open.remove(&id);
        self.waiting.outcomes.remove(&id);
        match self.waiting.kept.remove(&id) {
            Some(Kept::UntilFetched(units) | Kept::UntilAnswered(units)) => self.give_back(units),
            Some(Kept::FromReserve(units)) => {
                self.reserve_left = self.reserve_left.saturating_add(units.units()).min(RESERVE_UNITS_MAX);
            }
            None => {}
        }
        self.waiting.from_reserve.retain(|known| *known != id);
    }

    /// Whoever waited is told now: what it was allowed is served.
    fn fetched(&mut self, now: Timestamp, id: WaiterId) {
        let kept = self.waiting.kept.remove(&id);
        self.paid = kept.as_ref().map(Kept::paid);
        match kept {
            Some(Kept::UntilFetched(units)) => self.served(now, units),
            Some(Kept::FromReserve(units)) => {
                self.book.count_reserve(units.period(), units.units());
                self.served(now, units);
            }
            Some(kept @ Kept::UntilAnswered(_)) => {
                self.waiting.kept.insert(id, kept);
            }
            None => {}
        }
    }

    /// Requests that waited too long are refused, or served from the reserve of an open overage.
    pub(super) fn time_out(&mut self, now: Timestamp) {
        while let Some(oldest) = self.waiting.open.first_entry()
            && now >= oldest.get().since.plus_ms(WAIT_MS_MAX)
        {
            let (id, waiter) = oldest.remove_entry();
            let cost = u64::from(waiter.ask.cost);
            let home_now = self.pace.home_time(now);
            let outcome = match home_now {
                Some(at)
                    if self.stock.open
                        && !waiter.ask.held
                        && !waiter.ask.dry_run
                        && waiter.known
                        && self.reserve_left >= cost
                        && self.is_free_agent(&waiter.ask.agent, at.period()) =>
                {
                    let taken = if planted!(ReserveEndless) { 0 } else { cost };
                    self.reserve_left = self.reserve_left.saturating_sub(taken);
                    self.waiting.from_reserve.push(id);
                    let units = HeldUnits::new(&waiter.ask, at.minute(), Beyond::all_overage(cost), false);
                    self.waiting.kept.insert(id, Kept::FromReserve(units));
                    Answer::Allow
                }
                Some(_) | None => Answer::Unavailable,
            };
            self.waiting.outcomes.insert(id, outcome);
        }
    }

    /// Whether an agent needs nothing from the home.
    fn is_free_agent(&self, agent: &AgentId, period: Period) -> bool {
        self.terms.as_ref().is_some_and(|terms| {
            let limited = terms.agents_limited && agent.is_named() && !self.book.knows(agent, period);
            !limited && terms.capped.binary_search(agent).is_err()
        })
    }

    /// Serves and refuses whom it can, the longest waiting first. `landed` is the lane whose reply
    /// has just come with that many units for the requests it carried; says whether it left one of them as it was.
    pub(super) fn resolve(&mut self, now: Timestamp, landed: Option<(u8, u64)>) -> bool {
        let mut left = false;
        let mut heard = landed.map_or(0, |(_, units)| units);
        let open = core::mem::take(&mut self.waiting.open);
        for (id, mut waiter) in open {
            let known = self.may_know(&waiter.ask.key);
            if known && !waiter.known {
                // Only its key was asked for: what it needs is not under way.
                waiter.carried = None;
            }
            waiter.known = known;
            let carried = landed.is_some_and(|(lane, _)| waiter.carried == Some(lane));
            // What one lane was refused says nothing of what another, still under way, was granted.
            let elsewhere = landed.is_some() && waiter.carried.is_some() && !carried;
            let cost = u64::from(waiter.ask.cost);
            let freshness = if carried && heard >= cost { Freshness::JustHeard } else { Freshness::Required };
            let outcome = if !known {
                self.revoked(now, &waiter.ask.key)
            } else if let Some(answer) = self.gate() {
                Some(answer)
            } else if self.spend(now, &Ask { held: true, ..waiter.ask.clone() }, freshness) {
                heard = heard.saturating_sub(cost);
                if let Some(units) = self.held.take() {
                    // Whoever waits may be gone by now, and what nobody was served must not be counted.
                    let kept = if waiter.ask.held { Kept::UntilAnswered } else { Kept::UntilFetched };
                    self.waiting.kept.insert(id, kept(units));
                }
                Some(Answer::Allow)
            } else if waiter.ask.dry_run {
                Some(Answer::AtHome)
            } else if elsewhere {
                None
            } else {
                self.refusal(now, &waiter.ask, carried)
            };
            if let Some(answer) = outcome {
                self.waiting.outcomes.insert(id, answer);
            } else {
                if carried {
                    waiter.carried = None;
                    left |= known;
                }
                self.waiting.open.insert(id, waiter);
            }
        }
        left
    }
}
