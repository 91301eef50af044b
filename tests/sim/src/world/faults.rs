//! Faults that come by themselves, and healing.

use shared::policy::{Overage, Status};
use shared::time::Timestamp;
use shared::units::Units;

use super::seats::key_of;
use super::{Event, World, clock};

/// The furthest that the home's clock steps at once, in milliseconds.
const STEP_MS_MAX: u64 = 5_000;

/// For how long a process stands still, in milliseconds.
const STOP_MS: (u64, u64) = (200, 3_000);
/// The most keys of a project.
const KEYS_MAX: usize = 3;

/// A fault that is due.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Death(usize),
    HomeCrash,
    SubCrash(usize),
    AggregatorCrash,
    Partition,
    PolicyChange,
    Snapshot,
    Rollback,
    Rehome,
    SubSnapshot(usize),
    SubLoss(usize),
    Limits,
    ClockStep,
    NewKey,
    Suspend,
    Stop(usize),
    HomeStop,
}

impl World {
    pub(super) fn schedule_faults(&mut self) {
        for isolate in 0..self.isolates.len() {
            self.again(Fault::Death(isolate));
            self.again(Fault::Stop(isolate));
        }
        for sub in 0..self.subs.len() {
            self.again(Fault::SubCrash(sub));
            self.again(Fault::SubSnapshot(sub));
            self.again(Fault::SubLoss(sub));
        }
        for fault in [
            Fault::HomeCrash,
            Fault::AggregatorCrash,
            Fault::Partition,
            Fault::PolicyChange,
            Fault::Snapshot,
            Fault::Rollback,
            Fault::Rehome,
            Fault::Limits,
            Fault::ClockStep,
            Fault::NewKey,
            Fault::Suspend,
            Fault::HomeStop,
        ] {
            self.again(fault);
        }
    }

