//! The lanes of a holder: what is under way, what is sent again, what was acknowledged.
//!
//! A lane is strictly sequential: the same contact is sent until it is answered, and each answer is
//! taken once. A batch is frozen under its number until it is acknowledged.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::LANES_MAX;
use super::book::Book;
use super::message::{Batch, Contact, Held, HolderId, Need, Returns};
use super::progress::Progress;
use super::stock::{Delivery, Stock};
use crate::ids::{Incarnation, KeyId};
use crate::lease::math::times;
use crate::planted::planted;
use crate::time::{Period, Timestamp};

/// What a resend waits beyond the usual round trip, in milliseconds.
const RESEND_SLACK_MS: u64 = 250;
/// The longest pause between resends, in milliseconds.
const RESEND_MS_MAX: u64 = 2_000;
/// The round trip that is assumed before one was measured, in milliseconds.
const ROUND_TRIP_MS: u64 = 100;

/// A contact under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Flight {
    contact: Contact,
    sent: Timestamp,
    last_sent: Timestamp,
    resend_at: Timestamp,
    pause_ms: u64,
}

/// One lane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Lane {
    nonce: u64,
    flight: Option<Flight>,
}

/// All lanes of a holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Uplink {
    pub(crate) id: HolderId,
    pub(crate) incarnation: Option<Incarnation>,
    lanes: Vec<Lane>,
    /// The number of the last batch that was frozen.
    seq: u64,
    frozen: Option<Batch>,
    pub(crate) returns: Returns,
    round_trip_ms: u64,
    pub(crate) limit: u8,
}

/// What a new contact says beyond what the uplink knows by itself.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) child: bool,
    pub(crate) needs: Vec<Need>,
    pub(crate) renew: bool,
    pub(crate) first: bool,
    pub(crate) rate: u64,
    pub(crate) held: Held,
    pub(crate) stranded: u64,
    /// The period of what is in hand.
    pub(crate) period: Option<Period>,
    pub(crate) terms: u64,
    pub(crate) keys: Vec<KeyId>,
}

impl Uplink {
    pub(crate) fn new(id: HolderId) -> Self {
        Self {
            id,
            incarnation: None,
            lanes: vec![Lane::default(); usize::from(LANES_MAX)],
            seq: 0,
            frozen: None,
            returns: Returns::default(),
            round_trip_ms: ROUND_TRIP_MS,
            limit: 2,
        }
    }

    /// The last contact of each lane and the last batch, those under way included.
    pub(crate) fn progress(&self) -> Progress {
        Progress { nonces: self.lanes.iter().map(|lane| lane.nonce).collect(), seq: self.seq }
    }

    /// The first lane on which nothing is under way.
    pub(crate) fn free_lane(&self) -> Option<u8> {
        (0_u8..)
            .zip(self.lanes.iter().take(usize::from(self.limit)))
            .find(|(_, l)| l.flight.is_none())
            .map(|(n, _)| n)
    }

    /// Whether nothing is under way on that lane.
    pub(crate) fn is_free(&self, lane: u8) -> bool {
        self.lanes.get(usize::from(lane)).is_some_and(|lane| lane.flight.is_none())
    }

    /// Whether nothing is under way at all.
    pub(crate) fn is_quiet(&self) -> bool {
        self.lanes.iter().all(|lane| lane.flight.is_none())
    }

    /// Units of a period that go back: those that wait for a contact, and those in contacts that are not answered.
    pub(crate) fn going_back(&self, period: Period) -> u64 {
        let of = |returns: &Returns| returns.units.get(&period).copied().unwrap_or(0);
        let flights = self.lanes.iter().filter_map(|lane| lane.flight.as_ref());
        flights.fold(of(&self.returns), |sum, flight| sum.saturating_add(of(&flight.contact.returns)))
    }

    /// Whether a batch still waits for its acknowledgement.
    pub(crate) fn has_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Starts a contact on a free lane, with everything that is ready to go.
    ///
    /// Nothing is reported before the home's life is known: a first contact is sent again until it is answered, and
    /// a life that began meanwhile would count what the one before has counted.
    pub(crate) fn send(
        &mut self,
        now: Timestamp,
        lane: u8,
        draft: Draft,
        book: &mut Book,
    ) -> Option<Contact> {
        if self.incarnation.is_some() && self.frozen.is_none() && !book.is_reported() {
            self.seq = self.seq.saturating_add(1);
            self.frozen = Some(book.freeze(self.seq));
        }
        let under_way = self.lanes.iter().any(|lane| {
            lane.flight.as_ref().is_some_and(|flight| {
                flight.contact.batch.seq != 0
                    && self.frozen.as_ref().is_some_and(|batch| batch.seq == flight.contact.batch.seq)
            })
        });
        let batch = if under_way && !planted!(BatchWithoutNumber) { None } else { self.frozen.clone() };
        if planted!(BatchDroppedWhenSent) {
            self.frozen = None;
        }
        let slot = self.lanes.get_mut(usize::from(lane)).filter(|lane| lane.flight.is_none())?;
        slot.nonce = slot.nonce.saturating_add(1);
        let contact = Contact {
            holder: self.id,
            child: draft.child,
            lane,
            nonce: slot.nonce,
            incarnation: self.incarnation.clone(),
            batch: batch.unwrap_or_default(),
            returns: core::mem::take(&mut self.returns),
            needs: draft.needs,
            renew: draft.renew,
            first: draft.first,
            rate: draft.rate,
            held: draft.held,
            stranded: draft.stranded,
            unreported: draft.period.map_or(0, |period| book.served_of(period)),
            batches: Some(self.seq),
            terms: draft.terms,
            keys: draft.keys,
        };
        let pause_ms = self.round_trip_ms.saturating_add(RESEND_SLACK_MS);
        slot.flight = Some(Flight {
            contact: contact.clone(),
            sent: now,
            last_sent: now,
            resend_at: now.plus_ms(pause_ms),
            pause_ms,
        });
        Some(contact)
    }

