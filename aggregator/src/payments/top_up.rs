//! Automatic top-ups: when the next pack is bought by itself, and when buying stops.
//!
//! Pure. The rows are in `store::stripe::top_ups`; a purchase is an order like any other, paid by an invoice
//! on the customer's default payment method (`charge`), verified and credited as those of Checkout are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::plan::Pack;
use shared::policy::Status;
use shared::time::Timestamp;
use shared::units::Units;

use super::goods::Good;
use super::order::Order;
use super::table::OrderState;
use crate::ledger::lots;
use crate::ledger::money::Money;
use crate::ledger::refusal::Refusal;
use crate::projects::book::Book;

/// How many payments may fail one after the other before nothing more is tried: the first may be a limit of the
/// day, the third is no accident.
pub const FAILURES_MAX: u32 = 3;

/// How long nothing is tried after a payment failed; a declined card is declined again a second later.
pub const PAUSE_MS: u64 = 60 * 60 * 1_000;

/// The most packs a month that may be asked for.
pub const MONTHLY_LIMIT_MAX: u32 = 100;

/// What is bought, when, and how often at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which pack.
    pub pack: Pack,
    /// It is bought when fewer units than these are left of quota and lots.
    pub below: Units,
    /// How many are bought in a calendar month (UTC) at most.
    pub monthly_limit: u32,
}

/// A project's automatic top-ups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoTopUp {
    /// What was asked for.
    pub rule: Rule,
    /// How many payments failed one after the other.
    pub failures: u32,
    /// Whether they have stopped by themselves.
    pub stopped: bool,
    /// The payment method that failed last, where it is known.
    pub failed_with: Option<String>,
    /// Why the last payment failed.
    pub reason: Option<String>,
    /// Nothing is tried before this.
    pub not_before: Timestamp,
}

/// What is known of the project's automatic orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bought {
    /// How many of this month were paid or still may be.
    pub this_month: u32,
    /// Whether one is unfinished, or a person has to look at one.
    pub under_way: bool,
}

/// What follows from a look at a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A pack is bought.
    Buy(Pack),
    /// Nothing, until the month's units reach this total or something else of the project changes.
    Wait(Units),
    /// Nothing before a time, or before an order ends, which are seen by themselves.
    Later,
}

impl AutoTopUp {
    /// As somebody has just asked for it.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            failures: 0,
            stopped: false,
            failed_with: None,
            reason: None,
            not_before: Timestamp::from_ms(0),
        }
    }

    /// Whether a pack is to be bought now.
    ///
    /// # Errors
    /// When an amount is too large.
    pub fn look(&self, book: &Book, bought: Bought, now: Timestamp) -> Result<Look, Refusal> {
        if self.stopped || now < self.not_before || bought.under_way {
            return Ok(Look::Later);
        }
        let (stands, timeline) = (book.standing(now)?, book.ledger.timeline());
        let may_buy = lots::may_buy(&book.ledger, now)
            && timeline.status_at(now) == Status::Active
            && !timeline.is_past_due(now);
        if !may_buy || bought.this_month >= self.rule.monthly_limit {
            return Ok(Look::Wait(Units::MAX));
        }
        if stands.left < self.rule.below {
            return Ok(Look::Buy(self.rule.pack));
        }
        let until = stands.left.saturating_sub(self.rule.below).saturating_add(Units::new(1));
        Ok(Look::Wait(stands.used.saturating_add(until)))
    }

    /// A payment failed: nothing is tried for a while, and after the last failure nothing at all.
    #[must_use]
    pub fn failed(self, reason: &str, now: Timestamp) -> Self {
        let failures = self.failures.saturating_add(1);
        Self {
            failures,
            stopped: failures >= FAILURES_MAX,
            reason: Some(reason.to_owned()),
            not_before: now.plus_ms(PAUSE_MS),
            ..self
        }
    }

    /// A payment arrived.
    #[must_use]
    pub fn paid(self) -> Self {
        Self::new(self.rule)
    }

    /// The customer pays by `method` from now on: what failed with another is tried again.
    #[must_use]
    pub fn pays_with(self, method: &str) -> Self {
        if self.failures > 0 && self.failed_with.as_deref() != Some(method) {
            Self::new(self.rule)
        } else {
            self
        }
    }
}

/// Automatic top-ups as `GET /api/v1/billing/plan` shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AutoTopUpView {
    /// `small`, `medium` or `large`.
    pack: &'static str,
    /// It is bought when fewer units than these are left of quota and lots.
    below: Units,
    /// How many are bought in a calendar month (UTC) at most.
    monthly_limit: u32,
    /// How many of this month were paid or still may be.
    bought_this_month: u32,
    /// `on`, or `stopped` after payments that failed: set it again, or add another payment method.
    state: &'static str,
    /// How many payments failed one after the other.
    failures: u32,
    /// Why the last one failed.
    last_failure: Option<String>,
    /// When the next payment may be tried, where that is later than now.
    next_try_at: Option<String>,
    /// The last five packs that were bought or tried, the newest first.
    attempts: Vec<TriedView>,
}

/// A pack that was to be bought by itself, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TriedView {
    at: String,
    pack: String,
    price: Money,
    /// How its order stands: `paid`, `failed`, `expired`, or on its way.
    state: &'static str,
    /// Why its payment failed.
    reason: Option<String>,
}

impl From<Order> for TriedView {
    fn from(order: Order) -> Self {
        Self {
            at: order.created.to_string(),
            pack: match order.good {
                Good::Pack(pack) => pack.as_str().to_owned(),
                Good::Plan(..) => order.good.name(),
            },
            price: order.price,
            state: order.state.as_str(),
            // Of others a note is for operators.
            reason: order.note.filter(|_| order.state == OrderState::Failed),
        }
    }
}

impl AutoTopUpView {
    /// What is shown at an instant.
    #[must_use]
    pub fn new(top_up: AutoTopUp, bought: Bought, tried: Vec<Order>, now: Timestamp) -> Self {
        let waits = !top_up.stopped && top_up.not_before > now;
        Self {
            pack: top_up.rule.pack.as_str(),
            below: top_up.rule.below,
            monthly_limit: top_up.rule.monthly_limit,
            bought_this_month: bought.this_month,
            state: if top_up.stopped { "stopped" } else { "on" },
            failures: top_up.failures,
            last_failure: top_up.reason,
            next_try_at: waits.then(|| top_up.not_before.to_string()),
            attempts: tried.into_iter().map(TriedView::from).collect(),
        }
    }
}