    /// When this fault comes next.
    fn again(&mut self, fault: Fault) {
        let faults = &self.config.faults;
        let mean_ms = match fault {
            Fault::Death(_) => faults.death_ms,
            Fault::HomeCrash => faults.home_crash_ms,
            Fault::SubCrash(_) => faults.sub_crash_ms,
            Fault::AggregatorCrash => faults.aggregator_crash_ms,
            Fault::Partition => faults.partition_ms,
            Fault::PolicyChange => faults.policy_ms,
            Fault::Snapshot => faults.rollback_ms / 4,
            Fault::Rollback => faults.rollback_ms,
            Fault::Rehome => faults.rehome_ms,
            Fault::SubSnapshot(_) => faults.sub_loss_ms / 4,
            Fault::SubLoss(_) => faults.sub_loss_ms,
            Fault::Limits => faults.limits_ms,
            Fault::ClockStep => faults.step_ms,
            Fault::NewKey => faults.keys_ms,
            Fault::Suspend => faults.suspend_ms,
            Fault::Stop(_) | Fault::HomeStop => faults.stop_ms,
        };
        if mean_ms > 0 {
            let wait = self.random.between(1, mean_ms * 2);
            self.after_ms(wait, Event::Fault(fault));
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        if self.healed {
            return;
        }
        match fault {
            Fault::Death(isolate) => self.kill_isolate(isolate),
            Fault::HomeCrash => self.crash_home(),
            Fault::SubCrash(sub) => self.crash_sub(sub),
            Fault::AggregatorCrash => self.aggregator.crash(),
            Fault::Partition => self.partition(),
            Fault::PolicyChange => self.change_policy(),
            Fault::Snapshot => {
                let disk = self.home.disk.clone();
                self.home.snapshots.push(disk);
            }
            Fault::Rollback => self.roll_back(),
            Fault::Rehome => self.rehome(),
            Fault::SubSnapshot(sub) => self.snapshot_sub(sub),
            Fault::SubLoss(sub) => self.lose_sub(sub),
            Fault::Limits => self.change_limit(),
            Fault::ClockStep => self.step_clock(),
            Fault::NewKey => self.make_key(),
            Fault::Suspend => self.suspend(),
            Fault::Stop(isolate) => self.isolates[isolate].stopped_us = self.stop(),
            Fault::HomeStop => self.home.stopped_us = self.stop(),
        }
        self.again(fault);
    }

    /// Steps the clock of the home's machine by up to five seconds, as a daemon that sets it does.
    fn step_clock(&mut self) {
        let by = self.random.between(1, STEP_MS_MAX);
        let steps = &mut self.home_steps;
        if self.random.between(0, 1) == 0 {
            steps.ahead_ms += by;
        } else {
            steps.behind_ms += by;
        }
        self.auditor.stepped(by, Timestamp::from_ms(self.start_ms).minute());
        self.note(|| format!("the home's clock steps by {by} ms"));
    }

    /// A key is made; of more than a few the oldest is revoked.
    fn make_key(&mut self) {
        self.keys += 1;
        let mut keys = self.aggregator.policy.keys.clone();
        keys.push(key_of(self.keys));
        keys.drain(..keys.len().saturating_sub(KEYS_MAX));
        self.aggregator.set_keys(self.now(), keys);
        self.push_policy();
    }

    /// Until when a process stands still.
    fn stop(&mut self) -> u64 {
        let until_us = self.now_us + self.random.between(STOP_MS.0, STOP_MS.1) * 1_000;
        self.trouble(until_us);
        self.note(|| "a process stands still".to_owned());
        until_us
    }

    /// The project is suspended, or resumed.
    fn suspend(&mut self) {
        let status = match self.aggregator.policy.status {
            Status::Active => Status::Suspended,
            Status::Suspended => Status::Active,
        };
        self.note(|| format!("the project is {status:?}"));
        self.aggregator.set_status(self.now(), status);
        self.push_policy();
    }

    /// Cuts one way somewhere for a while.
    fn partition(&mut self) {
        // Some last longer than anything held stays fresh.
        let longest = if self.random.between(0, 3) == 0 { 25_000 } else { 6_000 };
        let until = self.now_us + self.random.between(200, longest) * 1_000;
        let isolate = usize::try_from(self.random.between(0, 999_999)).unwrap_or(0) % self.isolates.len();
        match self.random.between(0, 4) {
            0 => self.isolates[isolate].up_cut_us = until,
            1 => self.isolates[isolate].down_cut_us = until,
            2 => self.home.cut_us = until,
            side if !self.subs.is_empty() => {
                let sub = isolate % self.subs.len();
                if side == 3 {
                    self.subs[sub].up_cut_us = until;
                } else {
                    self.subs[sub].down_cut_us = until;
                }
            }
            _ => {
                for isolate in &mut self.isolates {
                    isolate.down_cut_us = until;
                }
            }
        }
        self.trouble(until);
        self.note(|| "partition".to_owned());
        self.note_out_of_reach();
    }

    /// Tells the auditor which units nobody can call back.
    pub(super) fn note_out_of_reach(&mut self) {
        for period in clock::periods(&self.config) {
            let units = self.out_of_reach(period);
            let most = self.auditor.out_of_reach.entry(period).or_insert(0);
            *most = units.max(*most);
        }
    }

    /// Raises or cuts the limit of an agent that has one.
    fn change_limit(&mut self) {
        let now = self.now();
        let (deep, cuts) = (self.config.faults.deep_cuts, self.config.faults.cuts);
        let limited: Vec<_> = self
            .aggregator
            .policy
            .leases
            .agents
            .iter()
            .map(|(agent, limit)| (agent.clone(), *limit))
            .collect();
        let Some(last) = limited.len().checked_sub(1) else { return };
        let pick = self.random.between(0, u64::try_from(last).unwrap_or(0));
        let (agent, limit) = &limited[usize::try_from(pick).unwrap_or(0)];
        let (used, old) = (self.auditor.served_by(now.period(), agent), limit.get());
        let new = if deep && old > used + 5 {
            used + self.random.between(0, 5)
        } else if deep {
            used + 400
        } else if cuts {
            self.random.between(1, old * 2 + 1)
        } else {
            old + self.random.between(1, old + 1)
        };
        self.aggregator.set_agent_limit(now, agent, Units::new(new));
        self.push_policy();
    }

    /// Turns open overage off with hardly anything left, and on again.
    fn toggle(&mut self) {
        let now = self.now();
        let left = self.random.between(0, 60);
        if self.aggregator.policy.allowance.overage == Overage::Open {
            let served = self.auditor.served(now.period());
            self.aggregator.set_included(now, Units::new(served + left));
            self.aggregator.set_overage(now, Overage::Stop);
        } else {
            self.aggregator.set_overage(now, Overage::Open);
        }
        self.push_policy();
    }

    fn change_policy(&mut self) {
        if self.config.faults.toggles {
            return self.toggle();
        }
        let now = self.now();
        let included = self.config.included;
        if self.config.faults.deep_cuts {
            let served = self.auditor.served(now.period());
            let all = self.aggregator.policy.allowance.included.get() > served * 2;
            self.aggregator.set_included(now, Units::new(if all { served } else { included }));
            self.push_policy();
            return;
        }
        let cuts = self.config.faults.cuts;
        let draw = self.random.between(0, 6);
        let part = self.random.between(0, included);
        let rpm = u32::try_from(self.random.between(1, u64::from(self.config.rpm) * 2)).unwrap_or(60);
        let before = &self.aggregator.policy;
        let open = before.allowance.overage == Overage::Open;
        match draw {
            0 => self.aggregator.credit(now, Units::new(part / 4 + 1)),
            1 | 6 if cuts => self.aggregator.set_included(now, Units::new(part)),
            1 | 6 => self.aggregator.raise(now, Units::new(part)),
            2 if cuts => self.aggregator.set_rpm(now, rpm),
            2 => self.aggregator.set_rpm(now, rpm.max(before.rpm)),
            3 if cuts && !open => {
                self.aggregator.set_overage(now, Overage::Capped { units: Units::new(part / 2) });
            }
            4 if cuts => self.aggregator.set_overage(now, Overage::Stop),
            _ => self.aggregator.raise_next(now, Units::new(part / 3)),
        }
        self.push_policy();
    }

    fn rehome(&mut self) {
        let most = u64::try_from(self.subs.len()).unwrap_or(0);
        let count = self.random.between(0, most);
        let now = self.now();
        self.aggregator.set_sub_homes(now, u32::try_from(count).unwrap_or(0));
        self.trouble(self.now_us);
        self.note(|| format!("{count} sub-homes from now"));
        self.push_policy();
        self.move_seats();
    }

    /// Requests end, faults end, and everybody comes back.
    pub(super) fn heal(&mut self) {
        self.note(|| "heal".to_owned());
        (self.healed, self.asking) = (true, false);
        self.home.cut_us = 0;
        // A cut that ends now was one until now.
        let now_us = self.now_us;
        let ended = |cut_us: u64| cut_us.min(now_us);
        for isolate in &mut self.isolates {
            (isolate.up_cut_us, isolate.down_cut_us) = (ended(isolate.up_cut_us), ended(isolate.down_cut_us));
        }
        for sub in &mut self.subs {
            (sub.up_cut_us, sub.down_cut_us) = (ended(sub.up_cut_us), ended(sub.down_cut_us));
        }
        self.home_up();
        for k in 0..self.subs.len() {
            self.sub_up(k);
        }
        self.push_policy();
    }
}
