//! A sub-home: a home towards the isolates of its region, and a holder towards the project's home.
//!
//! Many cold isolates are many messages; a sub-home makes few of them. Both halves are durable, so
//! it does not die as an isolate does. It must never issue what it does not have in its stock.

mod issue;
mod keys;
mod upward;

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::decision::Denial;
use crate::home::crowd::{Crowd, SEEN_MS};
use crate::home::desk::{Desk, Receipt};
use crate::home::leases::{self, SubHomeLeases};
use crate::home::rows::{Writes, read};
use crate::home::{CorruptRow, Row};
use crate::ids::Incarnation;
use crate::lease::book::Book;
use crate::lease::keys::UnknownKeys;
use crate::lease::math::Rate;
use crate::lease::message::{Body, Contact, HolderId, Lease, Refusal, Reply, Terms};
use crate::lease::places::PlacesTaken;
use crate::lease::progress::Progress;
use crate::lease::stock::Stock;
use crate::lease::uplink::Uplink;
use crate::planted::planted;
use crate::random::Stream;
use crate::time::{Minute, Period, Timestamp};
use crate::units::Units;

/// The most contacts that wait for the home; further ones are dropped, and sent again.
const PARKED_MAX: usize = 4_096;
/// How long a contact waits before it is forgotten; its holder sends it again, in milliseconds.
const PARKED_MS_MAX: u64 = 3_000;

const STOCK: &str = "stock";

/// What a sub-home has, and what it knows of the project. Written with every change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ware {
    incarnation: Incarnation,
    clock: Timestamp,
    stock: Stock,
    book: Book,
    uplink: Uplink,
    /// Units out with isolates.
    out: BTreeMap<Period, u64>,
    terms: Option<Terms>,
    allowance: u64,
    risk: u64,
    ample: bool,
    first: bool,
}

/// A contact that waits for the home.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parked {
    contact: Contact,
    since: Timestamp,
    carried: Option<u8>,
}

/// When it last wrote to the home. A crash may lose it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Pace {
    last: Timestamp,
    last_refill: Timestamp,
    last_report: Timestamp,
    last_next: Timestamp,
    last_issue: Timestamp,
    hold_until: Timestamp,
    issued: Rate,
    /// The home's time at least, ours when we heard it, and how long its contact was under way.
    home: Option<(Timestamp, Timestamp, u64)>,
    /// How much the home was told to be stranded.
    stranded: u64,
}

/// What the home had left when it last replied, for answers that show it. Nothing is decided by it, and a crash
/// may lose it: nothing is issued before the home has replied again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Above {
    /// The home's time, so that a late reply does not overwrite a newer one.
    now: Timestamp,
    minute: Minute,
    units: u64,
    /// Units served of that period, as far as the home knew.
    used: (Option<Period>, u64),
    permits: u64,
}

impl Above {
    /// Permits of that minute; of one that began since, the whole limit.
    fn permits(&self, minute: Minute, rpm: u32) -> u64 {
        if self.minute == minute { self.permits } else { u64::from(rpm) }
    }
}

/// A refusal by the home that still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Running {
    refusal: Refusal,
    until: Timestamp,
    /// The version of the terms that it rests on.
    version: u64,
}

/// One sub-home. See the module's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubHome {
    ware: Ware,
    desk: Desk,
    crowd: Crowd,
    parked: Vec<Parked>,
    refusals: Vec<Running>,
    taken: PlacesTaken,
    /// Keys that isolates asked for and the terms do not have. A crash may lose it: they are asked for again.
    unknown: UnknownKeys,
    pace: Pace,
    above: Above,
    writes: Writes,
}

impl SubHome {
    /// A sub-home that has stored nothing yet; `id` is what the home knows it by.
    #[must_use]
    pub fn new(id: HolderId, incarnation: Incarnation) -> Self {
        Self::of(Ware {
            incarnation,
            clock: Timestamp::default(),
            stock: Stock::default(),
            book: Book::default(),
            uplink: Uplink::new(id),
            out: BTreeMap::new(),
            terms: None,
            allowance: 0,
            risk: 0,
            ample: false,
            first: true,
        })
    }

