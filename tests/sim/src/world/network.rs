//! The network: messages are lost, doubled, delayed, reordered, and cut off one way.

use shared::lease::message::{Contact, Reply};

use crate::config::Faults;

use super::{Addressee, Event, Target, World};

/// How much later than the first a double may come, in milliseconds.
const DOUBLE_MS_MAX: u64 = 2_000;

/// What happens to one message: after how many microseconds each of its copies arrives.
type Copies = Vec<u64>;

/// How late a message may come that was not lost for good, in milliseconds.
pub(super) fn late_ms(faults: &Faults) -> u64 {
    let late = if faults.late_permille > 0 { faults.late_ms_max } else { 0 };
    late + if faults.duplicate_permille > 0 { DOUBLE_MS_MAX } else { 0 }
}

impl World {
    fn copies(&mut self, low_ms: u64, high_ms: u64, extra_ms: u64) -> Copies {
        let faults = self.config.faults.clone();
        let once = |world: &mut Self| {
            let base = extra_ms * 1_000 + world.random.between(low_ms * 1_000, high_ms * 1_000);
            let late = if world.chance(faults.late_permille) {
                world.random.between(0, faults.late_ms_max * 1_000)
            } else {
                0
            };
            base + late
        };
        let mut copies = Vec::new();
        if !self.chance(faults.loss_permille) {
            copies.push(once(self));
        }
        if self.chance(faults.duplicate_permille) {
            let late = self.random.between(0, DOUBLE_MS_MAX * 1_000);
            copies.push(once(self) + late);
        }
        copies
    }

    /// One way between an addressee and its home: half its round trip and up to a tenth more.
    fn one_way(&self, who: Addressee, target: Target) -> (u64, u64) {
        let round_trip = match (who, target) {
            (Addressee::Seat { isolate, .. }, Target::Home) => self.isolates[isolate].far_ms,
            (Addressee::Seat { isolate, .. }, Target::Sub(_)) => self.isolates[isolate].near_ms,
            (Addressee::Sub(k), _) => self.subs[k].far_ms,
        };
        (round_trip / 2, round_trip * 11 / 20)
    }

    /// Sends a contact, unless the way up is cut.
    pub(super) fn send_contact(&mut self, from: Addressee, target: Target, contact: &Contact) {
        self.routes.insert(contact.holder, from);
        let second = self.meters.second(self.now_us);
        let sent = match from {
            Addressee::Seat { .. } => &mut self.meters.sent_by_isolates,
            Addressee::Sub(_) => &mut self.meters.sent_by_subs,
        };
        *sent.entry(second).or_insert(0) += 1;
        let cut_until = match from {
            Addressee::Seat { isolate, .. } => self.isolates[isolate].up_cut_us,
            Addressee::Sub(k) => self.subs[k].up_cut_us,
        };
        if self.now_us < cut_until {
            return;
        }
        let (low, high) = self.one_way(from, target);
        for delay in self.copies(low, high, 0) {
            self.at(self.now_us + delay, Event::Contact(target, Box::new(contact.clone())));
        }
    }

    /// Sends a reply, unless the way down is cut or nobody lives there any more.
    pub(super) fn send_reply(&mut self, from: Target, reply: &Reply) {
        let Some(to) = self.routes.get(&reply.holder).copied() else { return };
        let cut_until = match to {
            Addressee::Seat { isolate, .. } => self.isolates[isolate].down_cut_us,
            Addressee::Sub(k) => self.subs[k].down_cut_us,
        };
        if self.now_us < cut_until {
            return;
        }
        let (low, high) = self.one_way(to, from);
        for delay in self.copies(low, high, 0) {
            self.at(self.now_us + delay, Event::Reply(from, Box::new(reply.clone())));
        }
    }

    /// Sends something between the home and the aggregator.
    pub(super) fn send_center(&mut self, event: impl Fn() -> Event) {
        if self.now_us < self.home.cut_us {
            return;
        }
        for delay in self.copies(5, 40, 0) {
            self.at(self.now_us + delay, event());
        }
    }
}
