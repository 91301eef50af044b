//! The lives of a home's storage: what may be issued where that storage can be rolled back.
//!
//! Such a home issues at most W beyond what the aggregator has acknowledged. A new life begins when
//! a rollback is suspected; it learns from the aggregator what was merged and how many lives there
//! were, and holds W against the allowance for each of them. It must never issue before that.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::account::Account;
use super::offer::NEXT_AHEAD_MS;
use super::{Home, Pace};
use crate::ids::Incarnation;
use crate::lease::math::times;
use crate::planted::planted;
use crate::policy::Policy;
use crate::source::Beyond;
use crate::time::{Period, Timestamp};
use crate::units::Units;
use crate::wire::{Merged, Stranded};

/// Who was not answered for so long holds what it has in vain, most likely; it may be told otherwise at any time.
const SILENT_MS: u64 = 2_000;

/// Where a period's units are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outstanding {
    /// Issued and not given back.
    pub net: Units,
    /// Served for certain.
    pub settled: Units,
    /// Held by holders, dead ones included; forfeited once the period is final.
    pub out: Units,
    /// Held against the allowance for earlier lives of the storage.
    pub void: Units,
}

/// What an acknowledgement says about this home's storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is as the aggregator knows it.
    Sound,
    /// It was rolled back: a new life must begin, with [`Home::begin_life`].
    RolledBack,
}

impl Home {
    /// This life of the storage.
    #[must_use]
    pub fn incarnation(&self) -> &Incarnation {
        &self.meta.incarnation
    }

    /// Where a period's units are.
    #[must_use]
    pub fn outstanding(&self, period: Period) -> Outstanding {
        self.accounts.get(&period).map_or_else(Outstanding::default, |account| Outstanding {
            net: account.net(),
            settled: account.settled,
            out: account.out(),
            void: account.void,
        })
    }

    /// Whether the aggregator must be asked about earlier lives before anything is issued: post
    /// [`Home::pull`] and hand the answer to [`Home::acknowledge`].
    #[must_use]
    pub fn needs_registration(&self) -> bool {
        let must_learn = self.escrow().is_some() || self.meta.term > 0;
        must_learn && !self.meta.registered && !self.is_closing()
    }

    /// Takes what the aggregator says with its acknowledgement of a flush or pull of `life`.
    pub fn acknowledge(
        &mut self,
        now: Timestamp,
        life: &Incarnation,
        watermark: u64,
        merged: &[Merged],
    ) -> Standing {
        let now = self.tick(now);
        if *life != self.meta.incarnation {
            return Standing::Sound;
        }
        let escrow = self.escrow();
        if escrow.is_some() && watermark >= self.meta.epoch && !planted!(RollbackUnnoticed) {
            return Standing::RolledBack;
        }
        if self.needs_registration() {
            self.register(now, escrow.unwrap_or_default(), merged);
        }
        Standing::Sound
    }

    fn register(&mut self, now: Timestamp, window: Units, merged: &[Merged]) {
        let periods: Vec<Period> = self.accounts.keys().copied().collect();
        self.accounts.clear();
        for period in periods {
            self.write_account(period);
        }
        for Merged { period, units, lives, stranded, agents, .. } in merged {
            let void = Units::new(times(window.get(), u64::from(*lives))).saturating_add(*stranded);
            let agent_units =
                agents.iter().map(|(agent, units)| (agent.clone(), units.saturating_add(void))).collect();
            let known = agents.iter().filter(|(agent, used)| agent.is_named() && **used > Units::ZERO);
            let known = known.map(|(agent, _)| agent);
            let account = Account {
                issued: units.saturating_add(void),
                settled: *units,
                acked: *units,
                void,
                agent_units,
                agents: known.cloned().collect(),
                ..Account::default()
            };
            self.accounts.insert(*period, account);
            self.write_account(*period);
        }
        self.meta.registered = true;
        self.learn_permits(now, window, merged);
        self.write_meta();
    }

    /// Learns what earlier lives have issued of the minute.
    ///
    /// A life never has more units out than the escrow and what it has told to be stranded, beyond what the books have:
    /// with permits that it did not tell of, no more than that can be served. What the aggregator does not say, because
    /// it is of a release before, may be anything.
    ///
    /// A strict project waits until the minute turns: calls are decided for holders under the ids that the life before knew,
    /// until these have heard of the new one, and whatever they would report of such a call is void.
    fn learn_permits(&mut self, now: Timestamp, escrow: Units, merged: &[Merged]) {
        let ended_in_order = merged.iter().all(|merged| merged.lives == 0);
        let told = merged.iter().find_map(|merged| merged.window);
        let of_now = merged.iter().find(|merged| merged.period == now.period());
        let strict = self.policy.as_ref().is_some_and(|policy| policy.leases.strict);
        let unknown = of_now.filter(|_| !strict).and_then(|merged| {
            let of_lives = times(escrow.get(), u64::from(merged.recent?));
            Some(Units::new(of_lives).saturating_add(merged.stranded).get())
        });
        match (unknown, told) {
            (_, Some(told)) if ended_in_order => self.meta.window = told,
            (_, None) if ended_in_order => {}
            (Some(_), _) if planted!(LossForgotten) => self.meta.window = told.unwrap_or_default(),
            (Some(unknown), told) => {
                let unknown = u32::try_from(unknown).unwrap_or(u32::MAX);
                self.meta.window = told.unwrap_or_default().with_unknown(now, unknown, NEXT_AHEAD_MS);
            }
            (None, _) => self.meta.window.close(now, NEXT_AHEAD_MS),
        }
    }

