//! When a holder writes to its home, and what.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Holder;
use crate::decision::Ask;
use crate::home::offer::REPORT_CALM_MS_MAX;
use crate::ids::AgentId;
use crate::lease::keys::ASK_GAP_MS;
use crate::lease::math::{in_ms, mul_div};
use crate::lease::message::{Contact, Lease};
use crate::lease::stock::Delivery;
use crate::lease::uplink::Draft;
use crate::lease::{MARGIN_MS, TAIL_BEAT_MS};
use crate::random::Stream;
use crate::time::Timestamp;

/// The shortest pause between two contacts that nobody waits for, in milliseconds.
const BACKGROUND_MS_MIN: u64 = 100;
/// The longest such pause, in milliseconds.
const BACKGROUND_MS_MAX: u64 = 600;
/// How much of a slice is left when the next is asked for, in hundredths: drawn, so that not all ask together.
const LOW_PERCENT: (u64, u64) = (15, 55);
/// For how long it must last at most, in milliseconds: a few round trips. More would go back and forth unused.
const LOW_MS: (u64, u64) = (200, 600);
/// The least time before its end at which freshness is renewed, in milliseconds.
const FRESH_AHEAD_MS: u64 = 2_000;
/// The last sixth of a minute, in which permits of the next one are fetched, in milliseconds.
const NEXT_AHEAD_MS: u64 = 10_000;
/// How often they are asked for, in milliseconds.
const NEXT_GAP_MS: u64 = 1_000;
/// How long refused requests wait for company, in milliseconds: whoever is refused all the time writes no more often.
const DENIALS_MS_MIN: u64 = 1_000;
/// An issuer that says so or less has little left.
const TIGHT_IDLE_MS: u64 = 500;
/// The longest time without requests after which everything goes back, in milliseconds.
const IDLE_MS_MAX: u64 = 10_000;

/// How often and when to write, as the home has said.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    report_ms: u64,
    idle_ms: u64,
    last_request: Timestamp,
    last_background: Timestamp,
    /// Below this, units or permits are low.
    low: u64,
    /// When to ask for the next minute's permits, and when it begins.
    next_at: Option<Timestamp>,
    next_end: Timestamp,
    /// The home's time at least, ours when we heard it, and how much later it may be.
    home: Option<(Timestamp, Timestamp, u64)>,
    first: bool,
    /// Whether much is left.
    ample: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            report_ms: 500,
            idle_ms: 2_000,
            last_request: Timestamp::default(),
            last_background: Timestamp::default(),
            low: 0,
            next_at: None,
            next_end: Timestamp::default(),
            home: None,
            first: true,
            ample: false,
        }
    }
}

/// What the next contact depends on besides the reply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Likely {
    /// Requests in thousandths per second.
    pub(super) rate: u64,
    /// When the permits in hand end.
    pub(super) minute_until: Option<Timestamp>,
}

impl Pace {
    pub(super) fn requested(&mut self, now: Timestamp) {
        self.last_request = self.last_request.max(now);
    }

    /// The home's time, where it is certain which day it is there.
    pub(super) fn home_time(&self, now: Timestamp) -> Option<Timestamp> {
        // Seven hours of drift at 200 ppm.
        const GUARD_MS: u64 = 5_000;
        let (home, ours, slack) = self.home?;
        let at = home.plus_ms(now.ms_since(ours));
        let earliest = Timestamp::from_ms(at.as_ms().saturating_sub(GUARD_MS));
        let latest = at.plus_ms(slack).plus_ms(GUARD_MS);
        (earliest.day() == latest.day()).then_some(at)
    }

    /// The home's time as well as it is known.
    pub(super) fn likely_time(&self, now: Timestamp) -> Timestamp {
        self.home.map_or(now, |(home, ours, _)| home.plus_ms(now.ms_since(ours)))
    }

