//! What is in hand: units of one period, permits of minutes, and until when each may be spent.
//!
//! Every time here is the owner's own clock. What may no longer be spent goes to the returns; it
//! must never be spendable there again.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::DENIAL_BACK_MS_MAX;
use super::message::{Held, Lease, Returns};
use crate::planted::planted;
use crate::source::{Beyond, Paid};
use crate::time::{Day, Minute, Period, Timestamp};

/// How long requests may wait for a minute whose permits are in hand, in milliseconds: the margins of two
/// issuers at both ends, and a message's way.
const TURN_MS_MAX: u64 = 250;

/// Permits of one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot {
    pub(crate) minute: Minute,
    pub(crate) count: u64,
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
    /// The minute's day and period, which a unit is counted for.
    pub(crate) day: Day,
    pub(crate) period: Period,
}

impl Slot {
    fn new(minute: Minute, count: u64, from: Timestamp, until: Timestamp) -> Self {
        let day = minute.start().day();
        Self { minute, count, from, until, day, period: day.period() }
    }
}

/// When a contact was first sent, when its reply came, and the owner's margin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    pub(crate) sent: Timestamp,
    pub(crate) received: Timestamp,
    pub(crate) margin_ms: u64,
}

impl Delivery {
    fn until(self, ms: u64) -> Timestamp {
        self.sent.plus_ms(ms.saturating_sub(self.margin_ms))
    }

    /// From when a denial counts. A stored reply may be delivered late: its denials must not reach further for that.
    pub(crate) fn denied_from(self) -> Timestamp {
        let earliest = self.received.as_ms().saturating_sub(DENIAL_BACK_MS_MAX);
        self.sent.max(Timestamp::from_ms(earliest))
    }
}

/// What is in hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stock {
    pub(crate) period: Option<Period>,
    pub(crate) units: u64,
    /// What of them is beyond the plan's.
    #[serde(default, skip_serializing_if = "Beyond::is_none")]
    beyond: Beyond,
    pub(crate) units_until: Timestamp,
    pub(crate) slots: Vec<Slot>,
    pub(crate) fresh_until: Timestamp,
    /// When the newest reply's contact was sent.
    pub(crate) heard: Timestamp,
    /// When the newest reply was written, by its issuer.
    written: Timestamp,
    /// What that reply said.
    pub(crate) open: bool,
    /// The same: everything goes back, and what arrives later from before goes back too.
    pub(crate) recalled: bool,
}

impl Stock {
    /// Drops what ended. Called before every use.
    pub(crate) fn expire(&mut self, now: Timestamp, returns: &mut Returns) {
        if now >= self.units_until
            && self.units > 0
            && let Some(period) = self.period
            && !planted!(NoRolloverGuard)
        {
            returns.add_units(period, self.units, self.beyond);
            (self.units, self.beyond) = (0, Beyond::NONE);
        }
        if self.slots.first().is_some_and(|slot| now >= slot.until) && !planted!(PermitsOutliveMinute) {
            self.slots.retain(|slot| now < slot.until);
        }
    }