    /// The contacts that are to be sent again now.
    pub(crate) fn resends(&mut self, now: Timestamp) -> Vec<Contact> {
        let mut due = Vec::new();
        for flight in self.lanes.iter_mut().filter_map(|lane| lane.flight.as_mut()) {
            if now >= flight.resend_at {
                flight.pause_ms = times(flight.pause_ms, 2).min(RESEND_MS_MAX);
                flight.resend_at = now.plus_ms(flight.pause_ms);
                flight.last_sent = now;
                due.push(flight.contact.clone());
            }
        }
        due
    }

    /// When the next contact is to be sent again.
    pub(crate) fn resend_at(&self) -> Option<Timestamp> {
        self.lanes.iter().filter_map(|lane| lane.flight.as_ref()).map(|flight| flight.resend_at).min()
    }

    /// The home is busy: the contact waits.
    pub(crate) fn shed(&mut self, now: Timestamp, lane: u8, nonce: u64, hold_ms: u64) -> bool {
        let flight = self.lanes.get_mut(usize::from(lane)).and_then(|lane| lane.flight.as_mut());
        match flight.filter(|flight| flight.contact.nonce == nonce) {
            Some(flight) => {
                flight.resend_at = now.plus_ms(hold_ms.clamp(1, RESEND_MS_MAX));
                true
            }
            None => false,
        }
    }

    /// Takes the answer to a contact under way; `None` if it was taken before or never asked for.
    pub(crate) fn land(&mut self, now: Timestamp, lane: u8, nonce: u64, margin_ms: u64) -> Option<Delivery> {
        let lane = self.lanes.get_mut(usize::from(lane))?;
        let asked = lane.flight.as_ref().is_some_and(|flight| flight.contact.nonce == nonce);
        if !asked {
            let replayed = planted!(ReplayedReply) && lane.nonce >= nonce && lane.nonce > 0;
            let at = Delivery { sent: now, received: now, margin_ms };
            return replayed.then_some(at);
        }
        let flight = lane.flight.take()?;
        let trip = now.ms_since(flight.last_sent);
        if flight.last_sent == flight.sent {
            let blend = times(self.round_trip_ms, 3).saturating_add(trip);
            self.round_trip_ms = blend.div_euclid(4).min(RESEND_MS_MAX);
        }
        let sent = match flight.sent {
            _ if planted!(DeadlineFromReceipt) => now,
            _ if planted!(DeadlineFromResend) => flight.last_sent,
            first => first,
        };
        Some(Delivery { sent, received: now, margin_ms })
    }

    /// The home has made every batch up to `seq` durable.
    pub(crate) fn acknowledged(&mut self, seq: u64) {
        if self.frozen.as_ref().is_some_and(|batch| batch.seq <= seq) {
            self.frozen = None;
        }
    }

    /// The home has lost or changed its life: what was under way is void. A frozen batch may have
    /// been counted before, so it is never sent again; what was not frozen yet will be.
    ///
    /// Units of another life that are in hand or wait to go back are let go: nobody will spend them, and that life has
    /// not had them back. Those under way may have been issued again by it.
    pub(crate) fn resync(
        &mut self,
        now: Timestamp,
        (id, incarnation): (HolderId, Incarnation),
        (stock, book): (&mut Stock, &mut Book),
    ) {
        let is_another = self.incarnation.as_ref().is_some_and(|known| *known != incarnation);
        let kept = planted!(LetGoKept).then(|| stock.clone());
        stock.drain(&mut self.returns);
        *stock = kept.unwrap_or_default();
        if is_another {
            book.let_go(now, &self.returns.units);
        }
        book.forget_admissions();
        let round_trip_ms = self.round_trip_ms;
        *self = Self::new(id);
        (self.incarnation, self.round_trip_ms) = (Some(incarnation), round_trip_ms);
    }
}

impl Uplink {
    /// Units in a batch that was not acknowledged.
    pub(crate) fn frozen_units(&self) -> u64 {
        self.frozen.iter().flat_map(|batch| &batch.lines).fold(0, |sum, line| sum.saturating_add(line.units))
    }

    /// Units served of a period that no acknowledgement says the issuer knows of: those in such a batch, and those in
    /// none yet.
    pub(crate) fn unacknowledged(&self, book: &Book, period: Period) -> u64 {
        let lines = self.frozen.iter().flat_map(|batch| &batch.lines);
        let of_period = lines.filter(|line| line.key.day.period() == period);
        of_period.fold(book.served_of(period), |sum, line| sum.saturating_add(line.units))
    }
}
