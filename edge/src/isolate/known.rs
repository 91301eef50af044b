//! Questions that this isolate has allowed, by numbers.
//!
//! What is answered to such a question is known but for what is left, so that whoever asks it again is told no more
//! than that. Each is decided by the holder like any other: what is known here must never decide anything.

use shared::lease::Frame;
use shared::source::Source;
use shared::time::Timestamp;

use super::Isolate;
use crate::gate;
use crate::internal::wall;
use crate::quick::Allowed;
use crate::step::{Deciding, Then};

/// A thousand keys, agents and addresses that come again and again, at some hundred bytes each.
const KNOWN_MAX: usize = 1_000;

/// A question that was allowed.
#[derive(Debug)]
pub(super) struct Known {
    deciding: Deciding,
    /// The limits that its answer speaks of.
    frame: Frame,
    month_end: Timestamp,
    /// What pays for it.
    source: Option<Source>,
    /// The second in which who asks was signed, where that is forwarded.
    signed_s: Option<u64>,
}

/// A known question that comes again: its number, and what its head weighs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Again {
    pub(crate) number: usize,
    /// Bytes of all header names and values.
    pub(crate) header_bytes: u32,
    /// What `Content-Length` announces.
    pub(crate) body_bytes: u32,
}

impl Isolate {
    /// Notes a question that was allowed, and under which number; 0 says that all others are forgotten.
    pub(crate) fn know(&mut self, allowed: Allowed) -> usize {
        let source = allowed.source();
        let Allowed { deciding, numbers, now, .. } = allowed;
        let frame = Frame { rpm: numbers.rpm, allowance: numbers.allowance, period: numbers.period };
        let month_end = numbers.period.end();
        let signed_s = matches!(deciding.then, Then::Forward { .. }).then(|| wall(now).as_seconds());
        let units = numbers.remaining().unwrap_or_default();
        self.left = left(numbers.now, numbers.rpm_remaining, units.get(), month_end);
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.push(Known { deciding, frame, month_end, source, signed_s });
        self.known.len().saturating_sub(1)
    }

    /// Allows a known question if that needs nothing but what is in hand and its answer has changed in what is left
    /// only; says whether somebody should look after the holder. Otherwise nothing has happened, and it is to be
    /// asked at length.
    pub(crate) fn again(&mut self, again: Again, now: Timestamp) -> Option<bool> {
        let known = self.known.get(again.number)?;
        let seat = self.seats.get_mut(&known.deciding.home)?;
        if seat.refusal(now).is_some() {
            return None;
        }
        let holder = &mut seat.post.holder;
        let is_as_before = gate::is_small(again.header_bytes, again.body_bytes)
            && holder.frame() == Some(known.frame)
            && (known.source == holder.next_source(known.deciding.ask.cost) || known.deciding.ask.dry_run)
            && known.signed_s.is_none_or(|signed_s| signed_s == wall(now).as_seconds());
        if !is_as_before || !holder.serve(now, &known.deciding.ask) {
            return None;
        }
        seat.used = now;
        let after = holder.left(now)?;
        self.left = left(after.now, after.permits, after.units.get(), known.month_end);
        Some(seat.is_restless(now))
    }

    /// What is left after the last answer: permits, seconds of the minute, units, seconds of the month.
    pub(crate) fn left(&self, place: usize) -> u64 {
        self.left.get(place).copied().unwrap_or_default()
    }
}

fn left(now: Timestamp, permits: u32, units: u64, month_end: Timestamp) -> [u64; 4] {
    [permits.into(), now.seconds_until(now.minute().end()), units, now.seconds_until(month_end)]
}