    /// Whether what is in hand may be spent without hearing from the home first.
    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.fresh_until || planted!(FreshnessIgnored)
    }

    /// The slot that can be spent from now.
    pub(crate) fn slot(&mut self, now: Timestamp) -> Option<&mut Slot> {
        let early = planted!(NextMinuteAtOnce);
        let old = planted!(PermitsOutliveMinute);
        let period = if planted!(NoRolloverGuard) { None } else { self.period };
        self.slots.iter_mut().find(|slot| {
            (slot.from <= now || early)
                && (now < slot.until || old)
                && slot.count > 0
                && period.is_none_or(|period| slot.period == period)
        })
    }

    /// Permits that can be spent now.
    pub(crate) fn permits(&self, now: Timestamp) -> u64 {
        self.slots
            .iter()
            .filter(|slot| slot.from <= now && now < slot.until)
            .fold(0, |sum, slot| sum.saturating_add(slot.count))
    }

    /// Permits for later.
    pub(crate) fn next_permits(&self, now: Timestamp) -> u64 {
        self.slots.iter().filter(|slot| slot.from > now).fold(0, |sum, slot| sum.saturating_add(slot.count))
    }

    /// When permits in hand can be spent that begin shortly, where none can be now: the last moments of a
    /// minute and the first of the next belong to the home.
    pub(crate) fn turn(&self, now: Timestamp) -> Option<Timestamp> {
        let next = self.slots.iter().find(|slot| slot.from > now && slot.count > 0)?;
        let soon =
            next.from <= now.plus_ms(TURN_MS_MAX) && next.from < self.fresh_until.min(self.units_until);
        (soon && self.units > 0 && self.permits(now) == 0).then_some(next.from)
    }

    /// Whether units are in hand without a permit to spend them with, while the reply that has just been admitted says
    /// that there are no more: their minute ended while the reply was under way, or before.
    pub(crate) fn is_stuck(&self, now: Timestamp, lease: &Lease) -> bool {
        let refused = lease.refusals.iter().any(|refusal| refusal.denial.is_spent());
        refused && self.units > 0 && self.permits(now) == 0 && self.turn(now).is_none()
    }

    /// What is in hand, as a contact states it.
    pub(crate) fn held(&self, now: Timestamp) -> Held {
        Held { units: self.units, permits: self.permits(now), next: self.next_permits(now) }
    }

    /// Takes what a reply issued. What came too late goes back unused.
    pub(crate) fn admit(&mut self, at: Delivery, lease: &Lease, returns: &mut Returns) {
        self.expire(at.received, returns);
        let newer = self.period.is_none_or(|period| lease.period > period);
        if newer {
            if !planted!(NoRolloverGuard) {
                self.drain(returns);
            }
            self.period = Some(lease.period);
        }
        let valid_until = at.until(lease.valid_ms);
        let current = self.period == Some(lease.period);
        if current && (newer || at.sent >= self.heard) {
            self.units_until = valid_until;
        }
        if current && (at.received < self.units_until || planted!(NoRolloverGuard)) {
            self.put(lease.units, lease.beyond);
        } else {
            returns.add_units(lease.period, lease.units, lease.beyond);
        }
        let until = at.until(lease.minute_ms);
        let slot = Slot::new(lease.minute, lease.permits, Timestamp::default(), until);
        self.admit_slot(at.received, slot, returns);
        if let Some(next) = lease.next {
            let from = at.received.plus_ms(next.from_ms).plus_ms(at.margin_ms);
            let slot = Slot::new(next.minute, next.count, from, at.until(next.until_ms));
            self.admit_slot(at.received, slot, returns);
        }
        self.heard = self.heard.max(at.sent);
        if lease.written >= self.written {
            self.written = lease.written;
            (self.open, self.recalled) = (lease.open, lease.recall);
        }
        self.fresh_until = self.fresh_until.max(at.sent.plus_ms(lease.fresh_ms));
        if self.recalled && !planted!(FreshnessIgnored) {
            self.drain(returns);
        }
    }

    fn admit_slot(&mut self, now: Timestamp, slot: Slot, returns: &mut Returns) {
        if slot.count == 0 {
            return;
        }
        if now >= slot.until {
            returns.add_permits(slot.minute, slot.count);
        } else if let Some(held) = self.slots.iter_mut().find(|held| held.minute == slot.minute) {
            // Both bounds are safe by themselves; what is next to come may have begun meanwhile.
            held.count = held.count.saturating_add(slot.count);
            held.from = held.from.min(slot.from);
            held.until = held.until.max(slot.until);
        } else {
            let place = self.slots.partition_point(|held| held.minute < slot.minute);
            self.slots.insert(place, slot);
        }
    }

    /// Gives everything back: the hands are empty before the return is written.
    pub(crate) fn drain(&mut self, returns: &mut Returns) {
        if let Some(period) = self.period {
            returns.add_units(period, self.units, self.beyond);
        }
        for slot in &self.slots {
            returns.add_permits(slot.minute, slot.count);
        }
        if !planted!(ReturnWithoutZeroing) {
            (self.units, self.beyond) = (0, Beyond::NONE);
            self.slots.clear();
        }
    }

    /// Adds units, of which so many are beyond the plan's.
    pub(crate) fn put(&mut self, units: u64, beyond: Beyond) {
        self.units = self.units.saturating_add(units);
        self.beyond.add(beyond);
    }

    /// Takes units out, the cheapest first, and says what of them is beyond the plan's.
    pub(crate) fn take(&mut self, units: u64) -> Beyond {
        let beyond = self.beyond.take(self.units, units);
        self.units = self.units.saturating_sub(units);
        beyond
    }

    /// What pays for the next so many units.
    pub(crate) fn next_paid(&self, units: u64) -> Paid {
        self.beyond.next(self.units, units)
    }

    /// Whether nothing is in hand.
    pub(crate) fn is_empty(&self) -> bool {
        self.units == 0 && self.slots.iter().all(|slot| slot.count == 0)
    }
}
