//! Who was here lately, and how busy it is. Only pacing depends on it: a crash may lose all of it.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::lease::math::{mul_div, times};
use crate::lease::message::{Contact, HolderId};
use crate::random::Stream;
use crate::time::Timestamp;

/// For how long a holder counts as present, in milliseconds.
pub(crate) const SEEN_MS: u64 = 10_000;
/// The memory of the load, in milliseconds.
const LOAD_MS: u64 = 500;
/// Contacts per second above which holders are asked to stay away; below the soft limit of about
/// 1,000 of one object.
pub(crate) const HOLD: u64 = 600;
/// Contacts in one second beyond which isolates are turned away unread: 1.3 × [`HOLD`].
const SHED: u64 = 780;
/// Denials spread over time at 400 per second, in microseconds.
const DENY_STEP_US: u64 = 2_500;
/// The shortest denial, in milliseconds.
const DENY_MS_MIN: u64 = 250;
/// For how long holders give back what they do not need after others were refused for it, in milliseconds: longer than
/// who was refused waits, and than two levels of holders need to hear of it.
const CONTENDED_MS: u64 = 4_000;
/// The longest hold, in milliseconds.
const HOLD_MS_MAX: u64 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    at: Timestamp,
    weight: u64,
    rate: u64,
    stranded: u64,
    /// In a sub-home's stock, of the minute in which it was heard; none of an isolate.
    permits: u64,
}

/// The holders that are present, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Everyone {
    /// How many; at least one.
    pub(crate) holders: u64,
    /// The sum of their weights.
    pub(crate) weights: u64,
    /// The sum of their rates, in thousandths per second.
    pub(crate) rates: u64,
}

/// The volatile part of an issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Crowd {
    seen: BTreeMap<HolderId, Seen>,
    /// The same, those that were heard longest ago first: a new contact goes to the end.
    order: BTreeSet<(Timestamp, HolderId)>,
    weights: u64,
    rates: u64,
    load_milli: u64,
    load_at: Timestamp,
    second: u64,
    in_second: u64,
    deny_us: u64,
    hold_us: u64,
    contended_until: Timestamp,
}

impl Crowd {
    /// Notes a contact.
    pub(crate) fn note(&mut self, now: Timestamp, m: &Contact) {
        let (holder, rate, stranded) = (m.holder, m.rate, m.stranded);
        // The square root of the rate: shares by it keep the contacts of all together fewest.
        let weight = times(rate.max(1_000), 1_000).isqrt();
        let permits = if m.child { m.held.permits } else { 0 };
        if let Some(old) = self.seen.insert(holder, Seen { at: now, weight, rate, stranded, permits }) {
            self.order.remove(&(old.at, holder));
            self.left(old);
        }
        self.order.insert((now, holder));
        self.weights = self.weights.saturating_add(weight);
        self.rates = self.rates.saturating_add(rate);
        let passed = now.ms_since(self.load_at);
        let faded = mul_div(self.load_milli, LOAD_MS, LOAD_MS.saturating_add(passed));
        self.load_milli = faded.saturating_add(1_000_000_u64.div_euclid(LOAD_MS));
        self.load_at = now;
        let second = now.as_seconds();
        if second == self.second {
            self.in_second = self.in_second.saturating_add(1);
        } else {
            (self.second, self.in_second) = (second, 1);
        }
    }

    /// A holder sends again what was taken before: it waits for its answer, so it lives.
    pub(crate) fn heard_again(&mut self, now: Timestamp, holder: HolderId) {
        if let Some(seen) = self.seen.get_mut(&holder) {
            self.order.remove(&(seen.at, holder));
            seen.at = seen.at.max(now);
            self.order.insert((seen.at, holder));
        } else {
            self.presume(holder, now);
        }
    }

    /// Takes a holder for present that was heard at `at`, before a restart that has lost what it said.
    pub(crate) fn presume(&mut self, holder: HolderId, at: Timestamp) {
        let seen = Seen { at, weight: 1_000, rate: 0, stranded: 0, permits: 0 };
        if self.seen.insert(holder, seen).is_none() {
            self.order.insert((at, holder));
            self.weights = self.weights.saturating_add(seen.weight);
        }
    }

