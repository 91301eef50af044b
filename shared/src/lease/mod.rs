//! Leases: bounded rights to spend, from a home to its holders.
//!
//! A holder spends without I/O, reports what it served, and returns what it does not need. What a
//! dead holder never reported is forfeited: it counts against the allowance and is not billed. A
//! lease is never freed by expiry, because a dead isolate may have served it, and never billed at
//! issue, because the reply may be lost.

pub(crate) mod book;
mod holder;
pub(crate) mod keys;
pub(crate) mod math;
pub mod message;
pub(crate) mod places;
pub mod progress;
pub(crate) mod stock;
pub(crate) mod uplink;

pub use holder::{Answer, CallEnd, Frame, HeldUnits, Holder, InHand, Left, Noted, WaiterId};

/// How long everything held may be spent without hearing from the home: cuts bind within it, and it
/// bounds a clock's drift to 2 ms.
pub const FRESH_MS: u64 = 10_000;

/// What an isolate leaves unused at the end of a validity: 200 ppm × 60 s = 12 ms of drift, a clock
/// that lags 15 ms, and slack.
pub(crate) const MARGIN_MS: u64 = 40;

/// The same for a sub-home, whose isolates keep their own.
pub(crate) const SUB_MARGIN_MS: u64 = 20;

/// How often holders write while little is left and they have some of it, in milliseconds: two levels of them hear
/// within the two seconds that a refused client waits.
pub(crate) const TAIL_BEAT_MS: u64 = 700;

/// How long a request waits for an answer before it is refused or served from the reserve.
pub const WAIT_MS_MAX: u64 = 1_500;

/// How far back a denial's time may reach: a stored reply may be delivered late.
pub(crate) const DENIAL_BACK_MS_MAX: u64 = 300;

/// The most lanes of one holder.
pub(crate) const LANES_MAX: u8 = 4;

/// The most groups of waiting requests in one contact.
pub(crate) const NEEDS_MAX: usize = 64;

/// The most requests that wait in one isolate; further ones are told to come again.
pub(crate) const WAITERS_MAX: usize = 2_048;

/// Units that an isolate may serve while no home answers, under an overage without a cap (design §3).
pub(crate) const RESERVE_UNITS_MAX: u64 = 100;

/// Agents that an isolate tells apart between two reports; further ones are counted as `~other`.
pub(crate) const AGENTS_MAX: usize = 1_000;
