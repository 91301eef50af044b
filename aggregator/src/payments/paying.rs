//! How a project pays, as far as Stripe has said: what is overdue, what waits, and whether anything can be charged.
//!
//! That a project is past due follows from the ledger; this says why, to those who are to pay.

use schemars::JsonSchema;
use serde::Serialize;
use shared::time::{Period, Timestamp};

use super::schedule::ComingChange;
use super::seen::Invoice;
use crate::ledger::money::{Currency, Money};

/// What Stripe has said of a project's payments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paying {
    /// Changes of its subscription that wait.
    pub waiting: Vec<ComingChange>,
    /// What is overdue, the oldest first.
    pub overdue: Vec<Overdue>,
    /// Until when its subscription is paid.
    pub paid_until: Option<Timestamp>,
    /// Whether there is something that its bills can be charged to.
    pub has_method: bool,
}

/// What an overdue bill is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A subscription.
    Subscription,
    /// A month's usage beyond the plan.
    Usage(Period),
}

/// A bill that is overdue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// What it is for.
    pub source: Source,
    /// Its invoice at Stripe.
    pub invoice: String,
    /// What is still to be paid, taxes included.
    pub amount: Money,
    /// Since when.
    pub since: Timestamp,
    /// Stripe's page where it is paid; it needs no account.
    pub pay_at: Option<String>,
}

impl Overdue {
    /// An invoice that is due; `None` where its currency cannot be read.
    #[must_use]
    pub fn of(invoice: &Invoice, source: Source) -> Option<Self> {
        let currency = Currency::parse(&invoice.currency).ok()?;
        Some(Self {
            source,
            invoice: invoice.id.clone(),
            amount: Money::new(i128::from(invoice.amount_remaining), currency),
            since: Timestamp::from_ms(invoice.due_since().saturating_mul(1_000)),
            pay_at: invoice.hosted_invoice_url.clone(),
        })
    }
}

/// An overdue bill as customers and the audit log are shown it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OverdueView {
    /// `subscription`, or `usage` beyond the plan.
    source: &'static str,
    /// The month of the usage.
    period: Option<Period>,
    /// The invoice at Stripe.
    invoice: String,
    /// What is still to be paid, taxes included.
    amount: Money,
    since: String,
    /// Where it is paid, without an account.
    pay_at: Option<String>,
}

impl From<Overdue> for OverdueView {
    fn from(overdue: Overdue) -> Self {
        let Overdue { source, invoice, amount, since, pay_at } = overdue;
        let (source, period) = match source {
            Source::Subscription => ("subscription", None),
            Source::Usage(period) => ("usage", Some(period)),
        };
        Self { source, period, invoice, amount, since: since.to_string(), pay_at }
    }
}