    /// Takes units off what is held back for earlier lives: a holder had them of one of those, and has let them go.
    pub(super) fn let_go(&mut self, period: Period, units: Units) {
        let Some(account) = self.accounts.get_mut(&period) else { return };
        let known = account.void.min(units);
        if known == Units::ZERO {
            return;
        }
        account.void = account.void.saturating_sub(known);
        account.take_back(known, Beyond::NONE);
        self.write_account(period);
    }

    /// Begins a new life: the storage was lost, restored, or failed over. Leases of earlier lives
    /// are void; nothing is issued until the aggregator has been asked.
    pub fn begin_life(&mut self, now: Timestamp, incarnation: Incarnation) {
        let now = self.tick(now);
        if planted!(RollbackUnnoticed) {
            return;
        }
        for key in core::mem::take(&mut self.cells).keys() {
            self.writes.put::<super::OpenCell>(super::rows::cell_key(key), None);
        }
        self.desk.clear(&mut self.writes);
        self.calls.clear(&mut self.writes);
        self.meta.incarnation = incarnation;
        self.meta.window.close(now, NEXT_AHEAD_MS);
        (self.meta.epoch, self.meta.acked, self.meta.registered) = (1, 0, false);
        (self.meta.ended, self.meta.term) = (None, self.term_begun());
        (self.pace, self.flights) = (Pace::default(), BTreeMap::new());
        self.write_meta();
    }

    /// How much may be issued beyond what the aggregator has acknowledged; `None` where the storage is never lost.
    pub(super) fn escrow(&self) -> Option<Units> {
        self.policy.as_ref().and_then(|policy| policy.leases.escrow)
    }

    /// What may still be issued before the aggregator acknowledges more; `None` is no limit.
    pub(super) fn room(&self, policy: &Policy, period: Period) -> Option<Units> {
        if self.grants_nothing() {
            return Some(Units::ZERO);
        }
        let window = policy.leases.escrow?;
        Some(window.saturating_sub(self.unacked(period)))
    }

    /// Units issued that the aggregator does not know of.
    pub(super) fn unacked(&self, period: Period) -> Units {
        self.accounts.get(&period).map_or(Units::ZERO, |account| account.unacked(self.silent(period)))
    }

    /// Units that are out with holders of whom nothing was heard lately.
    ///
    /// What a sub-home had before its storage was lost stays with the id that it had then, while its isolates report
    /// what they serve of it through the new one: what is settled is not out any more.
    fn silent(&self, period: Period) -> Units {
        let heard = self.desk.heard(self.meta.clock, SILENT_MS);
        let (mut living, mut silent) = (Units::ZERO, Units::ZERO);
        for (holder, row) in &self.desk.holders {
            let sum = if heard.contains_key(holder) { &mut living } else { &mut silent };
            *sum = sum.saturating_add(Units::new(row.out.get(&period).copied().unwrap_or(0)));
        }
        let out = self.accounts.get(&period).map_or(Units::ZERO, Account::out);
        silent.min(out.saturating_sub(living))
    }

    /// Whether more is out with silent holders than the aggregator knows: it takes room from all others.
    pub(super) fn has_untold_stranded(&self) -> bool {
        self.escrow().is_some()
            && self.accounts.iter().any(|(period, account)| self.silent(*period) > account.stranded)
    }

    /// What a flush tells of it.
    pub(super) fn stranded(&self, seq: u64) -> Vec<Stranded> {
        let flight = self.flights.get(&seq).into_iter().flatten();
        flight.map(|(period, (_, units))| Stranded { period: *period, units: *units }).collect()
    }

    /// Whether so many units are left and may be issued as soon as the aggregator has what is on its way to it.
    ///
    /// What is with living holders that do not spend it makes no room by waiting: it must be called back. Calls whose
    /// answers are leaving are spent, and are told of within a moment.
    pub(super) fn is_short_of_room(&self, now: Timestamp, units: Units) -> bool {
        let period = self.meta.clock.max(now).period();
        let Some(policy) = &self.policy else { return false };
        let is_short = self.room(policy, period).is_some_and(|room| room < units);
        let is_coming =
            self.has_unflushed() || self.has_untold_stranded() || (self.calls.units_of(period) > Units::ZERO);
        // Where nothing more is granted, no room comes by waiting.
        is_short && !self.grants_nothing() && !self.is_spent(period, units) && is_coming
    }

    /// Remembers what was settled when a flush was written.
    pub(super) fn note_flight(&mut self, seq: u64) {
        if self.escrow().is_some() {
            let told =
                |(period, account): (&Period, &Account)| (*period, (account.settled, self.silent(*period)));
            let flight: BTreeMap<_, _> = self.accounts.iter().map(told).collect();
            for (period, (_, silent)) in &flight {
                // Until it lands, the aggregator may know of either.
                if let Some(account) = self.accounts.get_mut(period).filter(|known| known.stranded > *silent)
                {
                    account.stranded = *silent;
                    self.write_account(*period);
                }
            }
            self.flights.insert(seq, flight);
            // The number must not come back after a crash, or a rollback could not be told from it.
            self.write_meta();
        }
    }

    /// What was settled then is known to the aggregator now.
    pub(super) fn land_flight(&mut self, seq: u64) {
        if let Some(flight) = self.flights.remove(&seq) {
            let is_last = seq.saturating_add(1) == self.meta.epoch;
            for (period, (settled, stranded)) in flight {
                if let Some(account) = self.accounts.get_mut(&period) {
                    account.acked = account.acked.max(settled);
                    // A later flush that is under way may have told of less.
                    account.stranded = if is_last { stranded } else { account.stranded.min(stranded) };
                    self.write_account(period);
                }
            }
        }
        self.flights.retain(|flight, _| *flight > seq);
    }
}
