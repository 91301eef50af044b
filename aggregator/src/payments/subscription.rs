//! Subscriptions: which plan a project has paid for, by all that Stripe has about its customer.
//!
//! All subscriptions of the customer are looked at together, each by its present state; the largest that
//! anybody has paid for counts. What an operator set by hand stays until something changes at Stripe.

use shared::ids::ProjectId;
use shared::plan::{Catalogue, Plan};
use shared::time::Timestamp;

use super::goods::Good;
use super::paying::Overdue;
use super::schedule::ComingChange;
use super::seen::Subscription;
use super::table::{SUBSCRIPTIONS, Standing, Status, row};
use crate::ledger::plan;
use crate::ledger::refusal::Refusal;
use crate::ledger::terms::{Interval, PlanTerms};
use crate::projects::book::Book;

const MS_PER_DAY: u64 = 24 * 60 * 60 * 1_000;

/// What we remember of a project's subscription: what Stripe had made of its plan when we last looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Whose.
    pub project: ProjectId,
    /// The subscription that counted.
    pub subscription: String,
    /// Its item, which is what a change of plan names.
    pub item: String,
    /// Its status.
    pub status: Status,
    /// The plan that it gives; `None` once it has ended.
    pub plan: Option<Plan>,
    /// How often it is paid.
    pub interval: Interval,
    /// When the paid time ends.
    pub paid_until: Option<Timestamp>,
    /// When it ends, where that is set.
    pub ends: Option<Timestamp>,
    /// The changes of plan or interval that wait at Stripe, in order.
    pub waiting: Vec<ComingChange>,
    /// Since when a payment is overdue.
    pub overdue_since: Option<Timestamp>,
}

/// One subscription, and what its invoices say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionSeen {
    /// The subscription.
    pub subscription: Subscription,
    /// Whether any of its invoices was ever paid.
    pub paid: bool,
    /// When its present price was paid, where Stripe says so.
    pub paid_at: Option<Timestamp>,
    /// When its newest payment was made, whatever for.
    pub last_paid_at: Option<Timestamp>,
    /// Its invoices that are not paid.
    pub due: Vec<Overdue>,
    /// What its price is for; `None` where we do not know the price.
    pub good: Option<Good>,
    /// When its schedule changes what is paid for, in order; `None` where we do not know the price.
    pub coming: Vec<(Timestamp, Option<Good>)>,
    /// When it ends with its schedule, where it does.
    pub schedule_ends: Option<Timestamp>,
}

/// A project's plan after it was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledPlan {
    /// The book with what follows.
    pub book: Book,
    /// What is remembered.
    pub mirror: Option<Mirror>,
    /// What is overdue of its subscriptions; `None` where that is not known now.
    pub overdue: Option<Vec<Overdue>>,
    /// What an operator has to be told.
    pub alarm: Option<String>,
}

/// What settling needs beside what Stripe shows.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The plans.
    pub catalogue: &'a Catalogue,
    /// Since when a bill of ours is overdue.
    pub bills_overdue_since: Option<Timestamp>,
    /// Whether our key moves real money.
    pub livemode: bool,
    /// The present instant.
    pub now: Timestamp,
}

impl SubscriptionSeen {
    fn status(&self) -> Status {
        Status::parse(&self.subscription.status).unwrap_or(Status::Unknown)
    }

    /// When the oldest invoice that is not paid became due.
    fn due_since(&self) -> Option<Timestamp> {
        self.due.iter().map(|due| due.since).min()
    }

    /// Whether it took its plan away because nobody paid.
    fn is_given_up(&self) -> bool {
        self.paid && self.standing() == Standing::Ended
    }

    fn standing(&self) -> Standing {
        row(SUBSCRIPTIONS, (self.status(), self.paid)).unwrap_or(Standing::Parked)
    }

