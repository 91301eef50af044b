//! What Stripe shows, settled against our rows: one transaction with the ledger and the event's outcome.

use std::collections::BTreeMap;

use serde_json::json;
use shared::ids::ProjectId;
use shared::plan::{Catalogue, Plan};
use shared::time::Timestamp;

use super::events::{EventState, Outcome, note_outcome};
use super::{intents, keep_mirror, mirror_of, orders, paying, settle_turn, top_ups};
use crate::access::trail::{Action, Actor, Deed};
use crate::ledger::entry::EntryNumber;
use crate::payments::intent::Intent;
use crate::payments::order::{OrderSeen, Ours};
use crate::payments::paying::{Overdue, OverdueView, Source};
use crate::payments::seen::Invoice;
use crate::payments::subscription::{self, Context, SubscriptionSeen};
use crate::projects::book::Book;
use crate::store::{Store, StoreError, Tx, catalogues, events, ledger, projects, trail};
use crate::webhooks::event::{Event, InvoiceReady};

/// Who writes down what Stripe says.
const JOB: Actor = Actor::Job("stripe");

/// What settling came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It is written; an operator may have to be told something.
    Done(Option<String>),
    /// Something else of the project was settled since the object was fetched: fetch it again.
    Overtaken,
    /// The row that it was for is gone.
    Gone,
}

/// Who settles, and against what.
#[derive(Debug, Clone, Copy)]
pub struct Settlement<'a> {
    /// The project.
    pub project: &'a ProjectId,
    /// What was settled for it before the object was fetched.
    pub settled: u64,
    /// The event that made us look, whose outcome is part of the transaction.
    pub event: Option<&'a str>,
    /// Whether our key moves real money.
    pub livemode: bool,
    /// The present instant.
    pub now: Timestamp,
}

impl Store {
    /// Settles an order.
    ///
    /// # Errors
    /// When the store fails or the ledger refuses; then nothing is written.
    pub async fn settle_order(
        &self,
        settlement: Settlement<'_>,
        order: &str,
        seen: &OrderSeen,
    ) -> Result<Settled, StoreError> {
        let mut tx = self.write_project(settlement.project).await?;
        let Some(book) = begin(&mut tx, settlement).await? else { return Ok(Settled::Overtaken) };
        let Some(order) = orders::find(&mut tx, order).await? else { return Ok(Settled::Gone) };
        let (before, stood) = (order.clone(), Stood::of(&book, settlement.now));
        let customer = order.customer.clone().unwrap_or_default();
        let ours = Ours { livemode: settlement.livemode, customer: &customer, now: settlement.now };
        let settled = order.settle(book, seen, ours).map_err(StoreError::Refused)?;
        orders::update(&mut tx, &settled.order).await?;
        top_ups::settled(&mut tx, &before, &settled.order, settlement.now).await?;
        if let Some(lot) = settled.order.lot(&settled.book) {
            note_lot(&mut tx, &settled.order.id, settlement.project, lot.0).await?;
        }
        self.conclude(tx, settlement, (settled.book, stood), settled.alarm).await
    }

    /// Settles a project's plan by all subscriptions of its customer.
    ///
    /// # Errors
    /// When the store fails or the ledger refuses; then nothing is written.
    pub async fn settle_subscriptions(
        &self,
        settlement: Settlement<'_>,
        seen: &[SubscriptionSeen],
    ) -> Result<Settled, StoreError> {
        let mut tx = self.write_project(settlement.project).await?;
        let Some(book) = begin(&mut tx, settlement).await? else { return Ok(Settled::Overtaken) };
        let (stood, before) =
            (Stood::of(&book, settlement.now), mirror_of(&mut tx, settlement.project).await?);
        let catalogue = catalogues::newest(&mut tx).await?;
        let context = context(&mut tx, settlement, &catalogue).await?;
        let settled = subscription::settle(book, before, seen, context).map_err(StoreError::Refused)?;
        if let Some(mirror) = &settled.mirror {
            keep_mirror(&mut tx, mirror).await?;
        }
        if let Some(overdue) = &settled.overdue {
            paying::keep_subscriptions(&mut tx, settlement.project, overdue).await?;
        }
        self.conclude(tx, settlement, (settled.book, stood), settled.alarm).await
    }

    /// Settles an intent by its invoice, and the project's standing with it.
    ///
    /// # Errors
    /// When the store fails or the ledger refuses; then nothing is written.
    pub async fn settle_intent(
        &self,
        settlement: Settlement<'_>,
        intent: &Intent,
        invoice: &Invoice,
    ) -> Result<Settled, StoreError> {
        let mut tx = self.write_project(settlement.project).await?;
        let Some(book) = begin(&mut tx, settlement).await? else { return Ok(Settled::Overtaken) };
        let found = intents::find(&mut tx, settlement.project, intent.period, intent.number).await?;
        let Some(intent) = found else { return Ok(Settled::Gone) };
        let stood = Stood::of(&book, settlement.now);
        let before = intent.step;
        let settled = intent.settle(invoice, settlement.livemode);
        let alarm = (settled.step != before).then(|| settled.alarm()).flatten();
        intents::update(&mut tx, &settled, settlement.now).await?;
        // A card may have paid it before we look; the customer is told once in either case.
        if settled.step != before && matches!(invoice.status.as_deref(), Some("open" | "paid")) {
            let (period, total, url) = (settled.period, settled.amount, invoice.hosted_invoice_url.clone());
            let ready = InvoiceReady { invoice: invoice.id.clone(), period, total, url };
            let ready = Event::InvoiceReady(ready);
            events::announce(&mut tx, settlement.project, &ready, settlement.now).await?;
        }
        let overdue = settled.overdue_since.and_then(|_| Overdue::of(invoice, Source::Usage(settled.period)));
        paying::keep_bill(&mut tx, settlement.project, &invoice.id, overdue.as_ref()).await?;
        let catalogue = catalogues::newest(&mut tx).await?;
        let context = context(&mut tx, settlement, &catalogue).await?;
        let mirror = mirror_of(&mut tx, settlement.project).await?;
        let since = mirror.and_then(|mirror| mirror.overdue_since);
        let since = [since, context.bills_overdue_since].into_iter().flatten().min();
        let book = subscription::standing(book, since, invoice.paid_at(), context);
        let book = book.map_err(StoreError::Refused)?;
        self.conclude(tx, settlement, (book, stood), alarm).await
    }

