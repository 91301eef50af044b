//! What a sub-home issues to its isolates, from its stock alone.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{Running, SubHome};
use crate::decision::Denial;
use crate::home::contact::{IDLE_MS, IDLE_TIGHT_MS, lanes};
use crate::home::crowd::HOLD;
use crate::home::denial::DENY_AGENT_MS;
use crate::home::offer::{self, Offer, Room, Short, Situation};
use crate::ids::AgentId;
use crate::lease::FRESH_MS;
use crate::lease::math::times;
use crate::lease::message::{Contact, Lease, NextPermits, Refusal};
use crate::planted::planted;
use crate::policy::Status;
use crate::random::Stream;
use crate::source::Beyond;
use crate::time::{Period, Timestamp};

/// The longest denial to an isolate: with the home's own and the round trips it stays within the two
/// seconds in which a top-up is usable, in milliseconds.
const DENY_MS_MAX: u64 = 1_200;

impl SubHome {
    /// Issues, or says by `None` that the home must be asked first.
    ///
    /// Once the home `has_answered`, whoever can be served is: those for whom it brought nothing ask again. Else what it
    /// brings for some is held back for others, goes back with the next contact, and is brought again without end.
    pub(super) fn issue(
        &mut self,
        now: Timestamp,
        m: &Contact,
        has_answered: bool,
        random: &mut Stream,
    ) -> Option<Box<Lease>> {
        if self.must_ask_for_key(now, m) {
            return None;
        }
        self.ware.terms.as_ref()?;
        let ware = &mut self.ware;
        ware.stock.expire(now, &mut ware.uplink.returns);
        let period = ware.stock.period?;
        let active = self.is_active();
        let fresh = self.ware.stock.is_fresh(now);
        let situation = self.situation(now, period, m, fresh && active);
        if !fresh && !m.needs.is_empty() {
            return None;
        }
        let offer = if fresh && active { offer::offer(&situation, m, random) } else { Offer::default() };
        let refusals = if active {
            let (refusals, is_all) = self.refusals(now, m, &offer.short, random);
            let serves_some = has_answered && offer.granted > 0;
            if !(is_all || serves_some) {
                return None;
            }
            refusals
        } else {
            self.suspended(now, m)?
        };
        let load = self.crowd.load();
        let busy = load > HOLD && offer.units == 0 && refusals.is_empty();
        let hold_ms = if busy { self.crowd.hold_slot(now) } else { 0 };
        let mut lease = Box::new(self.lease(now, period, &situation, &offer));
        lease.beyond = self.hand_out(now, period, m, &offer);
        (lease.refusals, lease.revoked) = (refusals, self.revoked(now, m));
        (lease.hold_ms, lease.lanes, lease.ack) = (hold_ms, lanes(load), self.desk.acked(m.holder));
        Some(lease)
    }

    fn is_active(&self) -> bool {
        self.ware.terms.as_ref().is_some_and(|terms| terms.status == Status::Active && !terms.strict)
    }

    /// The refusal of a suspended project, while the home's own holds; `None` if the home must be asked whether it still
    /// is. Nothing is issued while it is, so that nothing else would bring the news.
    fn suspended(&self, now: Timestamp, m: &Contact) -> Option<Vec<Refusal>> {
        let suspended = self.ware.terms.as_ref().is_some_and(|terms| terms.status == Status::Suspended);
        let heard = |running: &&Running| running.refusal.denial == Denial::Suspended && now < running.until;
        if planted!(SuspendedByOldTerms) && suspended {
            return Some(vec![Refusal { denial: Denial::Suspended, agent: None, cost: 1, for_ms: 1_000 }]);
        }
        match self.refusals.iter().find(heard).filter(|_| suspended) {
            Some(Running { refusal, until, .. }) => {
                Some(vec![Refusal { for_ms: until.ms_since(now), ..refusal.clone() }])
            }
            None => (!suspended || m.needs.is_empty()).then(Vec::new),
        }
    }