    /// Remembers it, if it gives a plan.
    fn mirror(&self, project: &ProjectId) -> Option<Mirror> {
        let live = matches!(self.standing(), Standing::Subscribed | Standing::PastDue);
        let (Some(Good::Plan(plan, interval)), true) = (self.good, live) else { return None };
        let item = self.subscription.items.data.first()?;
        let paid_until = item.current_period_end.map(seconds);
        let ends = self.subscription.cancel_at.map(seconds);
        let at_end = if self.subscription.cancel_at_period_end { paid_until } else { None };
        let ends = ends.or(at_end).or(self.schedule_ends);
        let waiting =
            self.coming.iter().filter_map(|(at, good)| good.map(|good| ComingChange { at: *at, good }));
        let waiting = waiting.filter(|waits| ends.is_none_or(|ends| waits.at < ends)).collect();
        Some(Mirror {
            project: project.clone(),
            subscription: self.subscription.id.clone(),
            item: item.id.clone(),
            status: self.status(),
            plan: Some(plan),
            interval,
            paid_until,
            ends,
            waiting,
            overdue_since: if self.standing() == Standing::PastDue { self.due_since() } else { None },
        })
    }

    /// Why a person has to look at it; `None` where nobody has to.
    fn doubt(&self, livemode: bool) -> Option<String> {
        let Subscription { id, items, .. } = &self.subscription;
        let counts = matches!(self.standing(), Standing::Subscribed | Standing::PastDue);
        let single = items.data.len() == 1 && items.data.iter().all(|item| item.quantity.unwrap_or(1) == 1);
        if self.standing() == Standing::Parked {
            Some(format!(
                "{id}: got the status {:?}, which this release does not know",
                self.subscription.status
            ))
        } else if self.subscription.livemode != livemode {
            Some(format!("{id}: livemode: got {}, accepted is {livemode}", self.subscription.livemode))
        } else if counts && !single {
            Some(format!("{id}: accepted is one item of quantity 1"))
        } else if counts && !matches!(self.good, Some(Good::Plan(..))) {
            Some(format!("{id}: its price is not one of ours"))
        } else {
            None
        }
    }

    /// What waits and cannot be planned for; what is paid for now is known all the same.
    fn unknown_to_come(&self) -> Option<String> {
        let unknown = |(_, good): &&(Timestamp, Option<Good>)| !matches!(good, Some(Good::Plan(..)));
        let (at, _) = self.coming.iter().find(unknown)?;
        Some(format!("{}: the price that it is to have from {at} is not one of ours", self.subscription.id))
    }
}

fn seconds(seconds: u64) -> Timestamp {
    Timestamp::from_ms(seconds.saturating_mul(1_000))
}

/// Brings a project's plan and standing to what its customer's subscriptions and our bills come to.
///
/// # Errors
/// When the ledger refuses it; then nothing may be written.
pub fn settle(
    book: Book,
    before: Option<Mirror>,
    seen: &[SubscriptionSeen],
    context: Context<'_>,
) -> Result<SettledPlan, Refusal> {
    let doubts: Vec<String> = seen.iter().filter_map(|one| one.doubt(context.livemode)).collect();
    if let Some(doubt) = doubts.first() {
        // What cannot be understood changes nothing, in neither direction.
        return Ok(SettledPlan { book, mirror: before, overdue: None, alarm: Some(doubt.clone()) });
    }
    let live: Vec<Mirror> = seen.iter().filter_map(|one| one.mirror(&book.project.id)).collect();
    let best = live.iter().max_by(|a, b| (a.plan, &b.subscription).cmp(&(b.plan, &a.subscription)));
    let mut alarm = None;
    if live.len() > 1 {
        alarm = Some(format!(
            "the project pays for {} subscriptions; all but one should be refunded",
            live.len()
        ));
    }
    if book.project.plan == Plan::Enterprise {
        let alarm =
            best.map(|mirror| format!("{}: a contract's project has a subscription", mirror.subscription));
        return Ok(SettledPlan { book, mirror: before, overdue: None, alarm });
    }
    if alarm.is_none() {
        alarm = seen.iter().find_map(SubscriptionSeen::unknown_to_come);
    }
    let mirror = match (best, before.clone()) {
        (Some(best), _) => Some(best.clone()),
        (None, Some(before)) => Some(ended(before, seen)),
        (None, None) => None,
    };
    let counts = |one: &&SubscriptionSeen| best.is_some_and(|best| best.subscription == one.subscription.id);
    let counted = seen.iter().find(counts);
    let paid_at = counted.and_then(|one| one.paid_at);
    let book = follow(book, before.as_ref(), mirror.as_ref(), paid_at, context)?;
    let since = mirror.as_ref().and_then(|mirror| mirror.overdue_since);
    let since = [since, context.bills_overdue_since].into_iter().flatten().min();
    let book = standing(book, since, counted.and_then(|one| one.last_paid_at), context)?;
    Ok(SettledPlan { book, overdue: Some(overdue(mirror.as_ref(), seen)), mirror, alarm })
}

