//! Calls that the home decides for requests of this holder: which are under way, and what became of them.
//!
//! The home counts a call once this holder says that its answer leaves, and takes back what never does. Whoever is not
//! told in time that its call was allowed must not be served: the home is told that nobody was.

use alloc::collections::BTreeMap;

use super::Holder;
use crate::lease::message::Contact;
use crate::time::Timestamp;

/// Whoever asked is gone by then, in milliseconds. Less than the home waits for a silent holder.
const CALL_MS_MAX: u64 = 10_000;

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// It was allowed, and its answer leaves now.
    Left,
    /// It was denied.
    Denied,
    /// Nobody here knows what the home has decided, or whoever asked is gone.
    Void,
}

/// The calls under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    last: u64,
    asked: BTreeMap<u64, Timestamp>,
}

impl Calls {
    /// Whether none is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// When the first of them is given up.
    pub(super) fn timeout(&self) -> Option<Timestamp> {
        self.asked.values().next().map(|since| since.plus_ms(CALL_MS_MAX))
    }

    /// The home has begun another life, which knows none of them.
    pub(super) fn forget(&mut self) {
        self.asked.clear();
    }
}

impl Holder {
    /// Begins a call of the home, and says under which number.
    pub fn begin_call(&mut self, now: Timestamp) -> u64 {
        self.calls.last = self.calls.last.saturating_add(1);
        self.calls.asked.insert(self.calls.last, now);
        self.calls.last
    }

    /// Ends a call. False where it was given up before: then it must not be served.
    pub fn end_call(&mut self, now: Timestamp, number: u64, end: CallEnd) -> bool {
        if self.calls.asked.remove(&number).is_none() {
            return false;
        }
        match end {
            CallEnd::Left => self.book.call(now, number),
            CallEnd::Denied => {}
            CallEnd::Void => self.uplink.returns.calls.push(number),
        }
        true
    }

    /// A contact that tells of ended calls before it is due; `None` where there are none, or one is under way.
    pub fn report_calls(&mut self, now: Timestamp) -> Option<Contact> {
        if !(self.book.has_calls() && self.uplink.is_free(0) && now >= self.hold_until) {
            return None;
        }
        let report = self.report(now)?;
        self.sent = self.sent.saturating_add(1);
        Some(report)
    }

    /// Gives up calls that nobody can be waiting for.
    pub(super) fn give_up_calls(&mut self, now: Timestamp) {
        while let Some(oldest) = self.calls.asked.first_entry()
            && now >= oldest.get().plus_ms(CALL_MS_MAX)
        {
            self.uplink.returns.calls.push(oldest.remove_entry().0);
        }
    }
}
