//! When a home flushes and what: cumulative cells, numbered, until they are acknowledged.

use alloc::vec::Vec;

use super::account::Account;
use super::moves::LOOK_MS;
use super::{Home, HomeName};
use crate::cell::Cell;
use crate::ids::SourceId;
use crate::lease::math::times;
use crate::time::{Period, Timestamp};
use crate::wire::{DENIED_MAX, Denied, FLUSH_CELLS_MAX, Flush};

/// How long counted units wait for company before they are flushed, in milliseconds. Short enough
/// for a near real-time dashboard, long enough that a busy home flushes once a second.
pub const FLUSH_INTERVAL_MS: u64 = 1_000;

/// The first pause after a failed flush, in milliseconds; each further one doubles.
const RETRY_MS_MIN: u64 = 500;

/// The longest pause between attempts to flush, in milliseconds.
pub const RETRY_MS_MAX: u64 = 30_000;

/// When the next flush is due. It is not stored: after a restart unflushed cells are due at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pace {
    due: Option<Timestamp>,
    failures: u32,
}

impl Pace {
    /// It is to be looked by then, whether there is something to flush.
    pub(super) fn look_by(&mut self, at: Timestamp) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Somebody waits for what only an acknowledgement can give.
    pub(super) fn waited_for(&mut self, now: Timestamp) {
        self.due.get_or_insert(now);
    }

    /// Units were counted at `now`; `urgent` ones passed a percentage of the quota.
    pub(super) fn counted(&mut self, now: Timestamp, urgent: bool) {
        // While the aggregator cannot be reached, urgency does not shorten the pause.
        let wanted = now.plus_ms(if urgent && self.failures == 0 { 0 } else { FLUSH_INTERVAL_MS });
        self.due =
            Some(self.due.map_or(wanted, |due| if self.failures == 0 { due.min(wanted) } else { due }));
    }
}

/// What one flush sends: its messages are posted one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlushRound {
    /// The flush's number.
    pub seq: u64,
    /// At least one message; each has at most [`FLUSH_CELLS_MAX`] cells.
    pub messages: Vec<Flush>,
}

impl Home {
    /// When the shell should call [`Home::flush`] next.
    #[must_use]
    pub fn flush_due(&self) -> Option<Timestamp> {
        self.pace.due.into_iter().chain(self.calls.due()).min()
    }

    /// When somebody should flush a home that no process keeps in memory; `None` if there is nothing to flush.
    ///
    /// At once where a percentage of the quota was passed, or half of what may be issued before an acknowledgement is.
    #[must_use]
    pub fn look_due(&self, now: Timestamp) -> Option<Timestamp> {
        if self.has_to_end() {
            return Some(now.plus_ms(LOOK_MS));
        }
        let usual = (self.has_unflushed() || self.has_untold_stranded()).then(|| {
            let urgent = self.has_untold_denials() || self.passes_a_percentage() || self.is_half_issued();
            if urgent { Timestamp::default() } else { now.plus_ms(FLUSH_INTERVAL_MS) }
        });
        usual.into_iter().chain(self.calls.due()).min()
    }

    fn passes_a_percentage(&self) -> bool {
        let Some(policy) = &self.policy else { return false };
        self.accounts.iter().any(|(period, account)| {
            super::account::crosses(account.acked, account.settled, policy.allowance.included_in(*period))
        })
    }

    fn is_half_issued(&self) -> bool {
        let window = self.escrow();
        let unacked = |period: &Period| self.unacked(*period);
        window.is_some_and(|window| {
            self.accounts.keys().any(|period| unacked(period).saturating_add(unacked(period)) >= window)
        })
    }

    pub(super) fn has_unflushed(&self) -> bool {
        self.cells.values().any(|cell| cell.epoch > self.meta.acked) || self.has_untold_denials()
    }