    pub(super) fn replied(
        &mut self,
        at: Delivery,
        lease: &Lease,
        Likely { rate, minute_until }: Likely,
        random: &mut Stream,
    ) {
        let now = at.received;
        self.first = false;
        self.ample = lease.ample || lease.open;
        self.report_ms = lease.report_ms.clamp(BACKGROUND_MS_MIN, REPORT_CALM_MS_MAX);
        self.idle_ms = lease.idle_ms.max(100);
        self.home = Some((lease.now, now, now.ms_since(at.sent).saturating_add(lease.now_slack_ms)));
        let low = mul_div(lease.units.min(lease.permits), random.between(LOW_PERCENT.0, LOW_PERCENT.1), 100);
        let lasts = in_ms(rate, random.between(LOW_MS.0, LOW_MS.1));
        self.low = if rate == 0 { low } else { low.min(lasts) };
        if let Some(until) = minute_until.filter(|_| self.next_at.is_none_or(|at| at < now)) {
            let end = until.plus_ms(MARGIN_MS).as_ms();
            self.next_end = Timestamp::from_ms(end);
            let point = end.saturating_sub(random.between(BACKGROUND_MS_MIN, NEXT_AHEAD_MS));
            let earliest = self.next_at.map_or(now, |last| last.plus_ms(NEXT_GAP_MS)).as_ms();
            self.next_at = Some(Timestamp::from_ms(point.max(earliest))).filter(|at| at.as_ms() < end);
        }
    }

    fn idle_after_ms(&self, rate: u64) -> u64 {
        if self.idle_ms <= TIGHT_IDLE_MS || rate == 0 || !self.ample {
            return self.idle_ms;
        }
        self.idle_ms.max(mul_div(3, 1_000_000, rate).min(IDLE_MS_MAX))
    }
}

impl Holder {
    /// What is to be sent now: contacts again that were not answered, and new ones.
    pub fn contacts(&mut self, now: Timestamp) -> Vec<Contact> {
        self.time_out(now);
        self.give_up_calls(now);
        self.stock.expire(now, &mut self.uplink.returns);
        let mut out = self.uplink.resends(now);
        if self.idle_at(now).is_some_and(|at| now >= at) {
            self.give_back_all();
        }
        if self.turn_at.is_some_and(|at| now >= at) {
            self.turn_at = None;
            self.resolve(now, None);
        }
        if self.waiting.has_uncarried() {
            self.turn_at = self.stock.turn(now);
        }
        if now >= self.hold_until.max(self.put_off_until) && self.turn_at.is_none() {
            while self.waiting.has_uncarried() {
                let Some(lane) = self.uplink.free_lane() else { break };
                out.extend(self.contact(now, lane, true));
            }
            if self.waiting.has_question()
                && now >= self.unknown.ask_from()
                && let Some(lane) = self.uplink.free_lane()
            {
                out.extend(self.question(now, lane));
            }
        }
        if out.is_empty() && self.background_at(now).is_some_and(|at| now >= at) {
            let asks_next = self.pace.next_at.is_some_and(|at| now >= at);
            if asks_next {
                self.pace.next_at = Some(now);
            }
            out.extend(self.report(now));
        }
        self.sent = self.sent.saturating_add(u64::try_from(out.len()).unwrap_or(u64::MAX));
        out
    }

