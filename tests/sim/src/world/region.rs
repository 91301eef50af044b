//! Sub-homes as processes: effects in order, crashes between them.

use shared::lease::message::{Body, Contact, HolderId, Reply};
use shared::sub_home::SubHome;

use super::center::{Disk, Persisted, brief, incarnation, store, written};
use super::seats::draw;
use super::{Addressee, Event, Target, World};
use crate::audit::Verdict;
use crate::bugs::ShellBug;

/// A sub-home's process and its storage.
#[derive(Debug)]
pub(super) struct SubNode {
    sub: Option<SubHome>,
    disk: Disk,
    id: HolderId,
    pub(super) far_ms: u64,
    pub(super) up_cut_us: u64,
    pub(super) down_cut_us: u64,
    wake_us: u64,
    ahead_ms: u64,
    lives: u64,
    snapshots: Vec<Disk>,
}

impl SubNode {
    /// What the home knows it by, while it runs.
    pub(super) fn holder(&self) -> Option<HolderId> {
        self.sub.as_ref().map(SubHome::id)
    }

    /// The same, or what it was known by before it crashed.
    pub(super) fn known_as(&self) -> HolderId {
        let stored = || SubHome::load(self.disk.clone()).ok().flatten().map(|sub| sub.id());
        self.holder().or_else(stored).unwrap_or(self.id)
    }

    /// How often its storage was lost.
    pub(super) fn lives(&self) -> u64 {
        self.lives
    }

    pub(super) fn is_drained(&self) -> bool {
        self.sub.as_ref().is_some_and(SubHome::is_drained)
    }
}

impl World {
    pub(super) fn active_subs(&self) -> usize {
        usize::try_from(self.aggregator.policy.leases.sub_homes).unwrap_or(0)
    }

    pub(super) fn add_sub_home(&mut self, number: usize) {
        let id = HolderId::from_bits(u128::from(self.random.bits()) << 64 | u128::from(self.random.bits()));
        let life = incarnation(self.config.seed ^ 0xffff, u64::try_from(number).unwrap_or(0));
        let mut sub = SubHome::new(id, life);
        let mut disk = Disk::new();
        store(&mut disk, sub.take_writes());
        let far = self.config.round_trip_ms;
        self.subs.push(SubNode {
            sub: Some(sub),
            disk,
            id,
            far_ms: self.random.between(far.0, far.1),
            up_cut_us: 0,
            down_cut_us: 0,
            wake_us: u64::MAX,
            ahead_ms: self.random.between(0, self.config.faults.skew_ms_max),
            lives: 0,
            snapshots: Vec::new(),
        });
    }

    fn sub_local(&self, k: usize) -> shared::time::Timestamp {
        self.now().plus_ms(self.subs[k].ahead_ms)
    }

    fn persist_sub(&mut self, k: usize) -> Persisted {
        let cut = self.chance(self.config.faults.cut_permille);
        let before = cut && self.random.between(0, 1) == 0;
        let Some(sub) = self.subs[k].sub.as_mut() else { return Persisted::Lost };
        let rows = sub.take_writes();
        if before {
            self.crash_sub(k);
            return Persisted::Lost;
        }
        store(&mut self.subs[k].disk, rows);
        if cut {
            self.crash_sub(k);
            return Persisted::Silent;
        }
        Persisted::Done
    }

    fn sub_effects(&mut self, k: usize, taken: Option<&Contact>, replies: &[Reply], contacts: &[Contact]) {
        let persisted = self.persist_sub(k);
        if persisted != Persisted::Lost {
            let (at, issuer) = (self.home_now(), self.issuer(Target::Sub(k)));
            if let Some(contact) = taken {
                self.auditor.hands.taken(at, issuer, contact);
            }
            for reply in replies {
                self.auditor.hands.issued(at, issuer, reply);
            }
        }
        let early = self.planted.shell == Some(ShellBug::SubHomeSendsBeforePersist);
        if persisted == Persisted::Done || (persisted == Persisted::Lost && early) {
            for reply in replies {
                self.note(|| format!("sub-home {k} -> {:?} {}", reply.holder, brief(reply)));
                self.send_reply(Target::Sub(k), reply);
            }
            for contact in contacts {
                self.note(|| format!("sub-home {k} -> home {}", written(contact)));
                self.send_contact(Addressee::Sub(k), Target::Home, contact);
            }
        }
        self.alarm_sub(k);
    }

    pub(super) fn contact_sub(&mut self, k: usize, contact: &Contact) {
        let (now, seed) = (self.sub_local(k), draw(&mut self.random));
        let second = self.meters.second(self.now_us);
        let Some(sub) = self.subs[k].sub.as_mut() else { return };
        *self.meters.subs.entry((k, second)).or_insert(0) += 1;
        let reply = sub.contact(now, seed, contact);
        let contacts = sub.contacts(now);
        // What is not answered is parked, or older than what was taken.
        let taken = reply.as_ref().is_none_or(|reply| matches!(reply.body, Body::Lease(_)));
        let replies: Vec<Reply> = reply.into_iter().collect();
        self.sub_effects(k, Some(contact).filter(|_| taken), &replies, &contacts);
    }