/// What is overdue: of the subscription that counts while it is past due, and where none counts any more, of those
/// that were given up.
fn overdue(mirror: Option<&Mirror>, seen: &[SubscriptionSeen]) -> Vec<Overdue> {
    let is_overdue = |one: &&SubscriptionSeen| match mirror {
        Some(Mirror { plan: Some(_), overdue_since, subscription, .. }) => {
            overdue_since.is_some() && *subscription == one.subscription.id
        }
        Some(Mirror { plan: None, .. }) | None => one.is_given_up(),
    };
    seen.iter().filter(is_overdue).flat_map(|one| one.due.iter().cloned()).collect()
}

/// What is remembered of a subscription that gives nothing now.
fn ended(before: Mirror, seen: &[SubscriptionSeen]) -> Mirror {
    let own = seen.iter().find(|one| one.subscription.id == before.subscription);
    let status = own.map_or(Status::Canceled, SubscriptionSeen::status);
    match own.map_or(Standing::Ended, SubscriptionSeen::standing) {
        Standing::Ended => {
            let (plan, ends, waiting, overdue_since) = (None, None, vec![], None);
            Mirror { status, plan, ends, waiting, overdue_since, ..before }
        }
        Standing::Unchanged | Standing::Subscribed | Standing::PastDue | Standing::Parked => before,
    }
}

/// Changes the plan where what Stripe says of it has changed.
fn follow(
    mut book: Book,
    before: Option<&Mirror>,
    after: Option<&Mirror>,
    paid_at: Option<Timestamp>,
    context: Context<'_>,
) -> Result<Book, Refusal> {
    let said =
        |mirror: Option<&Mirror>| mirror.map(|mirror| (mirror.plan, mirror.ends, mirror.waiting.clone()));
    let Some(mirror) = after.filter(|_| said(before) != said(after)) else { return Ok(book) };
    let was_given = before.and_then(|mirror| mirror.plan);
    let plan = match mirror.plan {
        Some(plan) => plan,
        // It fell, unless an operator has given it another plan meanwhile.
        None if was_given == Some(book.project.plan) => Plan::Community,
        None => return Ok(book),
    };
    // What was planned may have come true in the ledger before Stripe tells of it.
    let from = was_given.map_or(book.project.plan, |given| given.min(book.project.plan));
    book = book.freed_by_upgrade(context.catalogue, from, plan)?;
    let terms = book.terms(context.catalogue, plan)?;
    let postings = plan::bought(&book.ledger, context.now, terms, paid_at)?;
    book = book.append(context.now, postings)?;
    for ComingChange { at, good } in &mirror.waiting {
        let Good::Plan(plan, _) = good else { continue };
        let terms = book.terms(context.catalogue, *plan)?;
        let postings = plan::planned(&book.ledger, context.now, terms, *at)?;
        book = book.append(context.now, postings)?;
    }
    if let Some(ends) = mirror.ends {
        let community = book.terms(context.catalogue, Plan::Community)?;
        let postings = plan::change(&book.ledger, context.now, community, Some(ends))?;
        book = book.append(context.now, postings)?;
    }
    Ok(book.following(context.now))
}

/// Brings the project's standing to what is overdue, of subscriptions and bills together. `paid_at` is when what
/// was overdue was paid, where that is known.
///
/// # Errors
/// When the ledger refuses it.
pub fn standing(
    book: Book,
    overdue_since: Option<Timestamp>,
    paid_at: Option<Timestamp>,
    context: Context<'_>,
) -> Result<Book, Refusal> {
    let Some(since) = overdue_since else {
        let postings = plan::recovered(&book.ledger, context.now, paid_at);
        return book.append(context.now, postings);
    };
    let known = book.ledger.timeline().overdue_since(context.now);
    let book = if known.is_some_and(|known| known < since) {
        // The older one is paid; the grace of the other counts from its own day.
        let postings = plan::recovered(&book.ledger, context.now, paid_at);
        book.append(context.now, postings)?
    } else {
        book
    };
    let fallback = PlanTerms::of(context.catalogue, Plan::Community)?;
    let grace_ms = u64::from(context.catalogue.grace_days).saturating_mul(MS_PER_DAY);
    let postings = plan::past_due(&book.ledger, context.now, since, fallback, grace_ms);
    book.append(context.now, postings)
}