    fn of(ware: Ware) -> Self {
        Self {
            ware,
            desk: Desk::default(),
            crowd: Crowd::default(),
            parked: Vec::new(),
            refusals: Vec::new(),
            taken: PlacesTaken::default(),
            unknown: UnknownKeys::default(),
            pace: Pace::default(),
            above: Above::default(),
            writes: Writes::default(),
        }
    }

    /// Reads a sub-home back from its rows; `None` if nothing was ever stored. It contacts the home
    /// before it issues again, but settles and takes back at once.
    ///
    /// # Errors
    /// When a row is not one that a sub-home has written.
    pub fn load(rows: impl IntoIterator<Item = (String, String)>) -> Result<Option<Self>, CorruptRow> {
        let mut rows: Vec<_> = rows.into_iter().collect();
        let Some(stock) = rows.iter().position(|(key, _)| key == STOCK) else { return Ok(None) };
        let (key, value) = rows.remove(stock);
        let mut sub = Self::of(read(&key, &value)?);
        sub.ware.stock.fresh_until = Timestamp::default();
        // Terms of a home of a release before may not say what newer ones do: they are asked for again.
        sub.ware.terms = sub.ware.terms.filter(|terms| terms.tells_sources);
        for (key, value) in &rows {
            sub.desk.load_row(key, value)?;
        }
        // Whoever was here before the restart still is: what is out with them is not stranded.
        for (holder, at) in sub.desk.heard(sub.ware.clock, SEEN_MS) {
            sub.crowd.presume(holder, at);
        }
        Ok(Some(sub))
    }

    /// What the home knows it by.
    #[must_use]
    pub fn id(&self) -> HolderId {
        self.ware.uplink.id
    }

    /// Whether the home has heard more from this sub-home than its rows tell: its storage was restored, and a new
    /// life must begin. A copy of less than two seconds before the end, with no contact in them, is not found out.
    #[must_use]
    pub fn is_restored(&self, at_home: &Progress) -> bool {
        at_home.is_beyond(&self.ware.uplink.progress())
    }

    /// Begins a new life: the storage was lost, restored or failed over. What the old life had in stock, and
    /// reports that it had taken and not passed on, are forfeited: some of them may have been spent or passed on.
    /// `id` must never have been used.
    pub fn begin_life(&mut self, id: HolderId, incarnation: Incarnation) {
        if planted!(SubRollbackUnnoticed) {
            return;
        }
        let clock = self.ware.clock;
        self.desk.clear(&mut self.writes);
        let writes = core::mem::take(&mut self.writes);
        *self = Self::new(id, incarnation);
        (self.ware.clock, self.writes) = (clock, writes);
        self.write_ware();
    }

    /// Units that isolates reported and the home has not acknowledged: what is lost with the storage.
    #[must_use]
    pub fn unsettled(&self) -> u64 {
        self.ware.book.pending.saturating_add(self.ware.uplink.frozen_units())
    }

    /// Takes the rows that changed. They must be written in one durable write before any contact or
    /// reply of those changes leaves.
    #[must_use]
    pub fn take_writes(&mut self) -> Vec<Row> {
        self.writes.take()
    }

    /// Takes an isolate's contact. `None`: it is parked, or nobody waits for an answer to it.
    pub fn contact(&mut self, now: Timestamp, seed: u64, m: &Contact) -> Option<Reply> {
        let now = self.tick(now);
        if m.incarnation.as_ref().is_some_and(|of| *of != self.ware.incarnation) {
            return Some(self.resync(m));
        }
        match self.desk.receipt(m) {
            Receipt::Stale => return None,
            Receipt::Gap => return Some(self.resync(m)),
            Receipt::Again(Some(mut lease)) => {
                self.crowd.heard_again(now, m.holder);
                self.desk.heard_again(now, m, &mut self.writes);
                lease.told_again(now);
                return Some(self.reply(m, lease));
            }
            Receipt::Again(None) => self.crowd.heard_again(now, m.holder),
            Receipt::New => {
                self.crowd.note(now, m);
                if m.returns.is_empty()
                    && let Some(hold_ms) = self.crowd.shed(now)
                {
                    let body = Body::Shed { hold_ms };
                    return Some(Reply { holder: m.holder, lane: m.lane, nonce: m.nonce, body });
                }
                self.take(now, m);
            }
        }
        let answered = self.answer(now, seed, m, false);
        if answered.is_none() {
            self.park(now, m);
        }
        self.write(m);
        answered.map(|lease| self.reply(m, lease))
    }

