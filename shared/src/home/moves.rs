//! Homes that move to another place: a life that ends in order, so that the next one begins from the books with nothing
//! held back for it.
//!
//! A home that is to be elsewhere grants nothing more. It takes in what its holders have, flushes, and then says that it
//! has ended, with what is left with holders that have fallen silent. Where the homes come back to, rows of an earlier
//! stay are found: whatever they say, nothing is issued before a new life has learned from the books what all others
//! came to. What is decided here is safe whatever the books believe: rows that did not end in order do so first.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Home;
use super::call::{ContactReply, HomeReply};
use super::open_calls::SILENT_MS;
use super::question::Question;
use crate::ids::Incarnation;
use crate::json;
use crate::lease::message::HolderId;
use crate::planted::planted;
use crate::policy::Seat;
use crate::problem::ErrorCode;
use crate::time::Timestamp;
use crate::units::Units;
use crate::wire::{Retired, Stranded};

/// What a home replies to whoever finds it empty because its project's homes are at the other place. Shells know it by
/// these very words, and ask there.
pub const MOVED: &str = "home_moved";

/// How often a home that is to end looks whether it may, in milliseconds.
pub(super) const LOOK_MS: u64 = 250;

/// That a life has ended in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    /// For which term.
    term: u64,
    /// The first flush that tells it.
    epoch: u64,
}

/// Homes that never moved write nothing about it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(super) fn is_first(term: &u64) -> bool {
    *term == 0
}

impl Home {
    fn seat(&self) -> Option<Seat> {
        self.policy.as_ref().and_then(|policy| policy.leases.seat)
    }

    /// Whether this life is to end, or has.
    pub(super) fn is_closing(&self) -> bool {
        let is_over = |seat: Seat| !seat.open || seat.term > self.meta.term;
        self.seat().is_some_and(is_over)
    }

    /// Whether nothing more is granted.
    pub(super) fn grants_nothing(&self) -> bool {
        let goes_on = planted!(EndedGrants) && self.meta.ended.is_some();
        (self.is_closing() && !goes_on) || self.needs_registration()
    }

    /// Whether this life has ended, and the books know it. Nothing was granted since.
    fn is_ended(&self) -> bool {
        self.meta.ended.is_some_and(|ended| ended.epoch <= self.meta.acked)
    }

    /// Whether it is to be said that this life has ended, for the term that the policy names: whoever waits for that cannot
    /// know whether it had before.
    fn ends_for(&self, seat: Seat) -> bool {
        let said = self.meta.ended.is_some_and(|ended| seat.open || ended.term == seat.term);
        self.is_closing() && !said
    }

    /// Whether this life is to end, and the books do not know yet that it has.
    pub(super) fn has_to_end(&self) -> bool {
        let unsaid = self.seat().is_some_and(|seat| self.ends_for(seat));
        self.is_closing() && (unsaid || !self.is_ended())
    }

    pub(super) fn has_untold_end(&self) -> bool {
        self.meta.ended.is_some_and(|ended| ended.epoch > self.meta.acked)
    }

    /// Whether the project's homes are at the other place, and nothing of it is here.
    #[must_use]
    pub fn is_moved(&self) -> bool {
        self.seat().is_some_and(|seat| !seat.open) && self.is_ended() && !planted!(EndedGrants)
    }

    /// Whether the homes are here again, or for the first time, and a new life must begin: by [`Home::begin_life`], or with
    /// a pull by [`Home::begin_stay`].
    #[must_use]
    pub fn must_begin_life(&self) -> bool {
        let is_blank = self.accounts.is_empty() && self.cells.is_empty() && self.desk.holders.is_empty();
        let is_new = self.seat().is_some_and(|seat| seat.open && seat.term > self.meta.term);
        is_new && (is_blank || self.is_ended())
    }

    /// Begins that life, if it must. It learns from the answer to the pull that follows.
    pub fn begin_stay(&mut self, now: Timestamp, incarnation: Incarnation) {
        if self.must_begin_life() {
            self.begin_life(now, incarnation);
        }
    }

    /// The term that a life which begins now is for.
    pub(super) fn term_begun(&self) -> u64 {
        let seat = self.seat().filter(|seat| seat.open);
        seat.map_or(self.meta.term, |seat| seat.term.max(self.meta.term))
    }