    /// Who was not heard for long is not present any more, whether or not somebody else is heard since.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        while let Some((at, holder)) = self.order.first().copied() {
            if now.ms_since(at) <= SEEN_MS {
                break;
            }
            self.order.remove(&(at, holder));
            if let Some(old) = self.seen.remove(&holder) {
                self.left(old);
            }
        }
    }

    fn left(&mut self, old: Seen) {
        self.weights = self.weights.saturating_sub(old.weight);
        self.rates = self.rates.saturating_sub(old.rate);
    }

    /// How many holders are present; at least one.
    pub(crate) fn count(&self) -> u64 {
        u64::try_from(self.seen.len()).unwrap_or(u64::MAX).max(1)
    }

    /// The holders that are present.
    pub(crate) fn present(&self) -> impl Iterator<Item = &HolderId> {
        self.seen.keys()
    }

    /// When a holder was heard last, where it was heard lately.
    pub(crate) fn heard_at(&self, holder: HolderId) -> Option<Timestamp> {
        self.seen.get(&holder).map(|seen| seen.at)
    }

    /// The holders that are present, with the units out with them that nobody is spending.
    pub(crate) fn stranded(&self) -> impl Iterator<Item = (&HolderId, u64)> {
        self.seen.iter().map(|(holder, seen)| (holder, seen.stranded))
    }

    /// The same, of those that are present at that time.
    pub(crate) fn stranded_at(&self, now: Timestamp) -> impl Iterator<Item = (&HolderId, u64)> {
        self.present_at(now).map(|(holder, seen)| (holder, seen.stranded))
    }

    fn present_at(&self, now: Timestamp) -> impl Iterator<Item = (&HolderId, &Seen)> {
        self.seen.iter().filter(move |(_, seen)| now.ms_since(seen.at) <= SEEN_MS)
    }

    /// Somebody is refused for what others may give back.
    pub(crate) fn contend(&mut self, now: Timestamp) {
        self.contended_until = now.plus_ms(CONTENDED_MS);
    }

    /// Whether somebody was lately.
    pub(crate) fn is_contended(&self, now: Timestamp) -> bool {
        now < self.contended_until
    }

    /// Notes permits that a sub-home was given beyond what its isolates wait for.
    pub(crate) fn stocked(&mut self, holder: HolderId, permits: u64) {
        if let Some(seen) = self.seen.get_mut(&holder) {
            seen.permits = seen.permits.saturating_add(permits);
        }
    }

    /// Permits of this minute that present sub-homes have in stock, as far as they have said: nobody spends them yet.
    pub(crate) fn permits_in_stock(&self, now: Timestamp) -> u64 {
        let of_minute = self.present_at(now).filter(|(_, seen)| seen.at.minute() == now.minute());
        of_minute.fold(0, |sum, (_, seen)| sum.saturating_add(seen.permits))
    }

    /// This holder's weight.
    pub(crate) fn weight(&self, holder: HolderId) -> u64 {
        self.seen.get(&holder).map_or(1_000, |seen| seen.weight)
    }

    /// The rates of all that are present, in thousandths per second.
    pub(crate) fn rates(&self) -> u64 {
        self.rates
    }

    /// All that are present, the one of that weight among them.
    pub(crate) fn everyone(&self, weight: u64) -> Everyone {
        Everyone { holders: self.count(), weights: self.weights.max(weight), rates: self.rates }
    }

    /// Contacts per second.
    pub(crate) fn load(&self) -> u64 {
        self.load_milli.div_euclid(1_000)
    }

    /// For how long a contact is to stay away unread, if this second had too many.
    pub(crate) fn shed(&mut self, now: Timestamp) -> Option<u64> {
        (self.in_second > SHED).then(|| self.hold_slot(now))
    }

    /// The next turn of those that are asked to stay away, in milliseconds from now.
    pub(crate) fn hold_slot(&mut self, now: Timestamp) -> u64 {
        let now_us = times(now.as_ms(), 1_000);
        let step = 1_000_000_u64.div_euclid(HOLD);
        self.hold_us = self.hold_us.max(now_us).saturating_add(step);
        let wait = self.hold_us.saturating_sub(now_us).div_euclid(1_000).saturating_add(1);
        if wait > HOLD_MS_MAX {
            self.hold_us = now_us.saturating_add(HOLD_MS_MAX.saturating_mul(1_000));
        }
        wait.min(HOLD_MS_MAX)
    }

    /// For how long a denial holds: a turn of its own, so that not all come back at once.
    pub(crate) fn deny_slot(&mut self, now: Timestamp, cap_ms: u64, random: &mut Stream) -> u64 {
        let now_us = times(now.as_ms(), 1_000);
        let soonest = now_us.saturating_add(DENY_MS_MIN.saturating_mul(1_000));
        let slot = self.deny_us.max(soonest).saturating_add(DENY_STEP_US);
        let wait = slot.saturating_sub(now_us).div_euclid(1_000);
        if wait <= cap_ms {
            self.deny_us = slot;
            return wait;
        }
        mul_div(cap_ms, random.between(700, 1_000), 1_000)
    }
}