    fn situation(&self, now: Timestamp, period: Period, m: &Contact, slices: bool) -> Situation {
        let ware = &self.ware;
        let weight = self.crowd.weight(m.holder);
        let current = ware.stock.slots.iter().find(|slot| slot.from <= now && now < slot.until);
        let next = ware.stock.slots.iter().find(|slot| slot.from > now && slot.period == period);
        Situation {
            avail: ware.stock.units,
            left: ware.stock.units,
            open: ware.stock.open,
            recall: ware.stock.recalled,
            allowance: ware.allowance,
            // The stock's permits are ours alone: nothing of them is kept for late comers.
            rpm: 0,
            permits: current.map_or(0, |slot| slot.count),
            next_permits: next.map(|slot| slot.count),
            minute_ms: current.map_or(0, |slot| slot.until.ms_since(now)),
            out: ware.out.get(&period).copied().unwrap_or(0),
            risk: ware.risk,
            row_out: self.desk.out(m.holder, period),
            weight,
            everyone: self.crowd.everyone(weight),
            // Isolates are spread evenly, so that the others have about as many.
            issuers: ware.terms.as_ref().map_or(1, |terms| u64::from(terms.sub_homes)).max(1),
            sub_home: Some(ware.ample),
            slices,
            rooms: self.rooms(period, m),
            // Whom the home has not admitted has no room here.
            newcomers: BTreeSet::default(),
            places: 0,
        }
    }

    /// What limits the agents that the contact names, as far as the stock can tell.
    pub(super) fn rooms(&self, period: Period, m: &Contact) -> BTreeMap<AgentId, Room> {
        let (book, terms) = (&self.ware.book, self.ware.terms.as_ref());
        let mut rooms = BTreeMap::new();
        for agent in m.needs.iter().filter_map(|need| need.agent.as_ref()) {
            let capped = terms.is_some_and(|terms| terms.capped.contains(agent));
            let limited = terms.is_some_and(|terms| terms.agents_limited) && agent.is_named();
            let room = if limited && !book.knows(agent, period) {
                Room::Closed(Denial::AgentLimit)
            } else if capped {
                Room::Units(book.units(agent, period))
            } else {
                Room::Free
            };
            rooms.insert(agent.clone(), room);
        }
        rooms
    }

    /// The refusals for what cannot be admitted, and whether the home has refused all of it itself.
    fn refusals(
        &mut self,
        now: Timestamp,
        m: &Contact,
        short: &[Short],
        random: &mut Stream,
    ) -> (Vec<Refusal>, bool) {
        let (mut refusals, mut is_all) = (Vec::new(), true);
        self.refusals.retain(|running| now < running.until);
        let version = self.ware.terms.as_ref().map_or(0, |terms| terms.version);
        for short in short {
            if short.denial == Denial::AgentLimit
                && let Some(agent) = &short.asking
                && let Some(left) = self.taken.refused_ms(now, version, agent)
            {
                let for_ms = agent_ms(left, random);
                refusals.push(Refusal {
                    denial: short.denial,
                    agent: Some(agent.clone()),
                    cost: short.cost,
                    for_ms,
                });
                continue;
            }
            let running = self.refusals.iter().find(|running| {
                // The home refuses units and permits together: it gives neither without the other.
                let Refusal { agent, cost, .. } = &running.refusal;
                short.cost >= *cost && (agent.is_none() || *agent == short.asking)
            });
            let Some(Running { refusal, until, .. }) = running else {
                is_all = false;
                continue;
            };
            let (denial, agent, until) = (refusal.denial, refusal.agent.clone(), *until);
            let returnable = denial == Denial::QuotaExhausted && self.may_come_back(m, short.cost);
            let denial = if returnable { Denial::QuotaContended } else { denial };
            let for_ms = if agent.is_some() {
                agent_ms(until.ms_since(now), random)
            } else {
                let slot = self.crowd.deny_slot(now, DENY_MS_MAX, random);
                // Denials of a period do not reach far into the next one.
                let end =
                    self.turn_ms(now, denial).saturating_add(random.between(0, times(self.crowd.count(), 2)));
                slot.min(end.max(until.ms_since(now).min(end)))
            };
            refusals.push(Refusal { denial, agent, cost: short.cost, for_ms });
        }
        (refusals, is_all)
    }

    /// Whether that many units would be there, if the isolates gave theirs back.
    ///
    /// The home cannot always tell: what isolates have served of an earlier life of this storage, it takes for
    /// served of this one. Of the isolate that asks, all but what it says is served is in hand or on its way to it.
    fn may_come_back(&self, m: &Contact, cost: u32) -> bool {
        let Some(period) = self.ware.stock.period else { return false };
        let others = self.crowd.present().filter(|holder| **holder != m.holder);
        let live = others.map(|holder| self.desk.out(*holder, period)).fold(
            self.desk.out(m.holder, period).saturating_sub(self.desk.unreported(m)),
            u64::saturating_add,
        );
        // What came back is nobody's: in stock, where it lacks permits, or on its way to the home.
        let back = self.ware.stock.units.saturating_add(self.ware.uplink.going_back(period));
        let live = live.saturating_add(back);
        live > 0 && self.above.units.saturating_add(live) >= u64::from(cost)
    }

