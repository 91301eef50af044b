//! The holder: one isolate's side of its leases. It decides most requests without I/O.
//!
//! A shell asks, sends what [`Holder::contacts`] gives, hands replies in, and asks again when a
//! waiting request has its turn. A holder must never serve what it does not have in hand, whatever
//! its clock does between two events, and it refuses instead of panicking.

mod calls;
mod contacts;
mod held;
mod numbers;
mod observed;
mod reply;
mod waiting;

use alloc::vec::Vec;

use crate::decision::{Ask, Denial};
use crate::ids::{AgentId, KeyId};
use crate::lease::book::{Book, Served};
use crate::lease::keys::UnknownKeys;
use crate::lease::math::Rate;
use crate::lease::message::{HolderId, Terms};
use crate::lease::places::PlacesTaken;
use crate::lease::stock::Stock;
use crate::lease::uplink::Uplink;
use crate::lease::{RESERVE_UNITS_MAX, WAITERS_MAX};
use crate::planted::planted;
use crate::policy::Status;
use crate::random::Stream;
use crate::source::Paid;
use crate::time::Timestamp;

pub use calls::CallEnd;
use calls::Calls;
use contacts::Pace;
pub use held::HeldUnits;
use numbers::Heard;
pub use numbers::{Frame, InHand, Left};
pub use observed::Noted;
pub use waiting::WaiterId;
use waiting::Waiting;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is served; it is counted.
    Allow,
    /// It is not served.
    Deny {
        /// Why.
        denial: Denial,
        /// After how long it may be tried again, where waiting helps.
        retry_ms: u64,
    },
    /// The home is asked: ask for this waiter's outcome later.
    Wait(WaiterId),
    /// The home itself must decide this one.
    AtHome,
    /// No home answered in time.
    Unavailable,
}

/// A refusal that still holds.
#[derive(Debug, Clone)]
struct Running {
    denial: Denial,
    agent: Option<AgentId>,
    cost: u32,
    until: Timestamp,
    /// The version of the terms that it rests on.
    version: u64,
}

/// One isolate's leases. See the module's page.
#[derive(Debug, Clone)]
pub struct Holder {
    random: Stream,
    terms: Option<Terms>,
    stock: Stock,
    book: Book,
    uplink: Uplink,
    waiting: Waiting,
    refusals: Vec<Running>,
    taken: PlacesTaken,
    hold_until: Timestamp,
    /// The home has nothing to say yet to those who wait: it is asked again from then.
    put_off_until: Timestamp,
    /// When waiting requests can be served from what is in hand.
    turn_at: Option<Timestamp>,
    unknown: UnknownKeys,
    calls: Calls,
    demand: Rate,
    pace: Pace,
    heard: Option<Heard>,
    reserve_left: u64,
    closing: bool,
    /// Copies of contacts that were sent, and how many of them the home could not take.
    sent: u64,
    failed: u64,
    /// What the last decision has spent for a request that is counted later.
    held: Option<HeldUnits>,
    /// What pays for the last request that was allowed.
    paid: Option<Paid>,
}

impl Holder {
    /// A holder with that id; `seed` feeds its jitter.
    #[must_use]
    pub fn new(id: HolderId, seed: u64) -> Self {
        Self {
            random: Stream::new(seed),
            terms: None,
            stock: Stock::default(),
            book: Book::default(),
            uplink: Uplink::new(id),
            waiting: Waiting::default(),
            refusals: Vec::new(),
            taken: PlacesTaken::default(),
            hold_until: Timestamp::default(),
            put_off_until: Timestamp::default(),
            turn_at: None,
            unknown: UnknownKeys::default(),
            calls: Calls::default(),
            demand: Rate::default(),
            pace: Pace::default(),
            heard: None,
            reserve_left: RESERVE_UNITS_MAX,
            closing: false,
            sent: 0,
            failed: 0,
            held: None,
            paid: None,
        }
    }

    /// This holder's id.
    #[must_use]
    pub fn id(&self) -> HolderId {
        self.uplink.id
    }

    /// The terms that the home has sent, if any.
    #[must_use]
    pub fn terms(&self) -> Option<&Terms> {
        self.terms.as_ref()
    }