    /// Adds the report and takes back what was not used.
    fn take(&mut self, now: Timestamp, m: &Contact) {
        let period = self.ware.stock.period.unwrap_or_else(|| now.period());
        if self.desk.open(m, period) {
            self.ware.book.merge(now, &m.batch);
            let mut totals: BTreeMap<Period, u64> = BTreeMap::new();
            for line in &m.batch.lines {
                let total = totals.entry(line.key.day.period()).or_insert(0);
                *total = total.saturating_add(line.units);
            }
            for (period, total) in totals {
                let leased = total.saturating_sub(m.batch.reserve.get(&period).copied().unwrap_or(0));
                let known = self.came_back(m.holder, period, leased);
                self.ware.book.count_earlier(period, leased.saturating_sub(known));
            }
        }
        let ware = &mut self.ware;
        ware.stock.expire(now, &mut ware.uplink.returns);
        for (period, units) in &m.returns.units {
            let known = self.came_back(m.holder, *period, *units);
            let beyond = m.returns.beyond_of(*period).within(known);
            let ware = &mut self.ware;
            let current = ware.stock.period == Some(*period) && now < ware.stock.units_until;
            if current && !ware.stock.recalled {
                ware.stock.put(known, beyond);
            } else {
                ware.uplink.returns.add_units(*period, known, beyond);
            }
        }
        let ware = &mut self.ware;
        for (minute, permits) in &m.returns.permits {
            if let Some(slot) = ware.stock.slots.iter_mut().find(|slot| slot.minute == *minute) {
                slot.count = slot.count.saturating_add(*permits);
            } else {
                ware.uplink.returns.add_permits(*minute, *permits);
            }
        }
        for back in &m.returns.agents {
            // They may be of limits that were cut meanwhile: only the home can tell.
            ware.uplink.returns.add_agent(back.period, &back.agent, back.units);
        }
    }

    fn came_back(&mut self, holder: HolderId, period: Period, units: u64) -> u64 {
        let known = self.desk.came_back(holder, period, units);
        if let Some(out) = self.ware.out.get_mut(&period) {
            *out = out.saturating_sub(known);
        }
        known
    }

    /// Answers if it can; `None` leaves the contact to be parked.
    fn answer(&mut self, now: Timestamp, seed: u64, m: &Contact, has_answered: bool) -> Option<Box<Lease>> {
        let mut random = Stream::new(seed);
        let lease = self.issue(now, m, has_answered, &mut random)?;
        self.desk.close(m, &lease);
        self.parked.retain(|parked| (parked.contact.holder, parked.contact.lane) != (m.holder, m.lane));
        Some(lease)
    }

    fn park(&mut self, now: Timestamp, m: &Contact) {
        self.parked.retain(|parked| now.ms_since(parked.since) < PARKED_MS_MAX);
        let full = self.parked.len() >= PARKED_MAX;
        let known = self
            .parked
            .iter_mut()
            .find(|parked| (parked.contact.holder, parked.contact.lane) == (m.holder, m.lane));
        match known {
            Some(parked) if parked.contact.nonce == m.nonce => {}
            Some(parked) => *parked = Parked { contact: m.clone(), since: now, carried: None },
            None if full => {}
            None => self.parked.push(Parked { contact: m.clone(), since: now, carried: None }),
        }
    }

    fn reply(&self, m: &Contact, mut lease: Box<Lease>) -> Reply {
        lease.terms = self.ware.terms.clone().filter(|terms| terms.version != m.terms);
        if lease.refusals.iter().any(|refusal| refusal.denial == Denial::AgentLimit) {
            lease.admitted = self.taken.told();
        }
        let body = Body::Lease(lease);
        Reply { holder: m.holder, lane: m.lane, nonce: m.nonce, body }
    }

    fn resync(&self, m: &Contact) -> Reply {
        let body = Body::Resync { incarnation: self.ware.incarnation.clone() };
        Reply { holder: m.holder, lane: m.lane, nonce: m.nonce, body }
    }

