//! The project's numbers as a holder knows them, for answers that show them.
//!
//! They are what the issuer and others had left when it last wrote, and what is in hand here: exact while nobody
//! else spends, else too many by what others spent since. They are never the base of a decision.

use super::Holder;
use crate::decision::Numbers;
use crate::lease::message::Lease;
use crate::lease::stock::Delivery;
use crate::time::{Minute, Period, Timestamp};
use crate::units::Units;

/// What the newest reply said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    sent: Timestamp,
    received: Timestamp,
    home: Timestamp,
    period: Period,
    minute: Minute,
    allowance: Option<u64>,
    left: u64,
    used: u64,
    permits_left: u64,
}

impl Heard {
    /// What this reply says, unless an answer to a later contact has come already.
    pub(super) fn newest(known: Option<Self>, at: Delivery, lease: &Lease) -> Self {
        match known {
            Some(known) if known.sent > at.sent => known,
            Some(_) | None => Self {
                sent: at.sent,
                received: at.received,
                home: lease.now,
                period: lease.period,
                minute: lease.minute,
                allowance: (!lease.open).then_some(lease.allowance),
                left: lease.left,
                used: lease.used,
                permits_left: lease.permits_left,
            },
        }
    }
}

/// What is in hand of one period and minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InHand {
    /// Units.
    pub units: u64,
    /// Permits.
    pub permits: u64,
}

/// What an answer says of the limits themselves: it changes with the policy and the month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Requests per minute.
    pub rpm: u32,
    /// All that may be spent in the period; `None` where only the requests per minute limit it.
    pub allowance: Option<Units>,
    /// The month.
    pub period: Period,
}

/// What is left of the limits: it changes with each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// When, by the home's clock.
    pub now: Timestamp,
    /// Permits of that minute.
    pub permits: u32,
    /// Units of the period.
    pub units: Units,
}

impl Holder {
    /// What is in hand and can be spent at `now`.
    #[must_use]
    pub fn in_hand(&self, now: Timestamp) -> InHand {
        let units = if now < self.stock.units_until { self.stock.units } else { 0 };
        InHand { units, permits: self.stock.permits(now) }
    }

    /// Whether what is known here was heard lately.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.stock.is_fresh(now)
    }

    /// The project's limits, as far as they are known here; `None` before the first reply.
    #[must_use]
    pub fn frame(&self) -> Option<Frame> {
        let (terms, heard) = (self.terms.as_ref()?, self.heard.as_ref()?);
        Some(Frame { rpm: terms.rpm, allowance: heard.allowance.map(Units::new), period: heard.period })
    }

    /// What is left of them; `None` before the first reply.
    #[must_use]
    pub fn left(&self, now: Timestamp) -> Option<Left> {
        let (terms, heard) = (self.terms.as_ref()?, self.heard.as_ref()?);
        let hand = self.in_hand(now);
        let home_now = heard.home.plus_ms(now.ms_since(heard.received));
        let same_minute = home_now.minute() == heard.minute;
        // What others had of a minute that began since is not known here.
        let permits_left = if same_minute { heard.permits_left } else { u64::from(terms.rpm) };
        let permits = permits_left.saturating_add(hand.permits).min(u64::from(terms.rpm));
        let units = heard.left.saturating_add(hand.units).min(heard.allowance.unwrap_or(u64::MAX));
        Some(Left {
            now: home_now,
            permits: u32::try_from(permits).unwrap_or(u32::MAX),
            units: Units::new(units),
        })
    }

    /// Units that were served of a period: what the issuer knew of, and what this holder has not reported to it yet.
    #[must_use]
    pub fn used(&self, period: Period) -> Units {
        let known = self.heard.as_ref().filter(|heard| heard.period == period).map_or(0, |heard| heard.used);
        Units::new(known.saturating_add(self.uplink.unacknowledged(&self.book, period)))
    }

    /// The project's numbers, as far as they are known here; `None` before the first reply.
    #[must_use]
    pub fn numbers(&self, now: Timestamp) -> Option<Numbers> {
        let terms = self.terms.as_ref()?;
        let (Frame { rpm, allowance, period }, left) = (self.frame()?, self.left(now)?);
        Some(Numbers {
            now: left.now,
            period,
            plan: terms.plan,
            included: Units::ZERO,
            allowance,
            used: allowance.map_or(Units::ZERO, |allowance| allowance.saturating_sub(left.units)),
            forfeited: Units::ZERO,
            rpm,
            rpm_remaining: left.permits,
            agents_max: terms.agents_max,
            upgrade_url: terms.upgrade_url.clone(),
        })
    }
}