    /// Writes what the ledger gained, the event's outcome, and commits.
    async fn conclude(
        &self,
        mut tx: Tx,
        settlement: Settlement<'_>,
        (book, stood): (Book, Stood),
        alarm: Option<String>,
    ) -> Result<Settled, StoreError> {
        let stored = stood.stored;
        let changed = book.next_number() != stored;
        let book = book.following(settlement.now);
        stood.note_what_differs(&mut tx, settlement, &book).await?;
        if changed {
            projects::update(&mut tx, &book.project).await?;
        }
        ledger::keep(
            &mut tx,
            book,
            stored,
            &BTreeMap::from([(settlement.now.period(), None)]),
            settlement.now,
        )
        .await?;
        if let Some(event) = settlement.event {
            let outcome = Outcome { state: EventState::Applied, note: alarm.clone() };
            note_outcome(&mut tx, event, &outcome).await?;
        }
        if changed {
            projects::raise_policy(&mut tx, settlement.project, settlement.now).await?;
            self.commit_policy_change(tx).await?;
        } else {
            tx.commit().await?;
        }
        Ok(Settled::Done(alarm))
    }
}

/// How a project stood before something was settled.
#[derive(Debug)]
struct Stood {
    /// The number of the next entry.
    stored: EntryNumber,
    /// The plan that is subscribed to.
    plan: Plan,
    /// Since when a payment is overdue.
    overdue_since: Option<Timestamp>,
}

impl Stood {
    fn of(book: &Book, now: Timestamp) -> Self {
        let timeline = book.ledger.timeline();
        let plan = timeline.subscribed_at(now).plan;
        Self { stored: book.next_number(), plan, overdue_since: timeline.overdue_since(now) }
    }

    /// Tells the audit log which plan came or went, and what is overdue or no longer.
    async fn note_what_differs(
        self,
        tx: &mut Tx,
        settlement: Settlement<'_>,
        book: &Book,
    ) -> Result<(), StoreError> {
        let is = Self::of(book, settlement.now);
        if is.plan == self.plan && is.overdue_since == self.overdue_since {
            return Ok(());
        }
        let overdue = paying::overdue(tx, settlement.project).await?;
        let overdue: Vec<OverdueView> = overdue.into_iter().map(OverdueView::from).collect();
        if is.plan != self.plan {
            let became = json!({ "plan": is.plan, "overdue": overdue });
            let deed = Deed::new(settlement.project, Action::SubscriptionFollowed, "plan")
                .was(&json!({ "plan": self.plan }))
                .became(&became);
            trail::insert(tx, &JOB, &deed, settlement.now).await?;
        }
        let falls_at = book.ledger.timeline().falls_at(settlement.now).map(|at| at.to_string());
        let action = match falls_at {
            Some(_) => Some(Action::PaymentOverdue),
            // Where Stripe gave the subscription up, the grace is over and nothing was paid.
            None if overdue.is_empty() => Some(Action::PaymentRecovered),
            None => None,
        };
        if let Some(action) = action.filter(|_| is.overdue_since != self.overdue_since) {
            let became = json!({ "overdue": overdue, "falls_at": falls_at });
            let deed = Deed::new(settlement.project, action, "payment").became(&became);
            trail::insert(tx, &JOB, &deed, settlement.now).await?;
        }
        Ok(())
    }
}

/// The project's book, if nothing else was settled for it meanwhile.
async fn begin(tx: &mut Tx, settlement: Settlement<'_>) -> Result<Option<Book>, StoreError> {
    if !settle_turn(tx, settlement.project, settlement.settled).await? {
        return Ok(None);
    }
    ledger::load(tx, settlement.project).await
}

async fn context<'a>(
    tx: &mut Tx,
    settlement: Settlement<'_>,
    catalogue: &'a Catalogue,
) -> Result<Context<'a>, StoreError> {
    Ok(Context {
        catalogue,
        bills_overdue_since: intents::overdue_since(tx, settlement.project).await?,
        livemode: settlement.livemode,
        now: settlement.now,
    })
}

/// Which order became which lot, once (I5).
async fn note_lot(tx: &mut Tx, order: &str, project: &ProjectId, lot: EntryNumber) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO lot_order (order_id, project, lot_number) VALUES ($1, $2, $3) ON CONFLICT (order_id) DO NOTHING",
    )
    .bind(order)
    .bind(project.as_str())
    .bind(crate::store::rows::int(lot.0))
    .execute(&mut **tx)
    .await?;
    Ok(())
}
