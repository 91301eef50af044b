//! Changes that wait at Stripe: what a subscription's schedule says will come, and when.
//!
//! The customer portal makes a schedule where a change is to wait for the end of paid time; until then the
//! subscription itself shows nothing but the schedule's id. Read tolerantly, as all of Stripe's objects are.

use serde::Deserialize;
use shared::time::Timestamp;

use super::goods::Good;
use super::seen::Reference;

/// A schedule of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Schedule {
    /// Its id.
    pub id: String,
    /// `active`, `not_started`, `completed`, `released` or `canceled`.
    pub status: String,
    /// Whose.
    pub customer: Reference,
    /// What follows its last phase: `release` lets the subscription go on, `cancel` ends it.
    #[serde(default)]
    pub end_behavior: String,
    /// The phase that is running; the others are over or still to come.
    pub current_phase: Option<Span>,
    /// All phases, in order.
    #[serde(default)]
    pub phases: Vec<Phase>,
}

/// How long a phase lasts, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Span {
    /// When it begins.
    pub start_date: u64,
    /// When it ends.
    pub end_date: u64,
}

/// A phase of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Phase {
    /// How long it lasts.
    #[serde(flatten)]
    pub span: Span,
    /// What the subscription is for in it.
    #[serde(default)]
    pub items: Vec<PhaseItem>,
}

/// What a subscription is for in a phase.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PhaseItem {
    /// Which price.
    pub price: Reference,
}

/// A change of plan or interval that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComingChange {
    /// When it comes.
    pub at: Timestamp,
    /// What is paid for from then on.
    pub good: Good,
}

impl Schedule {
    /// The phases that are still to come: when each begins, and its price.
    pub fn to_come(&self) -> impl Iterator<Item = (Timestamp, &str)> {
        let is_live = matches!(self.status.as_str(), "active" | "not_started");
        let running_until = self.current_phase.map_or(0, |span| span.end_date);
        let to_come =
            self.phases.iter().filter(move |phase| is_live && phase.span.start_date >= running_until);
        to_come.filter_map(|phase| Some((seconds(phase.span.start_date), phase.items.first()?.price.id())))
    }

    /// When the subscription ends with its schedule, where it does.
    #[must_use]
    pub fn ends(&self) -> Option<Timestamp> {
        let is_live = matches!(self.status.as_str(), "active" | "not_started");
        let last = self.phases.last().filter(|_| is_live && self.end_behavior == "cancel")?;
        Some(seconds(last.span.end_date))
    }
}

fn seconds(seconds: u64) -> Timestamp {
    Timestamp::from_ms(seconds.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(status: &str, end_behavior: &str) -> Schedule {
        serde_json::from_value(serde_json::json!({
            "id": "sub_sched_1", "status": status, "customer": "cus_1", "end_behavior": end_behavior, "surprise": 1.5,
            "current_phase": { "start_date": 100, "end_date": 200 },
            "phases": [
                { "start_date": 100, "end_date": 200, "items": [{ "price": "price_now", "quantity": 1 }] },
                { "start_date": 200, "end_date": 300, "items": [{ "price": { "id": "price_next" } }] },
                { "start_date": 300, "end_date": 400, "items": [{ "price": "price_last" }] },
            ],
        }))
        .unwrap()
    }

    #[test]
    fn what_comes_is_what_begins_after_the_running_phase() {
        let waits: Vec<_> = schedule("active", "release")
            .to_come()
            .map(|(at, price)| (at.as_seconds(), price.to_owned()))
            .collect();
        assert_eq!(waits, [(200, "price_next".to_owned()), (300, "price_last".to_owned())]);
        for over in ["released", "completed", "canceled", "of a later API"] {
            assert_eq!(schedule(over, "cancel").to_come().count(), 0, "{over}");
            assert_eq!(schedule(over, "cancel").ends(), None, "{over}");
        }
    }

    #[test]
    fn a_subscription_ends_with_a_schedule_that_cancels_it() {
        assert_eq!(schedule("active", "release").ends(), None);
        assert_eq!(schedule("active", "cancel").ends().map(Timestamp::as_seconds), Some(400));
    }
}