    /// How long until what was denied begins anew.
    fn turn_ms(&self, now: Timestamp, denial: Denial) -> u64 {
        let (home_now, _) = self.home_time(now);
        if denial == Denial::RateLimited {
            home_now.minute().end().ms_since(home_now)
        } else {
            home_now.period().end().ms_since(home_now)
        }
    }

    fn lease(&self, now: Timestamp, period: Period, s: &Situation, offer: &Offer) -> Lease {
        let stock = &self.ware.stock;
        let current = stock.slots.iter().find(|slot| slot.from <= now && now < slot.until);
        let (home_now, slack) = self.home_time(now);
        let next =
            stock.slots.iter().find(|slot| slot.from > now && offer.next > 0).map(|slot| NextPermits {
                minute: slot.minute,
                count: offer.next,
                from_ms: slot.from.ms_since(now),
                until_ms: slot.until.ms_since(now),
            });
        let units = offer.granted.saturating_add(offer.units);
        let permits = offer.granted.saturating_add(offer.permits);
        let minute = current.map_or_else(|| home_now.minute(), |slot| slot.minute);
        let rpm = self.ware.terms.as_ref().map_or(0, |terms| terms.rpm);
        Lease {
            incarnation: self.ware.incarnation.clone(),
            written: now,
            version: self.ware.terms.as_ref().map_or(0, |terms| terms.version),
            now: home_now,
            now_slack_ms: slack,
            period,
            units,
            beyond: Beyond::NONE,
            valid_ms: stock.units_until.ms_since(now),
            minute,
            permits,
            minute_ms: s.minute_ms,
            next,
            agents: offer.agents.clone(),
            fresh_ms: stock.fresh_until.ms_since(now).min(FRESH_MS),
            refusals: Vec::new(),
            admitted: Vec::new(),
            revoked: Vec::new(),
            hold_ms: 0,
            report_ms: s.report_ms(offer),
            lanes: 1,
            idle_ms: if self.ware.ample { IDLE_MS } else { IDLE_TIGHT_MS },
            recall: s.recall,
            ample: offer.ample,
            open: s.open,
            allowance: s.allowance,
            left: self.left_elsewhere(period, s).saturating_add(s.left.saturating_sub(units)),
            used: self.used(period),
            permits_left: self.above.permits(minute, rpm).saturating_add(s.permits.saturating_sub(permits)),
            risk: s.risk,
            ack: 0,
            terms: None,
        }
    }

    /// Units that were served: what the home knew of, and what isolates have reported here since.
    fn used(&self, period: Period) -> u64 {
        let known = if self.above.used.0 == Some(period) { self.above.used.1 } else { 0 };
        known.saturating_add(self.ware.uplink.unacknowledged(&self.ware.book, period))
    }

    /// Units that are left with the home, or with isolates but this one.
    fn left_elsewhere(&self, period: Period, s: &Situation) -> u64 {
        let live = self.crowd.present().map(|holder| self.desk.out(*holder, period));
        self.above.units.saturating_add(live.fold(0, u64::saturating_add).saturating_sub(s.row_out))
    }

    /// Moves what is issued from the stock to the isolate, and says what of its units is beyond the plan's.
    fn hand_out(&mut self, now: Timestamp, period: Period, m: &Contact, offer: &Offer) -> Beyond {
        let stock = &mut self.ware.stock;
        let units = offer.granted.saturating_add(offer.units);
        let permits = offer.granted.saturating_add(offer.permits);
        let beyond = stock.take(units);
        if let Some(slot) = stock.slots.iter_mut().find(|slot| slot.from <= now && now < slot.until) {
            slot.count = slot.count.saturating_sub(permits);
        }
        if let Some(slot) = stock.slots.iter_mut().find(|slot| slot.from > now) {
            slot.count = slot.count.saturating_sub(offer.next);
        }
        for grant in &offer.agents {
            if let Some(entry) = self.ware.book.agents.get_mut(&grant.agent) {
                entry.units = entry.units.saturating_sub(grant.units);
            }
        }
        if units > 0 {
            let out = self.ware.out.entry(period).or_insert(0);
            *out = out.saturating_add(units);
            self.desk.issued(m.holder, period, units);
        }
        if units.saturating_add(permits) > 0 {
            self.pace.issued.count(now, units.max(permits));
            self.pace.last_issue = now;
        }
        beyond
    }
}

/// For how long one agent is refused: with what is `left` of the home's own refusal it stays within two seconds.
fn agent_ms(left: u64, random: &mut Stream) -> u64 {
    random.between(DENY_AGENT_MS.0, DENY_AGENT_MS.1).min(left.saturating_add(DENY_AGENT_MS.0))
}