    /// Everything that was not acknowledged yet, or `None` if there is nothing.
    ///
    /// Units counted after this call travel in the next flush. Nothing needs to be written: after a
    /// crash the same cells are sent again, under the same number or a later one. An acknowledgement
    /// of what was sent before is none of that.
    #[must_use]
    pub fn flush(&mut self, now: Timestamp) -> Option<FlushRound> {
        let now = self.tick(now);
        self.conclude_dead(now);
        self.end_if_drained(now);
        self.pace.due = None;
        let unflushed: Vec<Cell> = self
            .cells
            .iter()
            .filter(|(_, cell)| cell.epoch > self.meta.acked)
            .map(|(key, cell)| Cell { key: key.clone(), counts: cell.counts, denials: cell.denials })
            .collect();
        let is_news = self.has_untold_denials() || self.has_untold_stranded() || self.has_untold_end();
        if unflushed.is_empty() && !is_news {
            self.look_after_seat();
            return None;
        }
        // Should the shell die while it sends, this is when the flush is tried again.
        self.pace.due = Some(now.plus_ms(RETRY_MS_MAX));
        let seq = self.meta.epoch;
        self.meta.epoch = seq.saturating_add(1);
        self.note_flight(seq);
        let mut parts: Vec<Vec<Cell>> = unflushed.chunks(FLUSH_CELLS_MAX).map(<[Cell]>::to_vec).collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        let mut messages: Vec<Flush> = parts.into_iter().map(|cells| self.message(seq, cells)).collect();
        // What falls may be believed only once all that was settled instead has arrived.
        let tells_permits = self.escrow().is_some();
        if let Some(last) = messages.last_mut() {
            last.window = tells_permits.then_some(self.meta.window);
            last.retired = self.retired();
            last.stranded = if last.retired.is_some() { self.left_behind() } else { self.stranded(seq) };
        }
        Some(FlushRound { seq, messages })
    }

    /// What a life that its server has ended had counted and not told, or `None` if that is nothing.
    ///
    /// Its holders have fallen silent because it has ended. It has issued nothing in their stead, so what they have is
    /// within its escrow, and is not told to be out beside it: a new life would hold it back twice.
    #[must_use]
    pub fn last_flush(&mut self, now: Timestamp) -> Option<FlushRound> {
        let mut round = self.flush(now)?;
        for message in &mut round.messages {
            message.stranded.clear();
            // Nobody knows whether it has ended in order.
            message.retired = None;
        }
        Some(round)
    }

    /// A flush without cells: it asks the aggregator for the policy.
    #[must_use]
    pub fn pull(&self) -> Flush {
        self.message(0, Vec::new())
    }

    /// Every message of flush `seq` was acknowledged.
    pub fn flushed(&mut self, now: Timestamp, seq: u64) {
        // This memory has not sent it: it was read back meanwhile, and counts what that flush did not
        // carry under the same number.
        if seq >= self.meta.epoch {
            return;
        }
        let now = self.tick(now);
        self.meta.acked = self.meta.acked.max(seq);
        self.land_flight(seq);
        self.pace = Pace::default();
        if self.has_unflushed() {
            self.pace.counted(now, false);
        }
        self.look_after_seat();
        self.forget(now);
        self.write_meta();
    }

    /// A message of the flush was not acknowledged; everything will be sent again after a pause.
    pub fn flush_failed(&mut self, now: Timestamp) {
        let pause = times(RETRY_MS_MIN, 1_u64.checked_shl(self.pace.failures).unwrap_or(u64::MAX));
        self.pace.failures = self.pace.failures.saturating_add(1);
        self.pace.due = Some(now.plus_ms(pause.min(RETRY_MS_MAX)));
    }

    /// Whether a request was denied for want of units and nobody has acknowledged that yet.
    fn has_untold_denials(&self) -> bool {
        self.accounts.values().any(|account| account.exhausted.is_some_and(|epoch| epoch > self.meta.acked))
    }

    /// Periods in which a request was denied for want of units, the latest first kept.
    fn denied(&self) -> Vec<Denied> {
        let spent = self.accounts.iter().rev().filter(|(_, account)| account.exhausted.is_some());
        let denied =
            |(period, account): (&Period, &Account)| Denied { period: *period, quota: account.denied_quota };
        spent.map(denied).take(DENIED_MAX).collect()
    }

    fn message(&self, seq: u64, cells: Vec<Cell>) -> Flush {
        let HomeName { project, mode } = self.meta.name.clone();
        let life = (SourceId::home(), self.meta.incarnation.clone());
        Flush { cells, denied: self.denied(), ..Flush::new((project, mode), life, seq) }
    }
}