    /// When [`Holder::contacts`] has something to do next, if nothing else happens.
    #[must_use]
    pub fn wake_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        let free = self.uplink.free_lane().is_some();
        let gate = self.turn_at.unwrap_or(self.hold_until).max(self.put_off_until).max(now);
        let asking = (free && self.waiting.has_uncarried()).then_some(gate);
        let question = (free && self.waiting.has_question()).then(|| gate.max(self.unknown.ask_from()));
        let background = self.background_at(now);
        let idle = self.idle_at(now);
        let given_up = [self.uplink.resend_at(), self.waiting.timeout(), self.calls.timeout()];
        [asking, question, background, idle].into_iter().chain(given_up).flatten().min()
    }

    /// A contact that nobody waits for.
    pub(super) fn report(&mut self, now: Timestamp) -> Option<Contact> {
        self.pace.last_background = now;
        let renew = !self.is_idle(now) && !self.closing;
        self.contact(now, 0, renew)
    }

    fn contact(&mut self, now: Timestamp, lane: u8, renew: bool) -> Option<Contact> {
        if self.waiting.has_costlier(self.stock.units.min(self.stock.permits(now))) {
            // The issuer may lack just what is in hand here: it goes back in the contact that asks for more.
            self.stock.drain(&mut self.uplink.returns);
        }
        let (terms, book, period) = (self.terms.as_ref(), &self.book, self.stock.period);
        let mut spoken_for: BTreeMap<AgentId, u64> = BTreeMap::new();
        let names_agent = |ask: &Ask| {
            let Some(terms) = terms else { return true };
            if terms.capped.binary_search(&ask.agent).is_err() {
                return terms.agents_limited && ask.agent.is_named();
            }
            // What is in hand of an agent's own limit the issuer has not: it would refuse the agent for want of just that.
            let spoken = spoken_for.entry(ask.agent.clone()).or_insert(0);
            let wanted = spoken.saturating_add(u64::from(ask.cost));
            let is_in_hand = period.is_some_and(|period| book.units(&ask.agent, period) >= wanted);
            if is_in_hand {
                *spoken = wanted;
            }
            !is_in_hand
        };
        let (needs, keys) = self.waiting.take_needs(lane, terms.is_none(), names_agent);
        let draft = Draft {
            child: false,
            needs,
            renew,
            first: self.pace.first,
            rate: self.demand.milli(now),
            held: self.stock.held(now),
            stranded: 0,
            period: self.stock.period,
            terms: terms.map_or(0, |terms| terms.version),
            keys,
        };
        self.uplink.send(now, lane, draft, &mut self.book)
    }

    /// Asks for unknown keys, and for nothing else: whoever has a known key must not wait for what becomes of them.
    fn question(&mut self, now: Timestamp, lane: u8) -> Option<Contact> {
        self.unknown.asked(now, ASK_GAP_MS);
        let draft = Draft {
            first: self.pace.first,
            rate: self.demand.milli(now),
            held: self.stock.held(now),
            period: self.stock.period,
            terms: self.terms.as_ref().map_or(0, |terms| terms.version),
            keys: self.waiting.take_keys(lane),
            ..Draft::default()
        };
        self.uplink.send(now, lane, draft, &mut self.book)
    }

    fn is_idle(&mut self, now: Timestamp) -> bool {
        let after = self.pace.idle_after_ms(self.demand.milli(now));
        now >= self.pace.last_request.plus_ms(after)
    }

    /// When everything goes back for want of requests.
    fn idle_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        let holds = !self.stock.is_empty() || self.book.agents.values().any(|entry| entry.units > 0);
        let after = self.pace.idle_after_ms(self.demand.milli(now));
        holds.then(|| self.pace.last_request.plus_ms(after))
    }

    /// When a contact that nobody waits for is due; never while one is under way on lane 0.
    fn background_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        if !self.uplink.is_free(0) || self.waiting.has_uncarried() {
            return None;
        }
        let pace = &self.pace;
        let quiet = pace.last_request.plus_ms(pace.idle_ms.max(FRESH_AHEAD_MS));
        let idle = now >= quiet;
        let gap = pace.report_ms.div_euclid(8).clamp(BACKGROUND_MS_MIN, BACKGROUND_MS_MAX);
        let gate = self.hold_until.max(pace.last_background.plus_ms(gap));
        let turning = self.stock.turn(now).is_some();
        let permits = if turning { self.stock.next_permits(now) } else { self.stock.permits(now) };
        let low = (pace.low > 0 && self.stock.units.min(permits) < pace.low && !idle).then_some(now);
        // Who has nothing more to serve does not wait for company.
        let quiet = if self.closing { now } else { quiet };
        let report = self.book.since.map(|since| since.plus_ms(pace.report_ms).min(quiet));
        let refused = self.book.denied_since.map(|since| since.plus_ms(pace.report_ms.max(DENIALS_MS_MIN)));
        let frozen = (self.uplink.has_frozen() || !self.uplink.returns.is_empty()).then_some(now);
        let holds = !self.stock.is_empty() && !idle;
        let fresh =
            holds.then(|| Timestamp::from_ms(self.stock.fresh_until.as_ms().saturating_sub(FRESH_AHEAD_MS)));
        // A report that comes before the minute ends brings them too.
        let passing = report.into_iter().chain(fresh).min();
        let before_end = |due: &Timestamp| due.plus_ms(BACKGROUND_MS_MIN) < pace.next_end;
        let next = pace
            .next_at
            .filter(|_| !idle && now < pace.next_end && self.stock.next_permits(now) == 0)
            .map(|at| passing.filter(before_end).map_or(at, |due| due.max(at)));
        // Others may wait for what is in hand here.
        let asked_back = (!self.stock.is_empty() && !pace.ample)
            .then(|| pace.home.map_or(now, |(_, ours, _)| ours.plus_ms(TAIL_BEAT_MS)));
        let due = [low, report, refused, frozen, fresh, next, asked_back].into_iter().flatten().min()?;
        Some(due.max(gate))
    }
}
