//! A sub-home as a holder: what it asks of the home, reports to it and gives back.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Above, Parked, Running, SubHome};
use crate::home::offer::Room;
use crate::lease::math::{in_ms, times};
use crate::lease::message::{Body, Contact, HolderId, Lease, Need, Reply};
use crate::lease::stock::Delivery;
use crate::lease::uplink::Draft;
use crate::lease::{NEEDS_MAX, SUB_MARGIN_MS, TAIL_BEAT_MS};
use crate::random::Stream;
use crate::time::Timestamp;

/// How many lanes it uses towards the home.
pub(super) const LANES: u8 = 2;
/// The least time between two contacts, in milliseconds.
const GAP_MS: u64 = 20;
/// The least time between two that only refill the stock, in milliseconds.
const REFILL_GAP_MS: u64 = 200;
/// How often it reports where little is left, in milliseconds.
const REPORT_MS: u64 = 500;
/// How often it reports where much is left, in milliseconds: what it knows is durable.
const REPORT_CALM_MS: u64 = 2_000;
/// How long before its end freshness is renewed, in milliseconds: its isolates need some of it.
const FRESH_AHEAD_MS: u64 = 6_000;
/// How long after its last issue everything goes back, in milliseconds; where much is left, isolates come seldom.
const IDLE_MS: u64 = 2_000;
const IDLE_CALM_MS: u64 = 12_000;
/// How long before the end of a minute permits of the next are fetched, in milliseconds.
const NEXT_AHEAD_MS: u64 = 9_000;
/// How often they are asked for, in milliseconds.
const NEXT_GAP_MS: u64 = 1_000;

/// What it wants to have of the home.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// What its isolates need, in thousandths of a unit per second.
    rate: u64,
    /// Units ahead of need, below half of which it asks for more.
    target: u64,
    /// Units beyond which it gives some back.
    most: u64,
}

impl SubHome {
    /// What is to be sent to the home now.
    pub fn contacts(&mut self, now: Timestamp) -> Vec<Contact> {
        let now = self.tick(now);
        let ware = &mut self.ware;
        ware.stock.expire(now, &mut ware.uplink.returns);
        ware.uplink.limit = LANES;
        let mut out = ware.uplink.resends(now);
        if self.is_idle(now) {
            let ware = &mut self.ware;
            ware.stock.drain(&mut ware.uplink.returns);
            ware.book.drain(None, &mut ware.uplink.returns);
        }
        if self.question_at(now).is_some_and(|at| now >= at) {
            out.extend(self.question(now));
        }
        if self.due_at(now).is_some_and(|at| now >= at) {
            let asked = self.is_waited_for(now);
            let lane = if asked { self.ware.uplink.free_lane() } else { Some(0) };
            if let Some(lane) = lane.filter(|lane| self.ware.uplink.is_free(*lane)) {
                out.extend(self.write_up(now, lane));
            }
        }
        if !out.is_empty() {
            self.write_ware();
        }
        out
    }