    pub(super) fn reply_to_sub(&mut self, k: usize, reply: Reply) {
        let (now, seed) = (self.sub_local(k), draw(&mut self.random));
        let Some(sub) = self.subs[k].sub.as_mut() else { return };
        self.auditor.hands.delivered(&reply);
        let replies = sub.receive(now, seed, reply);
        let contacts = sub.contacts(now);
        self.sub_effects(k, None, &replies, &contacts);
    }

    pub(super) fn wake_sub(&mut self, k: usize) {
        if self.subs[k].wake_us > self.now_us {
            return;
        }
        let now = self.sub_local(k);
        self.subs[k].wake_us = u64::MAX;
        let Some(sub) = self.subs[k].sub.as_mut() else { return };
        let contacts = sub.contacts(now);
        self.sub_effects(k, None, &[], &contacts);
    }

    fn alarm_sub(&mut self, k: usize) {
        let now = self.sub_local(k);
        let node = &mut self.subs[k];
        let Some(due) = node.sub.as_mut().and_then(|sub| sub.wake_at(now)) else { return };
        let at = self.now_us + due.ms_since(now).clamp(2, 10_000) * 1_000;
        if node.wake_us <= self.now_us || at < node.wake_us {
            node.wake_us = at;
            self.at(at, Event::WakeSub(k));
        }
    }

    pub(super) fn crash_sub(&mut self, k: usize) {
        if self.subs[k].sub.take().is_some() {
            self.note(|| format!("sub-home {k} crashes"));
            let down = self.random.between(10, 800);
            self.trouble(self.now_us + down * 1_000);
            self.after_ms(down, Event::SubUp(k));
        }
    }

    pub(super) fn sub_up(&mut self, k: usize) {
        if self.subs[k].sub.is_none() {
            let life = incarnation(self.config.seed ^ 0xffff, u64::try_from(k).unwrap_or(0));
            let loaded = SubHome::load(self.subs[k].disk.clone()).ok().flatten();
            let id = self.subs[k].id;
            self.subs[k].sub = Some(loaded.unwrap_or_else(|| SubHome::new(id, life)));
            self.subs[k].wake_us = u64::MAX;
            self.alarm_sub(k);
        }
    }

    pub(super) fn snapshot_sub(&mut self, k: usize) {
        let disk = self.subs[k].disk.clone();
        self.subs[k].snapshots.push(disk);
    }

    /// A sub-home's storage is lost, or rolled back to an old copy, and whoever runs it knows.
    pub(super) fn lose_sub(&mut self, k: usize) {
        let before = SubHome::load(self.subs[k].disk.clone()).ok().flatten();
        if let Some(known) = self.subs[k].holder().or(before.as_ref().map(SubHome::id)) {
            let issuer = self.issuer(Target::Sub(k));
            self.auditor.hands.lost_sub(known, issuer);
        }
        self.trouble(self.now_us);
        self.auditor.deaths = true;
        self.auditor.lost_at_most += before.map_or(0, |sub| sub.unsettled());
        let high = u128::from(self.random.bits()) << 64;
        let id = HolderId::from_bits(high | u128::from(self.random.bits()));
        let pick = self.random.between(0, u64::try_from(self.subs[k].snapshots.len()).unwrap_or(0));
        let seed = self.config.seed ^ 0xffff ^ (u64::try_from(k).unwrap_or(0) << 32);
        let node = &mut self.subs[k];
        node.lives += 1;
        let life = incarnation(seed, node.lives);
        let copy = usize::try_from(pick).ok().and_then(|pick| node.snapshots.get(pick).cloned());
        let restored = copy.is_some();
        node.disk = copy.unwrap_or_default();
        let mut sub =
            SubHome::load(node.disk.clone()).ok().flatten().unwrap_or_else(|| SubHome::new(id, life.clone()));
        sub.begin_life(id, life);
        store(&mut node.disk, sub.take_writes());
        (node.id, node.sub, node.wake_us) = (id, Some(sub), u64::MAX);
        self.note(|| format!("sub-home {k} {}", if restored { "rolled back" } else { "lost its storage" }));
        self.alarm_sub(k);
    }

    pub(super) fn deliver(&mut self, _from: Target, reply: Reply) -> Verdict {
        match self.routes.get(&reply.holder).copied() {
            Some(Addressee::Seat { isolate, serial }) => self.reply_to_seat(isolate, serial, reply),
            Some(Addressee::Sub(k)) => {
                self.reply_to_sub(k, reply);
                Ok(())
            }
            None => Ok(()),
        }
    }
}
