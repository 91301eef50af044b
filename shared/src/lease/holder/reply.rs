//! What a reply changes: each is taken once, whoever asked for it.

use super::contacts::Likely;
use super::{Answer, Heard, Holder, Running};
use crate::decision::Denial;
use crate::ids::KeyId;
use crate::lease::keys::REFUSED_MS;
use crate::lease::message::{Body, HolderId, Lease, Reply, Terms};
use crate::lease::stock::Delivery;
use crate::lease::{MARGIN_MS, RESERVE_UNITS_MAX};
use crate::time::Timestamp;

/// When a home that had no answer yet is asked again, in milliseconds.
const PUT_OFF_MS: u64 = 40;

impl Holder {
    /// Takes a reply. One that was taken before, or that nobody waits for, changes nothing.
    pub fn receive(&mut self, now: Timestamp, reply: Reply) {
        if reply.holder != self.uplink.id {
            return;
        }
        match reply.body {
            Body::Shed { hold_ms } => {
                if self.uplink.shed(now, reply.lane, reply.nonce, hold_ms) {
                    self.hold_until = self.hold_until.max(now.plus_ms(hold_ms));
                    self.resolve(now, None);
                }
            }
            Body::Resync { incarnation } => {
                if self.uplink.land(now, reply.lane, reply.nonce, MARGIN_MS).is_some() {
                    let high = u128::from(self.random.bits()) << 64;
                    let id = HolderId::from_bits(high | u128::from(self.random.bits()));
                    self.uplink.resync(now, (id, incarnation), (&mut self.stock, &mut self.book));
                    self.waiting.uncarry_all();
                    self.unknown.forget();
                    self.taken.forget();
                    self.calls.forget();
                }
            }
            Body::Lease(lease) => {
                if let Some(at) = self.uplink.land(now, reply.lane, reply.nonce, MARGIN_MS) {
                    self.take(at, reply.lane, &lease);
                }
            }
        }
    }

    fn take(&mut self, at: Delivery, lane: u8, lease: &Lease) {
        let now = at.received;
        self.uplink.acknowledged(lease.ack);
        self.uplink.incarnation = Some(lease.incarnation.clone());
        self.uplink.limit = lease.lanes.clamp(1, crate::lease::LANES_MAX);
        if let Some(terms) = &lease.terms {
            self.install(terms);
        }
        self.heard = Some(Heard::newest(self.heard, at, lease));
        self.stock.admit(at, lease, &mut self.uplink.returns);
        self.book.admit(lease, &mut self.uplink.returns);
        self.book.drain(self.stock.period, &mut self.uplink.returns);
        let stuck = self.stock.is_stuck(now, lease);
        self.refuse(at, lease, stuck);
        self.refuse_keys(at, lane, lease);
        self.reserve_left = RESERVE_UNITS_MAX;
        let minute_until = self.stock.slots.iter().map(|slot| slot.until).min();
        let likely = Likely { rate: self.demand.milli(now), minute_until };
        self.pace.replied(at, lease, likely, &mut self.random);
        if self.stock.recalled || self.closing || stuck {
            self.give_back_all();
        }
        let left = self.resolve(now, Some((lane, lease.units)));
        let is_news = lease.units > 0 || lease.terms.is_some() || !lease.refusals.is_empty();
        if left && !is_news && lease.hold_ms == 0 {
            // They are neither served nor refused: the home itself waits for something.
            self.put_off_until = now.plus_ms(PUT_OFF_MS);
        }
        // A stored answer may rest on older terms: it is one to those who asked, and to nobody else.
        let version = self.terms.as_ref().map_or(0, |terms| terms.version);
        self.refusals.retain(|running| running.version >= version);
    }

    fn install(&mut self, terms: &Terms) {
        if self.terms.as_ref().is_none_or(|known| known.version < terms.version) {
            let mut terms = terms.clone();
            terms.capped.sort();
            terms.capped.dedup();
            self.book.new_terms(terms.version, &mut self.uplink.returns);
            self.terms = Some(terms);
            // Whatever was refused rests on the policy that this one replaces.
            self.unknown.forget();
            self.refusals.clear();
            self.taken.forget();
            self.hold_until = Timestamp::default();
        }
    }

    /// Notes which of the keys that this lane has asked for are revoked. Its answer may have been stored for a while: what
    /// newer terms have is not.
    fn refuse_keys(&mut self, at: Delivery, lane: u8, lease: &Lease) {
        let Some(terms) = self.terms.as_ref() else { return };
        let is_revoked = |key: &&KeyId| lease.revoked.contains(key) && !terms.keys.contains(key);
        for key in self.waiting.keys_of(lane).filter(is_revoked) {
            self.unknown.refuse(at.denied_from(), REFUSED_MS, key);
        }
    }

    /// Notes what was refused; what was issued ends older refusals of that kind.
    fn refuse(&mut self, at: Delivery, lease: &Lease, stuck: bool) {
        let now = at.received;
        self.refusals.retain(|running| {
            let ended = (lease.units > 0 && running.denial.is_spent())
                || (lease.permits > 0 && running.denial == Denial::RateLimited)
                || running
                    .agent
                    .as_ref()
                    .is_some_and(|agent| lease.agents.iter().any(|grant| grant.agent == *agent));
            !ended && now < running.until
        });
        let from = at.denied_from();
        let version = self.terms.as_ref().map_or(0, |terms| lease.rests_on(terms));
        self.taken.heard(from, version, lease);
        for refusal in lease.refused(stuck) {
            let until = from.plus_ms(refusal.for_ms);
            self.refusals.push(Running {
                denial: refusal.denial,
                agent: refusal.agent.clone(),
                cost: refusal.cost,
                until,
                version,
            });
        }
        if lease.hold_ms > 0 {
            self.hold_until = self.hold_until.max(from.plus_ms(lease.hold_ms));
        }
    }
}

impl Answer {
    /// Whether the request is served.
    #[must_use]
    pub fn is_allowed(self) -> bool {
        self == Self::Allow
    }
}
