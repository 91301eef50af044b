//! Changes of plan and standing.
//!
//! Upgrades take effect at once, downgrades and cancellations at the end of paid time (design §5).
//! Nothing takes effect in a closed period: an instant that lies there is held at the first open one.

use shared::time::Timestamp;

use super::entry::{Fact, OverageSetting, Posting};
use super::refusal::Refusal;
use super::state::Ledger;
use super::terms::PlanTerms;

/// What changing to other terms is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// A larger plan, or more units on the same: at once.
    Up,
    /// The same terms: a planned downgrade is dropped.
    Same,
    /// Anything else: when what was paid for is over.
    Down,
}

/// What changing from one plan to another is.
#[must_use]
pub fn direction(from: &PlanTerms, to: &PlanTerms) -> Direction {
    if from == to {
        Direction::Same
    } else if (to.plan, to.included) > (from.plan, from.included) {
        Direction::Up
    } else {
        Direction::Down
    }
}

/// Changes the plan: at once if it is an upgrade, else when the paid time ends, or at once where
/// nothing is paid for any more. Nothing is written where nothing changes.
///
/// # Errors
/// When the terms are in another currency than the ledger.
pub fn change(
    ledger: &Ledger,
    now: Timestamp,
    terms: PlanTerms,
    paid_until: Option<Timestamp>,
) -> Result<Vec<Posting>, Refusal> {
    if terms.currency != ledger.currency() {
        return Err(Refusal::CurrencyDiffers);
    }
    let timeline = ledger.timeline();
    let now = ledger.held(now);
    let effective = match direction(timeline.subscribed_at(now), &terms) {
        Direction::Up | Direction::Same => now,
        Direction::Down => paid_until.map_or(now, |until| until.max(now)),
    };
    // Compared for ever, not for an instant: a change that was planned before must give way too.
    if *timeline.subscribed_at(effective) == terms && *timeline.subscribed_at(Timestamp::MAX) == terms {
        return Ok(vec![]);
    }
    Ok(vec![Posting::of(Fact::PlanChanged { terms, effective })])
}

/// Plans a change that somebody else has set for an instant, whichever way it goes.
///
/// What was planned for after it is dropped; nothing is written where the instant is no longer to come, or brings
/// nothing new.
///
/// # Errors
/// When the terms are in another currency than the ledger.
pub fn planned(
    ledger: &Ledger,
    now: Timestamp,
    terms: PlanTerms,
    at: Timestamp,
) -> Result<Vec<Posting>, Refusal> {
    if terms.currency != ledger.currency() {
        return Err(Refusal::CurrencyDiffers);
    }
    let timeline = ledger.timeline();
    let is_new = *timeline.subscribed_at(at) != terms || *timeline.subscribed_at(Timestamp::MAX) != terms;
    if at <= ledger.held(now) || !is_new {
        return Ok(vec![]);
    }
    Ok(vec![Posting::of(Fact::PlanChanged { terms, effective: at })])
}

/// Changes to a plan that was paid for: an upgrade begins when it was paid, as far as that month is open.
///
/// What is told late must not leave a month to overage that was paid for; anything else is a change as of now.
///
/// # Errors
/// When the terms are in another currency than the ledger.
pub fn bought(
    ledger: &Ledger,
    now: Timestamp,
    terms: PlanTerms,
    paid_at: Option<Timestamp>,
) -> Result<Vec<Posting>, Refusal> {
    let held = ledger.held(now);
    // In the present month it makes no difference to a bill, and levels are armed anew from now on.
    let open = ledger.open_from()..held.period().start();
    let effective = paid_at.filter(|at| open.contains(at)).unwrap_or(held);
    let up = direction(ledger.timeline().subscribed_at(held), &terms) == Direction::Up;
    if up && effective < held && terms.currency == ledger.currency() {
        return Ok(vec![Posting::of(Fact::PlanChanged { terms, effective })]);
    }
    change(ledger, now, terms, None)
}

/// Brings a project to another version of the catalogue: the terms that it has now and those that are
/// planned, each as `of` gives them anew. Nothing is written where nothing differs.
///
/// # Errors
/// When `of` refuses, or the new terms are in another currency than the ledger.
pub fn migrate(
    ledger: &Ledger,
    now: Timestamp,
    of: impl Fn(&PlanTerms) -> Result<PlanTerms, Refusal>,
) -> Result<Vec<Posting>, Refusal> {
    let now = ledger.held(now);
    let timeline = ledger.timeline();
    let mut postings = Vec::new();
    let planned = timeline.planned_after(now).map(|(effective, terms)| (*effective, terms));
    let mut differs = false;
    for (effective, old) in std::iter::once((now, timeline.subscribed_at(now))).chain(planned) {
        let terms = of(old)?;
        if terms.currency != ledger.currency() {
            return Err(Refusal::CurrencyDiffers);
        }
        differs |= terms != *old;
        // An entry drops what was planned for after it, so that the later ones are written again.
        postings.push(Posting::of(Fact::PlanChanged { terms, effective }));
    }
    Ok(if differs { postings } else { vec![] })
}

/// Turns auto-overage on or off, or changes its cap. Nothing is written where nothing changes.
///
/// # Errors
/// When the cap is negative or in another currency than the plan.
pub fn set_overage(
    ledger: &Ledger,
    now: Timestamp,
    setting: OverageSetting,
) -> Result<Vec<Posting>, Refusal> {
    if let OverageSetting::On { cap: Some(cap) } = setting {
        if cap.minor() < 0 {
            return Err(Refusal::NotPositive { field: "cap" });
        }
        if cap.currency() != ledger.currency() {
            return Err(Refusal::CurrencyDiffers);
        }
    }
    let same = ledger.timeline().setting_at(ledger.held(now)) == setting;
    Ok(if same { vec![] } else { vec![Posting::of(Fact::OverageChanged(setting))] })
}

/// Notes that a payment failed at `since`; only the first failure starts the grace.
#[must_use]
pub fn past_due(
    ledger: &Ledger,
    now: Timestamp,
    since: Timestamp,
    fallback: PlanTerms,
    grace_ms: u64,
) -> Vec<Posting> {
    if ledger.timeline().is_past_due(ledger.held(now)) {
        return vec![];
    }
    let since = since.max(ledger.open_from());
    vec![Posting::of(Fact::PastDue { since, fallback, grace_ms })]
}

/// Notes that the payment came: the plan and the overage setting are as before, from when it was made as far as
/// that month is open.
#[must_use]
pub fn recovered(ledger: &Ledger, now: Timestamp, paid_at: Option<Timestamp>) -> Vec<Posting> {
    let held = ledger.held(now);
    if !ledger.timeline().is_past_due(held) {
        return vec![];
    }
    // Within the month it makes no difference to a bill, as for an upgrade.
    let open = ledger.open_from()..held.period().start();
    let fact = match paid_at.filter(|at| open.contains(at)) {
        Some(paid_at) => Fact::RecoveredAt { paid_at },
        None => Fact::Recovered,
    };
    vec![Posting::of(fact)]
}

/// Suspends the project.
#[must_use]
pub fn suspend(reason: String) -> Vec<Posting> {
    vec![Posting::of(Fact::Suspended { reason })]
}

/// Resumes the project.
#[must_use]
pub fn resume() -> Vec<Posting> {
    vec![Posting::of(Fact::Resumed)]
}
