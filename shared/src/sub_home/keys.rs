//! Keys that isolates ask for and that the terms here do not have: only the home can tell, and it may have to ask, too.
//!
//! A question is a contact of its own, on a lane of its own: whoever has a known key does not wait for what becomes of it.

use alloc::vec::Vec;

use super::upward::LANES;
use super::{Parked, SubHome};
use crate::ids::KeyId;
use crate::lease::keys::{REFUSED_MS, SUB_ASK_GAP_MS, add_key};
use crate::lease::message::{Contact, Lease};
use crate::lease::stock::Delivery;
use crate::lease::uplink::Draft;
use crate::time::Timestamp;

/// The last lane: what nobody waits for goes by the first.
const QUESTION_LANE: u8 = LANES - 1;

impl SubHome {
    /// Whether the contact asks for a key of which nothing is known.
    pub(super) fn must_ask_for_key(&self, now: Timestamp, m: &Contact) -> bool {
        m.keys.iter().any(|key| self.is_strange(now, key))
    }

    /// Which of the keys that it asks for are revoked.
    pub(super) fn revoked(&self, now: Timestamp, m: &Contact) -> Vec<KeyId> {
        let revoked = |key: &&KeyId| !self.has_key(key) && self.unknown.is_refused(now, key);
        m.keys.iter().filter(revoked).cloned().collect()
    }

    /// Whether a parked contact waits for a question that nobody has asked yet. Where there are no terms, its keys and
    /// needs are asked for at once.
    pub(super) fn lacks_key(&self, now: Timestamp, parked: &Parked) -> bool {
        let can_tell = self.ware.terms.is_some() && parked.carried.is_none();
        can_tell && self.must_ask_for_key(now, &parked.contact)
    }

    /// Takes such contacts out of those that are parked.
    pub(super) fn set_aside(&mut self, now: Timestamp) -> Vec<Parked> {
        let parked = core::mem::take(&mut self.parked);
        let (lacking, others) = parked.into_iter().partition(|parked| self.lacks_key(now, parked));
        self.parked = others;
        lacking
    }

    /// The strange keys of contacts that this lane carries.
    pub(super) fn carried_keys(&self, now: Timestamp, lane: u8) -> Vec<KeyId> {
        let mut keys: Vec<KeyId> = Vec::new();
        for parked in self.parked.iter().filter(|parked| parked.carried == Some(lane)) {
            for key in parked.contact.keys.iter().filter(|key| self.is_strange(now, key)) {
                add_key(&mut keys, key);
            }
        }
        keys
    }

    /// When the next question is to be asked.
    pub(super) fn question_at(&self, now: Timestamp) -> Option<Timestamp> {
        let asks = self.ware.uplink.is_free(QUESTION_LANE)
            && self.parked.iter().any(|parked| self.lacks_key(now, parked));
        asks.then(|| self.unknown.ask_from().max(self.pace.hold_until))
    }

    /// Asks for the keys of all that lack one.
    pub(super) fn question(&mut self, now: Timestamp) -> Option<Contact> {
        self.unknown.asked(now, SUB_ASK_GAP_MS);
        let mut lacking = self.set_aside(now);
        for parked in &mut lacking {
            parked.carried = Some(QUESTION_LANE);
        }
        self.parked.extend(lacking);
        let keys = self.carried_keys(now, QUESTION_LANE);
        let ware = &mut self.ware;
        let draft = Draft {
            child: true,
            first: ware.first,
            held: ware.stock.held(now),
            terms: ware.terms.as_ref().map_or(0, |terms| terms.version),
            keys,
            ..Draft::default()
        };
        ware.uplink.send(now, QUESTION_LANE, draft, &mut ware.book)
    }

    /// Notes which of the keys that this lane has asked for are revoked.
    pub(super) fn refuse_keys(&mut self, at: Delivery, lane: u8, lease: &Lease) {
        let carried = self.parked.iter().filter(|parked| parked.carried == Some(lane));
        for key in carried.flat_map(|parked| &parked.contact.keys).filter(|key| lease.revoked.contains(key)) {
            self.unknown.refuse(at.denied_from(), REFUSED_MS, key);
        }
    }

    /// Whether nothing is known of a key.
    fn is_strange(&self, now: Timestamp, key: &KeyId) -> bool {
        !self.has_key(key) && !self.unknown.is_refused(now, key)
    }

    fn has_key(&self, key: &KeyId) -> bool {
        self.ware.terms.as_ref().is_some_and(|terms| terms.keys.contains(key))
    }
}
