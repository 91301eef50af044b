//! A contact at the home: take the report and what came back, then issue.
//!
//! Everything that a reply promises is in the rows that this call changed; the shell stores them
//! before the reply leaves. Pacing alone is volatile.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::call::CallId;
use super::denial::Ends;
use super::desk::Receipt;
use super::offer::{self, Offer, Room, Situation};
use super::turns::turn_ms;
use super::{Home, NoPolicy};
use crate::decision::Denial;
use crate::ids::{AgentId, KeyId};
use crate::lease::FRESH_MS;
use crate::lease::math::mul_div;
use crate::lease::message::{
    Batch, Body, Contact, HolderId, Lease, NextPermits, Refusal, Reply, Returns, Terms,
};
use crate::planted::planted;
use crate::policy::{Overage, Policy, Status};
use crate::random::Stream;
use crate::source::Beyond;
use crate::time::{Period, Timestamp};
use crate::units::Units;

/// The part of an allowance that may be at risk in isolates: 2 %, in thousandths.
pub(crate) const RISK_MILLI: u64 = 20;
/// How long a suspended project's holders are refused, in milliseconds.
const SUSPENDED_MS: u64 = 1_000;
/// How long a contact waits while the home is finding out about its earlier lives, in milliseconds.
const UNREGISTERED_MS: u64 = 250;
/// Time without requests after which holders give everything back, in milliseconds.
pub(crate) const IDLE_MS: u64 = 2_000;
/// The same where little is left.
pub(crate) const IDLE_TIGHT_MS: u64 = 500;

/// How many lanes a holder may use under a load of contacts per second.
pub(crate) fn lanes(load: u64) -> u8 {
    match load {
        0..250 => 4,
        250..500 => 2,
        _ => 1,
    }
}