    /// Whether nothing is held, owed or under way.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.stock.is_empty()
            && self.book.is_reported()
            && !self.uplink.has_frozen()
            && self.uplink.returns.is_empty()
            && self.uplink.is_quiet()
            && self.calls.is_empty()
    }

    /// Units served that no home has acknowledged: what is lost if this isolate dies now.
    #[must_use]
    pub fn unsettled(&self) -> u64 {
        self.book.pending.saturating_add(self.uplink.frozen_units())
    }

    /// Decides one request. An allowed one is counted, unless it is a dry run.
    pub fn decide(&mut self, now: Timestamp, ask: &Ask) -> Answer {
        if self.serve(now, ask) {
            return Answer::Allow;
        }
        self.wanted(now, ask);
        let known = self.may_know(&ask.key);
        let decided = if known {
            self.gate().or_else(|| self.refusal(now, ask, false))
        } else {
            self.revoked(now, &ask.key)
        };
        if let Some(answer) = decided {
            return answer;
        }
        if self.waiting.len() >= WAITERS_MAX || self.closing {
            return Answer::Deny { denial: Denial::QuotaContended, retry_ms: 1_000 };
        }
        if ask.dry_run && known { Answer::AtHome } else { Answer::Wait(self.waiting.join(now, ask, known)) }
    }

    /// Allows one request if what is in hand is enough, and counts it like [`Holder::decide`]; else nothing has happened.
    pub fn serve(&mut self, now: Timestamp, ask: &Ask) -> bool {
        let knows = |terms: &Terms| !terms.strict && terms.keys.contains(&ask.key);
        let served = self.terms.as_ref().is_some_and(knows) && self.spend(now, ask, Freshness::Required);
        if served {
            self.wanted(now, ask);
        }
        served
    }

    /// Notes that there is demand.
    fn wanted(&mut self, now: Timestamp, ask: &Ask) {
        self.demand.count(now, u64::from(ask.cost));
        self.pace.requested(now);
    }

    /// Whether the terms have that key, or there are none yet.
    fn may_know(&self, key: &KeyId) -> bool {
        self.terms.as_ref().is_none_or(|terms| terms.keys.contains(key))
    }

    /// The refusal of a key that the home does not know either, as far as it has said so lately.
    fn revoked(&self, now: Timestamp, key: &KeyId) -> Option<Answer> {
        let refused = self.unknown.is_refused(now, key) || planted!(NewKeyRefused);
        refused.then_some(Answer::Deny { denial: Denial::KeyRevoked, retry_ms: 0 })
    }

    /// What the terms alone decide of a key that they have.
    fn gate(&self) -> Option<Answer> {
        self.terms.as_ref().filter(|terms| terms.strict).map(|_| Answer::AtHome)
    }

    /// Spends if everything that the request needs is in hand. All or nothing.
    fn spend(&mut self, now: Timestamp, ask: &Ask, freshness: Freshness) -> bool {
        self.paid = None;
        self.stock.expire(now, &mut self.uplink.returns);
        let Some(terms) = self.terms.as_ref() else { return false };
        let cost = u64::from(ask.cost);
        let fresh = freshness == Freshness::JustHeard || self.stock.is_fresh(now);
        if !fresh || terms.status == Status::Suspended || self.stock.units < cost {
            return false;
        }
        let Some(slot) = self.stock.slot(now).filter(|slot| slot.count >= cost) else { return false };
        let (day, period, minute) = (slot.day, slot.period, slot.minute);
        let capped = !terms.capped.is_empty() && terms.capped.binary_search(&ask.agent).is_ok();
        let capped = capped && !planted!(CappedFromShared);
        let limited = capped || (terms.agents_limited && ask.agent.is_named());
        let entry = self.book.agents.get_mut(&ask.agent);
        if limited
            && !entry
                .as_ref()
                .is_some_and(|entry| entry.admitted == Some(period) && (!capped || entry.units >= cost))
        {
            return false;
        }
        if ask.dry_run {
            return true;
        }
        slot.count = slot.count.saturating_sub(cost);
        if ask.held {
            if let Some(entry) = entry.filter(|_| capped) {
                entry.units = entry.units.saturating_sub(cost);
            }
            let beyond = self.stock.take(cost);
            self.paid = Some(beyond.of(cost));
            self.held = Some(HeldUnits::new(ask, minute, beyond, capped));
            return true;
        }
        let served = Served { day, kind: ask.kind, units: cost };
        match entry {
            Some(entry) => {
                if capped {
                    entry.units = entry.units.saturating_sub(cost);
                }
                entry.count(served);
                self.book.counted(now, cost);
            }
            None => self.book.count(now, &ask.agent, served),
        }
        self.paid = Some(self.stock.take(cost).of(cost));
        true
    }

    /// Why the request is refused without asking, if a refusal holds. One of older terms holds only for whom it is
    /// the answer to, `answered`.
    fn refusal(&self, now: Timestamp, ask: &Ask, answered: bool) -> Option<Answer> {
        let version = self.terms.as_ref().map_or(0, |terms| terms.version);
        let running = self.refusals.iter().find(|running| {
            now < running.until
                && (answered || running.version >= version)
                && ask.cost >= running.cost
                && running.agent.as_ref().is_none_or(|agent| *agent == ask.agent)
        });
        match running {
            Some(running) => {
                Some(Answer::Deny { denial: running.denial, retry_ms: running.until.ms_since(now) })
            }
            None if let Some(retry_ms) = self.taken.refused_ms(now, version, &ask.agent) => {
                Some(Answer::Deny { denial: Denial::AgentLimit, retry_ms })
            }
            None if now < self.hold_until => {
                Some(Answer::Deny { denial: Denial::QuotaContended, retry_ms: self.hold_until.ms_since(now) })
            }
            None => None,
        }
    }

    /// Stops holding leases: everything goes back, and new requests are turned away. For an isolate
    /// that moves to another home.
    pub fn close(&mut self) {
        self.closing = true;
        self.give_back_all();
    }

    /// The home could not take a copy of a contact. Says whether that is so for all that were ever sent: then nothing was
    /// issued, and this holder may be forgotten. Before, another copy may bring units.
    pub fn contact_failed(&mut self) -> bool {
        self.failed = self.failed.saturating_add(1);
        self.failed >= self.sent
    }

    fn give_back_all(&mut self) {
        self.stock.drain(&mut self.uplink.returns);
        self.book.drain(None, &mut self.uplink.returns);
    }
}

/// Whether what is in hand must be fresh, or a reply to this very request has just come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freshness {
    Required,
    JustHeard,
}

#[cfg(test)]
mod tests;