    /// When [`SubHome::contacts`] has something to do next, if nothing else happens.
    #[must_use]
    pub fn wake_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        let idle = (!self.ware.stock.is_empty()).then(|| self.idle_at());
        [self.question_at(now), self.due_at(now), self.ware.uplink.resend_at(), idle]
            .into_iter()
            .flatten()
            .min()
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        now >= self.idle_at() && self.parked.is_empty()
    }

    fn idle_at(&self) -> Timestamp {
        self.pace.last_issue.plus_ms(if self.ware.ample { IDLE_CALM_MS } else { IDLE_MS })
    }

    /// Where much is left, its isolates need what they are asked for, else what it has issued to them.
    fn wanted(&mut self, now: Timestamp) -> Wanted {
        let issued = self.pace.issued.milli(now);
        let (rate, ahead_ms, spare) =
            if self.ware.ample { (issued.max(self.crowd.rates()), 2_000, 12) } else { (issued, 1_000, 2) };
        let target = in_ms(rate, ahead_ms);
        Wanted { rate, target, most: times(target, spare).saturating_add(2) }
    }

    /// Whether a parked contact waits for what the home issues, and no contact of ours carries it.
    fn is_waited_for(&self, now: Timestamp) -> bool {
        self.parked.iter().any(|parked| parked.carried.is_none() && !self.lacks_key(now, parked))
    }

    fn due_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        let gate = self.pace.last.plus_ms(GAP_MS).max(self.pace.hold_until);
        if self.is_waited_for(now) {
            return self.ware.uplink.free_lane().map(|_| gate);
        }
        if !self.ware.uplink.is_free(0) {
            return None;
        }
        let Wanted { target, most, .. } = self.wanted(now);
        let idle = self.is_idle(now);
        let ware = &self.ware;
        let (units, permits) = (ware.stock.units, ware.stock.permits(now));
        let low = units.min(permits);
        let refill = (!idle && times(low, 2) < target && self.refusals.is_empty())
            .then(|| self.pace.last_refill.plus_ms(REFILL_GAP_MS));
        let report_ms = if ware.ample { REPORT_CALM_MS } else { REPORT_MS };
        let report = (!ware.book.is_reported() || ware.uplink.has_frozen())
            .then(|| self.pace.last_report.plus_ms(report_ms));
        let back = (!ware.uplink.returns.is_empty()).then(|| self.pace.last.plus_ms(REFILL_GAP_MS));
        let surplus = (units > most).then(|| self.pace.last_refill.plus_ms(REPORT_MS));
        let fresh = (!idle).then(|| {
            let ahead = ware.stock.fresh_until.as_ms().saturating_sub(FRESH_AHEAD_MS);
            Timestamp::from_ms(ahead).max(self.pace.last.plus_ms(REFILL_GAP_MS))
        });
        let ends = ware.stock.slots.first().map(|slot| slot.until);
        let next = ends.filter(|_| !idle && ware.stock.next_permits(now) == 0).map(|until| {
            let ahead = Timestamp::from_ms(until.as_ms().saturating_sub(NEXT_AHEAD_MS));
            ahead.max(self.pace.last_next.plus_ms(NEXT_GAP_MS))
        });
        // Others may wait for what is in stock here or with isolates, or for the news that nobody spends it.
        let has = || {
            let (stranded, told) = (self.stranded(), self.pace.stranded);
            let out = ware.stock.period.map_or(0, |of| self.out(of));
            !ware.stock.is_empty() || out > stranded || stranded != told
        };
        let asked_back = (!ware.ample && has()).then(|| self.pace.last.plus_ms(TAIL_BEAT_MS));
        [refill, report, back, surplus, fresh, next, asked_back]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.max(gate))
    }

    fn write_up(&mut self, now: Timestamp, lane: u8) -> Option<Contact> {
        // Whoever lacks a key is asked for by itself, and nobody else waits for that.
        let lacking = self.set_aside(now);
        if self.wants_more_than_stock(now) {
            // The home may lack just what is in stock here: it goes back in the contact that asks for more.
            self.ware.stock.drain(&mut self.ware.uplink.returns);
        }
        let needs = self.take_needs(lane, now);
        let keys = self.carried_keys(now, lane);
        self.parked.extend(lacking);
        let Wanted { rate, target, most } = self.wanted(now);
        let renew = !self.is_idle(now);
        let stranded = self.stranded();
        let ware = &mut self.ware;
        if needs.is_empty()
            && ware.stock.units > most
            && let Some(period) = ware.stock.period
        {
            let surplus = ware.stock.units.saturating_sub(target);
            let beyond = ware.stock.take(surplus);
            ware.uplink.returns.add_units(period, surplus, beyond);
        }
        if !needs.is_empty() {
            // Permits without units keep the minute from others who have units.
            let units = ware.stock.units;
            if let Some(slot) = ware.stock.slots.iter_mut().find(|slot| slot.from <= now && now < slot.until)
            {
                ware.uplink.returns.add_permits(slot.minute, slot.count.saturating_sub(units));
                slot.count = slot.count.min(units);
            }
        }
        let draft = Draft {
            child: true,
            needs,
            renew,
            first: ware.first,
            rate,
            held: ware.stock.held(now),
            stranded,
            period: ware.stock.period,
            terms: ware.terms.as_ref().map_or(0, |terms| terms.version),
            keys,
        };
        let pace = &mut self.pace;
        (pace.last, pace.last_report, pace.stranded) = (now, now, stranded);
        if renew {
            pace.last_refill = now;
        }
        if ware.stock.next_permits(now) == 0 {
            pace.last_next = now;
        }
        ware.uplink.send(now, lane, draft, &mut ware.book)
    }

    /// Units out with isolates that were not heard of lately.
    fn stranded(&self) -> u64 {
        let Some(period) = self.ware.stock.period else { return 0 };
        let live: u64 = self.crowd.present().map(|holder| self.desk.out(*holder, period)).sum();
        self.out(period).saturating_sub(live)
    }

    /// Whether one request waits that needs more than there is in stock.
    fn wants_more_than_stock(&self, now: Timestamp) -> bool {
        let most = self.ware.stock.units.min(self.ware.stock.permits(now));
        let parked = self.parked.iter().filter(|parked| parked.carried.is_none());
        parked
            .flat_map(|parked| &parked.contact.needs)
            .any(|need| need.cost > 1 && u64::from(need.cost) > most)
    }

    /// What all parked contacts need beyond what is in stock; they are carried by `lane` from now.
    fn take_needs(&mut self, lane: u8, now: Timestamp) -> Vec<Need> {
        let mut needs: Vec<Need> = Vec::new();
        let stock = &self.ware.stock;
        let mut units = stock.units;
        let mut permits = stock.permits(now);
        let mut rooms = BTreeMap::new();
        for parked in self.parked.iter().filter(|parked| parked.carried.is_none()) {
            rooms.extend(stock.period.map(|period| self.rooms(period, &parked.contact)).unwrap_or_default());
        }
        for parked in self.parked.iter_mut().filter(|parked| parked.carried.is_none()) {
            for need in &parked.contact.needs {
                // The stock will serve in the same order.
                let cost = u64::from(need.cost.max(1));
                let mut room = need.agent.as_ref().and_then(|agent| rooms.get_mut(agent));
                let of_agent = match &room {
                    Some(Room::Units(left)) => left.div_euclid(cost),
                    Some(Room::Closed(_)) => 0,
                    Some(Room::Free) | None => u64::MAX,
                };
                let whole = units.min(permits).div_euclid(cost);
                let met = u64::from(need.count).min(whole).min(of_agent);
                if let Some(Room::Units(left)) = room.as_deref_mut() {
                    *left = left.saturating_sub(times(met, cost));
                }
                units = units.saturating_sub(times(met, cost));
                permits = permits.saturating_sub(times(met, cost));
                let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
                let count = need.count.saturating_sub(narrow(met));
                // What is here of an agent's own limit the home has not: it would refuse the agent for want of just that.
                let own = match room {
                    Some(Room::Units(left)) => {
                        let own = u64::from(count).min(left.div_euclid(cost));
                        *left = left.saturating_sub(times(own, cost));
                        narrow(own)
                    }
                    Some(Room::Free | Room::Closed(_)) | None => 0,
                };
                let named = Need { count: count.saturating_sub(own), ..need.clone() };
                for need in [Need { agent: None, count: own, cost: need.cost }, named] {
                    let full = needs.len() >= NEEDS_MAX;
                    match needs.iter_mut().find(|n| n.cost == need.cost && n.agent == need.agent) {
                        Some(sum) => sum.count = sum.count.saturating_add(need.count),
                        None if full || need.count == 0 => {}
                        None => needs.push(need),
                    }
                }
            }
            parked.carried = Some(lane);
        }
        needs
    }

    /// Takes the home's reply, and answers the parked contacts that can be answered now. `seed` feeds
    /// its jitter.
    pub fn receive(&mut self, now: Timestamp, seed: u64, reply: Reply) -> Vec<Reply> {
        let now = self.tick(now);
        if reply.holder != self.ware.uplink.id {
            return Vec::new();
        }
        match reply.body {
            Body::Shed { hold_ms } => {
                if self.ware.uplink.shed(now, reply.lane, reply.nonce, hold_ms) {
                    self.pace.hold_until = now.plus_ms(hold_ms);
                    self.write_ware();
                }
                Vec::new()
            }
            Body::Resync { incarnation } => {
                if self.ware.uplink.land(now, reply.lane, reply.nonce, SUB_MARGIN_MS).is_some() {
                    let mut random = Stream::new(seed);
                    let high = u128::from(random.bits()) << 64;
                    let id = HolderId::from_bits(high | u128::from(random.bits()));
                    let ware = &mut self.ware;
                    ware.uplink.resync(now, (id, incarnation), (&mut ware.stock, &mut ware.book));
                    for parked in &mut self.parked {
                        parked.carried = None;
                    }
                    self.unknown.forget();
                    self.taken.forget();
                    self.write_ware();
                }
                Vec::new()
            }
            Body::Lease(lease) => {
                let landing = self.ware.uplink.land(now, reply.lane, reply.nonce, SUB_MARGIN_MS);
                let Some(at) = landing else { return Vec::new() };
                self.admit(at, &lease);
                self.refuse_keys(at, reply.lane, &lease);
                let replies = self.answer_parked(now, seed, reply.lane);
                // A stored answer may rest on older terms: it is one to those who waited, and to nobody else.
                let version = self.ware.terms.as_ref().map_or(0, |terms| terms.version);
                self.refusals.retain(|running| running.version >= version);
                replies
            }
        }
    }

    /// The home could not take a contact, and everybody who waits here is told so: nothing may be issued to them any
    /// more, because whoever knows nothing of the project begins anew. The others send the same again.
    pub fn home_failed(&mut self) {
        self.parked.clear();
    }

    fn admit(&mut self, at: Delivery, lease: &Lease) {
        let now = at.received;
        let ware = &mut self.ware;
        ware.first = false;
        ware.uplink.acknowledged(lease.ack);
        ware.uplink.incarnation = Some(lease.incarnation.clone());
        if let Some(terms) = &lease.terms
            && ware.terms.as_ref().is_none_or(|known| known.version < terms.version)
        {
            ware.terms = Some(terms.clone());
            ware.book.new_terms(terms.version, &mut ware.uplink.returns);
            // Whatever was refused rests on the policy that this one replaces.
            self.unknown.forget();
            self.refusals.clear();
            self.taken.forget();
            self.pace.hold_until = Timestamp::default();
        }
        (ware.allowance, ware.risk, ware.ample) = (lease.allowance, lease.risk, lease.ample);
        if lease.now >= self.above.now {
            let Lease { now, minute, left, permits_left, .. } = *lease;
            let used = (Some(lease.period), lease.used);
            self.above = Above { now, minute, units: left, used, permits: permits_left };
        }
        ware.stock.admit(at, lease, &mut ware.uplink.returns);
        ware.book.admit(lease, &mut ware.uplink.returns);
        ware.book.drain(ware.stock.period, &mut ware.uplink.returns);
        self.pace.home = Some((lease.now, now, now.ms_since(at.sent)));
        if lease.hold_ms > 0 {
            self.pace.hold_until = at.sent.plus_ms(lease.hold_ms);
        }
        let stuck = ware.stock.is_stuck(now, lease);
        if stuck {
            ware.stock.drain(&mut ware.uplink.returns);
        }
        if lease.units > 0 || lease.refusals.is_empty() {
            self.refusals.retain(|running| running.refusal.agent.is_some() && now < running.until);
        }
        let from = at.denied_from();
        let version = self.ware.terms.as_ref().map_or(0, |terms| lease.rests_on(terms));
        self.refusals.retain(|running| now < running.until);
        self.taken.heard(from, version, lease);
        for refusal in lease.refused(stuck) {
            let until = from.plus_ms(refusal.for_ms);
            self.refusals.push(Running { refusal: refusal.clone(), until, version });
        }
    }

    fn answer_parked(&mut self, now: Timestamp, seed: u64, lane: u8) -> Vec<Reply> {
        let waiting = self.parked.clone();
        for parked in &mut self.parked {
            if parked.carried == Some(lane) {
                parked.carried = None;
            }
        }
        let mut random = Stream::new(seed);
        let mut replies = Vec::new();
        for Parked { contact: m, carried, .. } in &waiting {
            let has_answered = *carried == Some(lane);
            if let Some(lease) = self.answer(now, random.bits(), m, has_answered) {
                self.desk.write(m, &mut self.writes);
                replies.push(self.reply(m, lease));
            }
        }
        self.write_ware();
        replies
    }
}