fn narrow(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Home {
    /// Takes a contact. `None`: nobody waits for an answer to it. `seed` feeds the home's jitter.
    ///
    /// # Errors
    /// [`NoPolicy`] until a policy is installed; nothing is changed then.
    pub fn contact(&mut self, now: Timestamp, seed: u64, m: &Contact) -> Result<Option<Reply>, NoPolicy> {
        let now = self.tick(now);
        if self.policy.is_none() {
            return Err(NoPolicy);
        }
        if planted!(LetGoTwice) && self.desk.receipt(m) != Receipt::New {
            m.batch.let_go.iter().for_each(|(period, units)| self.let_go(*period, Units::new(*units)));
        }
        let answer = |body| Ok(Some(Reply { holder: m.holder, lane: m.lane, nonce: m.nonce, body }));
        let resync = || Body::Resync { incarnation: self.meta.incarnation.clone() };
        if self.needs_registration() {
            return answer(Body::Shed { hold_ms: UNREGISTERED_MS });
        }
        if m.incarnation.as_ref().is_some_and(|of| *of != self.meta.incarnation) {
            return answer(resync());
        }
        match self.desk.receipt(m) {
            Receipt::Stale => return Ok(None),
            Receipt::Gap => return answer(resync()),
            Receipt::Again(None) => return Ok(None),
            Receipt::Again(Some(mut lease)) => {
                self.crowd.heard_again(now, m.holder);
                self.desk.heard_again(now, m, &mut self.writes);
                lease.told_again(now);
                lease.terms = self.news(m);
                lease.admitted = self.admitted(&lease);
                return answer(Body::Lease(lease));
            }
            Receipt::New => {}
        }
        self.crowd.note(now, m);
        self.calls.heard(now, m.holder);
        if !m.child
            && m.returns.is_empty()
            && let Some(hold_ms) = self.crowd.shed(now)
        {
            return answer(Body::Shed { hold_ms });
        }
        if self.desk.open(m, now.period()) {
            self.settle(now, m.holder, &m.batch);
        }
        self.take_back(now, m.holder, &m.returns);
        let mut lease = self.issue(now, seed, m)?;
        self.desk.close(m, &lease);
        self.desk.write(m, &mut self.writes);
        self.write_account(now.period());
        self.write_meta();
        self.forget(now);
        lease.terms = self.news(m);
        lease.admitted = self.admitted(&lease);
        answer(Body::Lease(lease))
    }

    /// Who has the places, where somebody was refused one. It is not stored with the reply: the places stay taken.
    fn admitted(&self, lease: &Lease) -> Vec<AgentId> {
        let is_full = lease.refusals.iter().any(|refusal| refusal.denial == Denial::AgentLimit);
        let account = self.accounts.get(&lease.period).filter(|_| is_full);
        account.map_or_else(Vec::new, |account| account.agents.iter().cloned().collect())
    }

    /// The terms, where the holder has others.
    fn news(&self, m: &Contact) -> Option<Terms> {
        self.policy.as_ref().filter(|policy| policy.version != m.terms).map(terms)
    }

    /// Adds a batch that was not added before.
    fn settle(&mut self, now: Timestamp, holder: HolderId, batch: &Batch) {
        let (oldest_day, oldest) = (self.oldest_day(now), self.oldest_open(now));
        let mut totals: BTreeMap<Period, u64> = BTreeMap::new();
        if planted!(FalseAck) && batch.lines.len() > 1 {
            return;
        }
        for line in &batch.lines {
            let period = line.key.day.period();
            let late = planted!(LateReportDropped) && period < now.period();
            if line.key.day.number() < oldest_day || period < oldest || late {
                continue;
            }
            if !planted!(BillAtIssue) {
                self.settle_cell(now, &line.key, Units::new(line.units));
            }
            let total = totals.entry(period).or_insert(0);
            *total = total.saturating_add(line.units);
        }
        for number in &batch.calls {
            self.conclude_call(now, CallId { holder, number: *number }, true);
        }
        for sight in &batch.sights {
            if sight.key.day.number() >= oldest_day && sight.key.day.period() >= oldest {
                self.see(now, &sight.key, sight.observed);
                self.note_denials(now, &sight.key, sight.denials);
            }
        }
        for (period, units) in &batch.let_go {
            self.let_go(*period, Units::new(*units));
        }
        for (period, total) in totals {
            // What came from a reserve was not issued before it was served.
            let reserve = batch.reserve.get(&period).copied().unwrap_or(0).min(total);
            let leased = total.saturating_sub(reserve);
            // What a sub-home's storage had issued before it was lost is out with the life that it had then.
            let earlier = batch.earlier.get(&period).copied().unwrap_or(0).min(leased);
            let known = self.desk.came_back(holder, period, leased.saturating_sub(earlier));
            let account = self.accounts.entry(period).or_default();
            account.issued = account.issued.saturating_add(Units::new(reserve));
            account.beyond.add(Beyond::all_overage(reserve));
            // What an earlier life of the storage issued has been held against the allowance already.
            account.void = account.void.saturating_sub(Units::new(leased.saturating_sub(known)));
            self.write_account(period);
        }
    }

    /// Takes back what was not used: units into their own period, permits while their minute lasts.
    fn take_back(&mut self, now: Timestamp, holder: HolderId, returns: &Returns) {
        for (period, units) in &returns.units {
            let known = self.desk.came_back(holder, *period, *units);
            let into = if planted!(ReturnIntoThisPeriod) { now.period() } else { *period };
            // A sub-home gives back what its isolates had of an earlier life of this home, too.
            self.let_go(*period, Units::new(units.saturating_sub(known)));
            let known = if planted!(ReturnWithoutZeroing) { *units } else { known };
            if let Some(account) = self.accounts.get_mut(&into) {
                account.take_back(Units::new(known), returns.beyond_of(*period));
                self.write_account(into);
            }
        }
        for (minute, permits) in &returns.permits {
            self.meta.window.take_back(now, *minute, narrow(*permits));
        }
        for number in &returns.calls {
            self.conclude_call(now, CallId { holder, number: *number }, false);
        }
        for back in &returns.agents {
            let account = self.accounts.get_mut(&back.period);
            if let Some(used) = account.and_then(|account| account.agent_units.get_mut(&back.agent)) {
                *used = used.saturating_sub(Units::new(back.units));
                self.write_account(back.period);
            }
        }
    }

    fn issue(&mut self, now: Timestamp, seed: u64, m: &Contact) -> Result<Box<Lease>, NoPolicy> {
        let policy = self.policy.as_ref().ok_or(NoPolicy)?;
        let mut random = Stream::new(seed);
        let situation = self.situation(now, policy, m);
        let offer = match policy.status {
            Status::Suspended => Offer::default(),
            Status::Active if self.grants_nothing() => Offer::default(),
            Status::Active if policy.leases.strict => Offer::default(),
            Status::Active => offer::offer(&situation, m, &mut random),
        };
        let suspended = policy.status == Status::Suspended;
        let risk = situation.risk.div_euclid(u64::from(policy.leases.sub_homes.max(1)));
        let beyond = self.book_offer(now, m.holder, &offer);
        if m.child {
            self.crowd.stocked(m.holder, offer.permits);
        }
        let ends = Ends { now, period_ms: now.period().end().ms_since(now), minute_ms: situation.minute_ms };
        let mut refusals = self.refusals(ends, m, &offer.short, &mut random);
        if suspended {
            refusals =
                vec![Refusal { denial: Denial::Suspended, agent: None, cost: 1, for_ms: SUSPENDED_MS }];
        }
        let load = self.crowd.load();
        let busy = load > super::crowd::HOLD && offer.units == 0 && refusals.is_empty() && !m.child;
        let hold_ms = if busy { self.crowd.hold_slot(now) } else { 0 };
        let mut lease = Box::new(self.lease(now, m, &situation, &offer));
        (lease.refusals, lease.hold_ms, lease.risk, lease.lanes) = (refusals, hold_ms, risk, lanes(load));
        lease.beyond = beyond;
        Ok(lease)
    }

    /// The reply for an offer, without what follows from the crowd.
    fn lease(&self, now: Timestamp, m: &Contact, s: &Situation, offer: &Offer) -> Lease {
        let (minute, period) = (now.minute(), now.period());
        let minute_ms = minute.end().ms_since(now);
        let next = (offer.next > 0).then(|| NextPermits {
            minute: minute.next(),
            count: offer.next,
            from_ms: minute_ms,
            until_ms: minute.next().end().ms_since(now),
        });
        let tight = !s.open && s.avail < mul_div(s.allowance, RISK_MILLI, 1_000);
        let units = offer.granted.saturating_add(offer.units);
        let permits = offer.granted.saturating_add(offer.permits);
        // What others have can be served too, by them.
        let elsewhere = if s.open { 0 } else { self.live_out(period, Some(m.holder)) };
        Lease {
            incarnation: self.meta.incarnation.clone(),
            written: now,
            version: self.policy_version().unwrap_or(0),
            now,
            now_slack_ms: 0,
            period,
            units,
            beyond: Beyond::NONE,
            valid_ms: period.end().ms_since(now),
            minute,
            permits,
            minute_ms,
            next,
            agents: offer.agents.clone(),
            fresh_ms: FRESH_MS,
            refusals: Vec::new(),
            admitted: Vec::new(),
            revoked: self.revoked(now, m),
            hold_ms: 0,
            report_ms: self.report_ms(now, m.holder, s.report_ms(offer)),
            lanes: 1,
            idle_ms: if tight { IDLE_TIGHT_MS } else { IDLE_MS },
            // Who waits for nothing gives back what others wait for.
            recall: (s.recall && !planted!(CutIgnored)) || (!s.slices && m.needs.is_empty()),
            ample: offer.ample,
            open: s.open,
            allowance: s.allowance,
            left: if s.open { 0 } else { s.left.saturating_sub(units).saturating_add(elsewhere) },
            used: self.used(period).get(),
            permits_left: s.permits.saturating_sub(permits),
            risk: s.risk,
            ack: if planted!(FalseAck) { m.batch.seq } else { self.desk.acked(m.holder) },
            terms: None,
        }
    }

    /// Which of the keys that it asks for are revoked.
    fn revoked(&self, now: Timestamp, m: &Contact) -> Vec<KeyId> {
        let revoked = |key: &&KeyId| !self.has_key(key) && self.is_revoked(now, key);
        m.keys.iter().filter(revoked).cloned().collect()
    }

    /// Notes what is issued, and says what of its units is beyond the plan's.
    fn book_offer(&mut self, now: Timestamp, holder: HolderId, offer: &Offer) -> Beyond {
        let period = now.period();
        let limited = self.policy.as_ref().is_some_and(|policy| policy.agents_max.is_some());
        let units = offer.granted.saturating_add(offer.units);
        let uncharged = planted!(OpenUncharged)
            && self.policy.as_ref().is_some_and(|policy| policy.allowance.overage == Overage::Open);
        let units = if uncharged { 0 } else { units };
        self.desk.issued(holder, period, units);
        let sliced = if planted!(SlicePermitsUncounted) { 0 } else { offer.permits };
        self.meta.window.issue(now, narrow(offer.granted.saturating_add(sliced)));
        self.meta.window.issue_next(now, narrow(offer.next));
        let beyond = self.issue_units(period, Units::new(units));
        let account = self.accounts.entry(period).or_default();
        for grant in &offer.agents {
            if limited && grant.agent.is_named() {
                account.agents.insert(grant.agent.clone());
            }
            if grant.units > 0 {
                let used = account.agent_units.entry(grant.agent.clone()).or_default();
                *used = used.saturating_add(Units::new(grant.units));
            }
        }
        if planted!(BillAtIssue) {
            let key = crate::cell::CellKey {
                day: now.day(),
                kind: crate::kind::Kind::Verify,
                agent: AgentId::none(),
            };
            self.settle_cell(now, &key, Units::new(units));
        }
        if planted!(ReclaimSilent) {
            self.reclaim_silent(now);
        }
        beyond
    }

    /// What the offer depends on.
    fn situation(&self, now: Timestamp, policy: &Policy, m: &Contact) -> Situation {
        let period = now.period();
        let account = self.accounts.get(&period);
        let net = self.net(period);
        let allowance = self.allowance(policy, period);
        let recall = self.grants_nothing() || allowance.is_some_and(|allowance| net > allowance);
        let left = allowance.map_or(Units::MAX, |allowance| allowance.saturating_sub(net));
        let left = if planted!(CutIgnored) && recall { Units::new(8) } else { left };
        let avail = self.room(policy, period).map_or(left, |room| left.min(room));
        let weight = self.crowd.weight(m.holder);
        let minute = now.minute();
        let same_period = minute.next().start().period() == period;
        // Open overage has nothing that a dead isolate could strand.
        let risk = allowance.map_or(Units::MAX.get(), |units| mul_div(units.get(), RISK_MILLI, 1_000));
        let next_left = u64::from(policy.rpm.saturating_sub(self.meta.window.issued_next(now)));
        Situation {
            avail: avail.get(),
            left: left.get(),
            open: allowance.is_none(),
            recall,
            allowance: allowance.unwrap_or_default().get(),
            rpm: u64::from(policy.rpm),
            permits: u64::from(self.meta.window.remaining(now, policy.rpm)),
            next_permits: same_period.then_some(next_left),
            minute_ms: minute.end().ms_since(now),
            out: account.map_or(0, |account| account.out().get()),
            risk,
            row_out: self.desk.out(m.holder, period),
            weight,
            everyone: self.crowd.everyone(weight),
            issuers: 1,
            sub_home: None,
            slices: !self.crowd.is_contended(now),
            rooms: self.rooms(policy, period, m),
            newcomers: self.newcomers(policy, period, m),
            places: self.places(policy, period),
        }
    }

    /// After how long a holder reports; where other processes write the same rows, at its own turn.
    fn report_ms(&self, now: Timestamp, holder: HolderId, usual_ms: u64) -> u64 {
        if self.escrow().is_none() {
            return usual_ms;
        }
        let before = self.crowd.present().take_while(|other| **other < holder).count();
        turn_ms(now, usual_ms, (u64::try_from(before).unwrap_or_default(), self.crowd.count()))
    }

    /// How many agents more may be used in the period.
    fn places(&self, policy: &Policy, period: Period) -> u64 {
        let known = self.accounts.get(&period).map_or(0, |account| account.agents.len());
        let known = u64::try_from(known).unwrap_or(u64::MAX);
        policy.agents_max.map_or(u64::MAX, |max| u64::from(max).saturating_sub(known))
    }

    /// The agents that the contact names which would need such a place.
    fn newcomers(&self, policy: &Policy, period: Period, m: &Contact) -> BTreeSet<AgentId> {
        let account = self.accounts.get(&period);
        let is_new = |agent: &&AgentId| {
            agent.is_named() && !account.is_some_and(|account| account.agents.contains(*agent))
        };
        let named = m.needs.iter().filter_map(|need| need.agent.as_ref());
        named.filter(|_| policy.agents_max.is_some()).filter(is_new).cloned().collect()
    }

    /// What limits the agents that the contact names.
    fn rooms(&self, policy: &Policy, period: Period, m: &Contact) -> BTreeMap<AgentId, Room> {
        let account = self.accounts.get(&period);
        let room = |agent: &AgentId| {
            policy.leases.agents.get(agent).map_or(Room::Free, |limit| {
                let used = account.and_then(|account| account.agent_units.get(agent).copied());
                Room::Units(limit.saturating_sub(used.unwrap_or_default()).get())
            })
        };
        let named = m.needs.iter().filter_map(|need| need.agent.as_ref());
        named.map(|agent| (agent.clone(), room(agent))).collect()
    }
}

/// The part of a policy that holders enforce.
pub(crate) fn terms(policy: &Policy) -> Terms {
    Terms {
        version: policy.version,
        status: policy.status,
        plan: policy.plan,
        keys: policy.keys.clone(),
        rpm: policy.rpm,
        agents_max: policy.agents_max,
        upgrade_url: policy.upgrade_url.clone(),
        strict: policy.leases.strict,
        agents_limited: policy.agents_max.is_some(),
        capped: policy.leases.agents.keys().cloned().collect(),
        sub_homes: policy.leases.sub_homes,
        tells_sources: true,
    }
}