    /// Looks soon whether this life may end, if it is to.
    pub(super) fn look_after_seat(&mut self) {
        if planted!(OldRowsReopened)
            && let Some(seat) = self.seat().filter(|seat| seat.open)
        {
            (self.meta.term, self.meta.registered, self.meta.ended) = (seat.term, true, None);
        }
        if self.has_to_end() {
            let soon = self.meta.clock.plus_ms(LOOK_MS);
            self.pace.look_by(soon);
        }
    }

    /// Ends this life if it is to end, and nobody alive has anything of it. Nothing is granted after that is written.
    pub(super) fn end_if_drained(&mut self, now: Timestamp) {
        let Some(seat) = self.seat() else { return };
        if self.ends_for(seat) && self.is_drained(now) {
            self.meta.ended = Some(Ended { term: seat.term, epoch: self.meta.epoch });
            self.write_meta();
        }
    }

    /// Whether nothing is out, but with holders that are dead as far as anybody can tell.
    fn is_drained(&self, now: Timestamp) -> bool {
        if !self.calls.is_empty() {
            return false;
        }
        let heard = self.desk.heard(now, u64::MAX);
        let told: BTreeMap<HolderId, u64> =
            self.crowd.stranded().map(|(holder, units)| (*holder, units)).collect();
        let mut holding = self.desk.holders.iter().filter(|(_, row)| !row.out.is_empty());
        holding.all(|(holder, row)| {
            let out = row.out.values().fold(0, |sum: u64, units| sum.saturating_add(*units));
            // A sub-home is alive that has nothing but what its dead isolates have.
            let is_lost = told.get(holder).is_some_and(|stranded| *stranded >= out);
            let last = heard.get(holder).copied().max(self.crowd.heard_at(*holder));
            let is_silent = last.is_none_or(|at| now.ms_since(at) >= SILENT_MS);
            is_lost || is_silent || planted!(EndedTooSoon)
        })
    }

    /// What a flush tells of the end.
    pub(super) fn retired(&self) -> Option<Retired> {
        let (seat, ended) = (self.seat()?, self.meta.ended?);
        Some(Retired { place: seat.place, term: ended.term, window: self.meta.window })
    }

    /// What is left with silent holders when a life has ended.
    pub(super) fn left_behind(&self) -> Vec<Stranded> {
        let of = |(period, account): (&_, &super::Account)| {
            let units = if planted!(EndedTooSoon) { Units::ZERO } else { account.out() };
            Stranded { period: *period, units }
        };
        self.accounts.iter().map(of).collect()
    }

    /// What is replied where this home grants nothing, if it is not to be asked as ever: a holder's report is taken in any
    /// case. The outer `None` is as ever, the inner one asks for a pull.
    pub(super) fn reply_between(&self, question: &Question, waited: bool) -> Option<Option<String>> {
        if self.is_moved() {
            return (!self.is_reported_to(question)).then(|| Some(failed(question, MOVED)));
        }
        if self.must_begin_life() || self.needs_registration() {
            return Some(waited.then(|| failed(question, ErrorCode::HomeUnavailable.as_str())));
        }
        let waits = self.is_closing() && self.only_asks(question);
        waits.then(|| Some(failed(question, ErrorCode::HomeUnavailable.as_str())))
    }

    /// Whether somebody only wants something, and has nothing of this home. Nothing is written for it, so that those who
    /// bring something come through.
    fn only_asks(&self, question: &Question) -> bool {
        match question {
            Question::Contact(m) => {
                let row = self.desk.holders.get(&m.holder);
                let brings = m.batch.seq > 0 || !m.returns.is_empty();
                !brings && row.is_none_or(|row| row.out.is_empty())
            }
            Question::Decide(..) => true,
            Question::Observe(_) => false,
        }
    }

    /// Whether a contact brings something that was issued in this life.
    fn is_reported_to(&self, question: &Question) -> bool {
        match question {
            Question::Contact(m) => {
                let is_ours = m.incarnation.as_ref() == Some(&self.meta.incarnation);
                is_ours && (m.batch.seq > 0 || !m.returns.is_empty())
            }
            Question::Decide(..) | Question::Observe(_) => false,
        }
    }
}

fn failed(question: &Question, code: &str) -> String {
    if question.is_contact() {
        json::write(&ContactReply::Failed(code.into()))
    } else {
        json::write(&HomeReply::Failed(code.into()))
    }
}