    fn tick(&mut self, now: Timestamp) -> Timestamp {
        self.ware.clock = self.ware.clock.max(now);
        self.crowd.forget(self.ware.clock);
        self.ware.clock
    }

    fn write(&mut self, m: &Contact) {
        self.desk.write(m, &mut self.writes);
        self.write_ware();
    }

    fn write_ware(&mut self) {
        if planted!(SubHomeForgets) && self.pace.last_issue.as_ms().rem_euclid(2) == 1 {
            return;
        }
        self.writes.put(STOCK.to_owned(), Some(&self.ware));
    }

    /// The home's time at least, and how much later it may be; a week where it was not heard yet.
    fn home_time(&self, now: Timestamp) -> (Timestamp, u64) {
        const UNHEARD_MS: u64 = 7 * 86_400_000;
        self.pace
            .home
            .map_or((now, UNHEARD_MS), |(home, ours, slack)| (home.plus_ms(now.ms_since(ours)), slack))
    }

    /// Whether nothing is held, owed, under way or out with isolates.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let ware = &self.ware;
        ware.stock.is_empty()
            && ware.book.is_reported()
            && !ware.uplink.has_frozen()
            && ware.uplink.returns.is_empty()
            && ware.uplink.is_quiet()
    }

    /// Where its units are at `now`.
    #[must_use]
    pub fn leases(&self, now: Timestamp) -> SubHomeLeases {
        let now = self.ware.clock.max(now);
        let period = self.ware.stock.period;
        let told = |period| leases::holders((&self.desk, &self.crowd), (now, period), |_| 0);
        let holders = told(period.unwrap_or_else(|| now.period()));
        let out = period.map_or(0, |period| self.out(period));
        let live =
            |(holder, _): (&HolderId, u64)| self.desk.out(*holder, period.unwrap_or_else(|| now.period()));
        let live = self.crowd.stranded_at(now).map(live).fold(0, u64::saturating_add);
        SubHomeLeases {
            holder: self.id().to_string(),
            at: now,
            period,
            stock: Units::new(self.ware.stock.units),
            reporting: Units::new(self.unsettled()),
            out: Units::new(out),
            stranded: Units::new(out.saturating_sub(live)),
            holders,
        }
    }

    /// Units out with isolates in `period`, dead ones included.
    #[must_use]
    pub fn out(&self, period: Period) -> u64 {
        self.ware.out.get(&period).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::tests::near;

    const WARE: &str = r#"{"incarnation":"0123456789","clock":1795435200000,
        "stock":{"period":"2026-11","units":5,"units_until":9,"slots":[{"minute":29923920,"count":4,"from":1,"until":2,
        "day":"2026-11-23","period":"2026-11"}],"fresh_until":3,"heard":4,"written":5,"open":false,"recalled":true},
        "book":{"agents":{"bot":{"admitted":"2026-11","units":3,"served":[["2026-11-23","verify",4]],
        "seen":[["2026-11-23","verify",{"tokens_in":1,"tokens_out":2,"anchors":3}]],
        "denied":[["2026-11-23","verify",{"rate_limited":2}]]},"b":{"admitted":null,"units":0,"served":[]}},
        "reserve":{"2026-11":2},"pending":4,"sighted":true,"since":7,"denied_since":8,"version":2},
        "uplink":{"id":"000102030405060708090a0b0c0d0e0f","incarnation":"0123456789",
        "lanes":[{"nonce":2,"flight":{"contact":{"holder":"000102030405060708090a0b0c0d0e0f","lane":0,"nonce":2},
        "sent":1,"last_sent":2,"resend_at":3,"pause_ms":4}},{"nonce":0,"flight":null}],
        "seq":3,"frozen":{"seq":3,"lines":[],"sights":[{"day":"2026-11-23","kind":"verify","agent":"bot","tokens_in":1,"denials":{"agent_limit":4}}],
        "reserve":{"2026-11":1}},"returns":{},"round_trip_ms":20,"limit":2},
        "out":{"2026-11":4},"terms":null,"allowance":1000,"risk":20,"ample":true,"first":false}"#;

    #[test]
    fn its_row_is_read_and_written_as_serde_json_does() {
        near::<Ware>(WARE);
    }
}

#[cfg(test)]
mod denial_tests;
#[cfg(test)]
mod policy_tests;
