//! Idempotent: brings our rows to what Stripe shows, for an event or because it is time to look.
//!
//! Everything is fetched first and settled in one transaction; if anything else of the project was settled in
//! between, it is fetched again, so that an older state never overwrites a newer one.

use std::collections::{BTreeMap, BTreeSet};

use shared::ids::ProjectId;
use shared::time::Period;

use super::account::Account;
use super::client::CallError;
use crate::payments::event::Envelope;
use crate::payments::goods::Good;
use crate::payments::intent::Intent;
use crate::payments::order::{AUTO_TOP_UP, Order};
use crate::payments::schedule::Schedule;
use crate::payments::seen::{
    Charge, Customer, DisputeSeen, Invoice, Page, Payment, Price, Reference, Refund, Session, Subscription,
};
use crate::payments::table::{Concern, OrderState, PaymentObject, concern};
use crate::store::{EventState, Outcome, Settled, Settlement, StoreError, StripePrice};

/// How often an object is fetched again because something else of its project was settled meanwhile.
const ROUNDS_MAX: usize = 20;

/// Why something was not settled.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// Stripe gave no answer that can be used.
    #[error("{0}")]
    Call(#[from] CallError),
    /// The books failed or refuse.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A person has to look.
    #[error("{0}")]
    Parked(String),
    /// Too much is settled for the project at once.
    #[error("other events of the project went before")]
    Overtaken,
}

impl SyncError {
    /// Whether trying again later may do.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            // A wrong or restricted key is mended by the operator, and then everything goes on.
            Self::Call(CallError::Refused { status, .. }) => matches!(status, 401 | 403),
            Self::Call(_) | Self::Overtaken => true,
            Self::Store(error) => error.is_passing(),
            Self::Parked(_) => false,
        }
    }
}

/// What an event came to, where nothing was settled with it.
type Unsettled = Option<Outcome>;

fn ignored(why: &str) -> Unsettled {
    Some(Outcome { state: EventState::Ignored, note: Some(why.to_owned()) })
}

const NOT_OURS: &str = "it is about nothing of ours";

/// Settles what an event is about. `None` is settled and noted.
///
/// # Errors
/// When it could not be settled; the event then stays.
pub async fn event(account: &Account, event: &Envelope) -> Result<Unsettled, SyncError> {
    if let Some(livemode) = event.livemode
        && livemode != account.api.livemode()
    {
        account.metrics.stripe_alarm();
        tracing::error!(stripe.event = %event.id, livemode, "an event of Stripe's other mode was delivered");
        return Ok(ignored("it is of the other mode"));
    }
    let (Some(object), what) = (&event.object, concern(&event.kind)) else {
        return Ok(ignored("it names no object"));
    };
    let found = match what {
        Concern::Nothing => return Ok(ignored("events of this type change nothing")),
        Concern::Session => session(account, event, object).await,
        Concern::Subscription => subscription(account, event, object).await,
        Concern::Schedule => schedule(account, event, object).await,
        Concern::Invoice => invoice(account, event, object).await,
        Concern::Payment(by) => payment(account, event, (by, object)).await,
        Concern::Customer => customer(account, object).await,
    };
    match found {
        Err(SyncError::Call(error)) if error.is_missing() => Ok(ignored("the object is gone at Stripe")),
        other => other,
    }
}

async fn session(account: &Account, event: &Envelope, id: &str) -> Result<Unsettled, SyncError> {
    let session: Session = account.api.get(&format!("/checkout/sessions/{id}"), &[]).await?;
    let Some(name) = session.metadata.get("palveron_order") else { return Ok(ignored(NOT_OURS)) };
    let Some(found) = account.store.stripe_order(name).await? else {
        return match session.payment_status.as_str() {
            "paid" => {
                Err(SyncError::Parked(format!("money came for the order {name}, which we do not have")))
            }
            _ => Ok(ignored("it is of an order that we do not have, and unpaid")),
        };
    };
    let found = match found.session {
        // The event was faster than the answer to our own call.
        None => account.store.order_opened(name, id, session.url.as_deref()).await?.unwrap_or(found),
        Some(_) => found,
    };
    if let (Good::Plan(..), Some(_)) = (found.good, &session.subscription) {
        order(account, &found, None).await?;
        subscriptions(account, &found.project, Some(&event.id)).await?;
    } else {
        order(account, &found, Some(&event.id)).await?;
    }
    Ok(None)
}

async fn subscription(account: &Account, event: &Envelope, id: &str) -> Result<Unsettled, SyncError> {
    let subscription: Subscription = account.api.get(&format!("/subscriptions/{id}"), &[]).await?;
    let Some(project) = account.store.project_of_customer(subscription.customer.id()).await? else {
        return orphan(&subscription.metadata, &format!("the subscription {id}"));
    };
    subscriptions(account, &project, Some(&event.id)).await?;
    Ok(None)
}

/// A schedule may change without its subscription, which shows only that there is one.
async fn schedule(account: &Account, event: &Envelope, id: &str) -> Result<Unsettled, SyncError> {
    let schedule = account.api.schedule(id).await?;
    let Some(project) = account.store.project_of_customer(schedule.customer.id()).await? else {
        return Ok(ignored(NOT_OURS));
    };
    subscriptions(account, &project, Some(&event.id)).await?;
    Ok(None)
}

/// Something of ours whose project is gone: a person has to look. What was never ours is ignored.
fn orphan(metadata: &BTreeMap<String, String>, what: &str) -> Result<Unsettled, SyncError> {
    match metadata.get("palveron_project") {
        Some(project) => {
            Err(SyncError::Parked(format!("{what} is of the project {project}, which we do not have")))
        }
        None => Ok(ignored(NOT_OURS)),
    }
}

async fn invoice(account: &Account, event: &Envelope, id: &str) -> Result<Unsettled, SyncError> {
    let invoice = account.api.invoice(id).await?;
    match invoice.metadata.get("palveron_kind").map(String::as_str) {
        Some("overage") => {
            let Some(found) = intent_of(account, &invoice).await? else {
                return orphan(&invoice.metadata, &format!("the invoice {id}"));
            };
            intent(account, &found, Some(&event.id)).await?;
            return Ok(None);
        }
        Some(AUTO_TOP_UP) => return top_up(account, event, &invoice).await,
        Some(_) | None => {}
    }
    let customer = invoice.customer.as_ref().map_or("", Reference::id);
    match (invoice.subscription(), account.store.project_of_customer(customer).await?) {
        (Some(_), Some(project)) => {
            subscriptions(account, &project, Some(&event.id)).await?;
            Ok(None)
        }
        (Some(_), None) => orphan(&invoice.metadata, &format!("the invoice {id}")),
        // A pack's own invoice is only its receipt.
        (None, _) => Ok(ignored("it bills nothing that is still to be settled")),
    }
}

/// The invoice of an automatic top-up.
async fn top_up(account: &Account, event: &Envelope, invoice: &Invoice) -> Result<Unsettled, SyncError> {
    let name = invoice.metadata.get("palveron_order").map_or("", String::as_str);
    let Some(found) = account.store.stripe_order(name).await? else {
        return orphan(&invoice.metadata, &format!("the invoice {}", invoice.id));
    };
    let found = match found.session {
        // The event was faster than the answer to our own call.
        None => account.store.order_opened(name, &invoice.id, None).await?.unwrap_or(found),
        Some(_) => found,
    };
    order(account, &found, Some(&event.id)).await?;
    // A debit that came back leaves an invoice that is to be voided.
    account.store.order_due(name, account.clock.now()).await?;
    Ok(None)
}

async fn intent_of(account: &Account, invoice: &Invoice) -> Result<Option<Intent>, StoreError> {
    let text = |name: &str| invoice.metadata.get(name).map_or("", String::as_str);
    let project = ProjectId::parse(text("palveron_project")).ok();
    let period = Period::parse(text("palveron_period"));
    let (Some(project), Some(period), Ok(number)) = (project, period, text("palveron_number").parse()) else {
        return Ok(None);
    };
    account.store.intent(&project, period, number).await
}

async fn payment(
    account: &Account,
    event: &Envelope,
    (by, id): (PaymentObject, &str),
) -> Result<Unsettled, SyncError> {
    let payment = match by {
        PaymentObject::Refund => {
            account.api.get::<Refund>(&format!("/refunds/{id}"), &[]).await?.payment_intent
        }
        PaymentObject::Charge => {
            account.api.get::<Charge>(&format!("/charges/{id}"), &[]).await?.payment_intent
        }
        PaymentObject::Dispute => {
            account.api.get::<DisputeSeen>(&format!("/disputes/{id}"), &[]).await?.payment_intent
        }
    };
    let Some(payment) = payment.as_ref().map(Reference::id) else { return Ok(ignored(NOT_OURS)) };
    let found = match account.store.order_of_payment(payment).await? {
        Some(order) => order,
        // It may have come before we have seen the session as paid.
        None => {
            let seen: Payment = account.api.get(&format!("/payment_intents/{payment}"), &[]).await?;
            let Some(name) = seen.metadata.get("palveron_order") else {
                return Ok(ignored("it is of a subscription or an invoice, where Stripe keeps the account"));
            };
            let Some(order) = account.store.stripe_order(name).await? else {
                return orphan(&seen.metadata, &format!("the payment {payment}"));
            };
            order
        }
    };
    let found = match found.session {
        Some(_) => found,
        None => with_session(account, found, payment).await?,
    };
    order(account, &found, Some(&event.id)).await?;
    Ok(None)
}

/// An order whose session we have not heard of, with the session that its payment belongs to.
async fn with_session(account: &Account, order: Order, payment: &str) -> Result<Order, SyncError> {
    let sessions: Page<Session> =
        account.api.get("/checkout/sessions", &[("payment_intent", payment)]).await?;
    let Some(session) = sessions.data.first() else { return Ok(order) };
    let opened = account.store.order_opened(&order.id, &session.id, session.url.as_deref()).await?;
    Ok(opened.unwrap_or(order))
}

async fn customer(account: &Account, id: &str) -> Result<Unsettled, SyncError> {
    let Some(project) = account.store.project_of_customer(id).await? else { return Ok(ignored(NOT_OURS)) };
    let seen = match account.api.get::<Customer>(&format!("/customers/{id}"), &[]).await {
        Ok(customer) => Some(customer).filter(|customer| !customer.deleted),
        Err(error) if error.is_missing() => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(customer) = seen {
        account.store.charges_to(&project, customer.default_method()).await?;
        let Some(method) = customer.default_method() else { return Ok(ignored("it pays with nothing")) };
        if account.store.top_up_pays_with(&project, method, account.clock.now()).await? {
            tracing::info!(project.id = %project, "automatic top-ups go on with another payment method");
        }
        return Ok(Some(Outcome { state: EventState::Applied, note: None }));
    }
    account.store.stripe_customer_deleted(id).await?;
    account.metrics.stripe_alarm();
    tracing::error!(project.id = %project, "the project's customer was deleted at Stripe");
    Ok(Some(Outcome { state: EventState::Applied, note: Some("the customer was deleted".to_owned()) }))
}

/// Settles an order by everything that Stripe has about it.
///
/// # Errors
/// When it could not be settled.
pub async fn order(account: &Account, order: &Order, event: Option<&str>) -> Result<(), SyncError> {
    let session = order.session.as_deref().ok_or_else(|| {
        SyncError::Parked(format!("the order {} has no session at Stripe that we know of", order.id))
    })?;
    for _ in 0..ROUNDS_MAX {
        let settled = settled_so_far(account, &order.project).await?;
        let seen = if order.automatic {
            account.api.top_up_seen(session).await?
        } else {
            account.api.order_seen(session).await?
        };
        let settlement = settlement(account, &order.project, settled, event);
        match account.store.settle_order(settlement, &order.id, &seen).await? {
            Settled::Overtaken => {}
            Settled::Gone => return Err(SyncError::Parked(format!("the order {} is gone", order.id))),
            Settled::Done(alarm) => {
                told(account, &order.project, alarm);
                let paid = seen.payment.filter(|payment| payment.status == "succeeded");
                if let Some(method) = paid.and_then(|payment| payment.payment_method) {
                    account.store.stripe_paid_with(&order.project, method.id()).await?;
                }
                return Ok(());
            }
        }
    }
    Err(SyncError::Overtaken)
}

/// Settles a project's plan by all subscriptions of its customer.
///
/// # Errors
/// When it could not be settled.
pub async fn subscriptions(
    account: &Account,
    project: &ProjectId,
    event: Option<&str>,
) -> Result<(), SyncError> {
    for _ in 0..ROUNDS_MAX {
        let row = account.store.find_stripe_customer(project).await?;
        let Some((settled, customer)) = row.and_then(|row| row.customer.map(|id| (row.settled, id))) else {
            return Err(SyncError::Parked(format!("the project {project} has no customer at Stripe")));
        };
        let found = account.api.subscriptions_of(&customer).await?;
        let goods = goods(account, &found).await?;
        let seen = account.api.subscriptions_seen(found, &goods).await?;
        let settlement = settlement(account, project, settled, event);
        match account.store.settle_subscriptions(settlement, &seen).await? {
            Settled::Overtaken => {}
            Settled::Gone => return Err(SyncError::Parked(format!("the project {project} is gone"))),
            Settled::Done(alarm) => {
                told(account, project, alarm);
                let live = seen.iter().filter(|one| one.paid && one.subscription.status == "active");
                let method = live.filter_map(|one| one.subscription.default_payment_method.as_ref()).next();
                if let Some(method) = method {
                    account.store.stripe_paid_with(project, method.id()).await?;
                }
                return Ok(());
            }
        }
    }
    Err(SyncError::Overtaken)
}

/// Settles an invoice intent by its invoice.
///
/// # Errors
/// When it could not be settled.
pub async fn intent(account: &Account, intent: &Intent, event: Option<&str>) -> Result<(), SyncError> {
    let invoice = intent.invoice.as_deref().ok_or_else(|| {
        // The event was faster than the answer to our own call, which will be sent again and find it.
        SyncError::Call(CallError::Busy { status: 409 })
    })?;
    for _ in 0..ROUNDS_MAX {
        let settled = settled_so_far(account, &intent.project).await?;
        let seen = account.api.invoice(invoice).await?;
        let settlement = settlement(account, &intent.project, settled, event);
        match account.store.settle_intent(settlement, intent, &seen).await? {
            Settled::Overtaken => {}
            Settled::Gone => return Err(SyncError::Parked("the invoice intent is gone".to_owned())),
            Settled::Done(alarm) => {
                told(account, &intent.project, alarm);
                return Ok(());
            }
        }
    }
    Err(SyncError::Overtaken)
}

async fn settled_so_far(account: &Account, project: &ProjectId) -> Result<u64, StoreError> {
    let row = account.store.stripe_customer(project, account.clock.now()).await?;
    Ok(row.settled)
}

fn settlement<'a>(
    account: &Account,
    project: &'a ProjectId,
    settled: u64,
    event: Option<&'a str>,
) -> Settlement<'a> {
    let (livemode, now) = (account.api.livemode(), account.clock.now());
    Settlement { project, settled, event, livemode, now }
}

/// Tells the operator what settling came to, where a person has to look.
fn told(account: &Account, project: &ProjectId, alarm: Option<String>) {
    if let Some(alarm) = alarm {
        account.metrics.stripe_alarm();
        tracing::error!(project.id = %project, alarm, "a payment at Stripe needs a person");
    }
}

/// The goods of the prices that subscriptions have and will have, as far as we know them.
async fn goods(
    account: &Account,
    subscriptions: &[(Subscription, Option<Schedule>)],
) -> Result<BTreeMap<String, Good>, SyncError> {
    let items = subscriptions.iter().flat_map(|(subscription, _)| &subscription.items.data);
    let phases = subscriptions.iter().flat_map(|(_, schedule)| schedule).flat_map(Schedule::to_come);
    let prices: BTreeSet<&str> =
        items.map(|item| item.price.id.as_str()).chain(phases.map(|(_, price)| price)).collect();
    let mut goods = BTreeMap::new();
    for id in prices {
        let good = match account.store.good_of_price(id).await? {
            Some(good) => Some(good),
            None => learned(account, &account.api.price(id).await?).await?,
        };
        goods.extend(good.map(|good| (id.to_owned(), good)));
    }
    Ok(goods)
}

/// The good of a price that was made by an earlier catalogue of ours; such prices say so themselves.
async fn learned(account: &Account, price: &Price) -> Result<Option<Good>, StoreError> {
    let key = price.metadata.get("palveron_good").or(price.lookup_key.as_ref());
    let good = key.and_then(|key| Good::parse(key).or_else(|| Good::of_lookup_key(key)));
    let amount = price.unit_amount.and_then(|amount| u64::try_from(amount).ok());
    let (Some(good), Some(amount)) = (good, amount) else { return Ok(None) };
    account.store.keep_price(&StripePrice { id: price.id.clone(), good, amount }, false).await?;
    Ok(Some(good))
}

/// The price that a good is sold by, looked up at Stripe where our books have none that fits the catalogue.
///
/// # Errors
/// When Stripe has none that fits, or cannot be asked.
pub async fn price(account: &Account, good: Good) -> Result<String, SyncError> {
    let catalogue = account.store.newest_catalogue().await?;
    let wanted = good.price(&catalogue).and_then(|price| u64::try_from(price.minor()).ok());
    if let Some(price) = account.store.price_of(good).await?
        && Some(price.amount) == wanted
    {
        return Ok(price.id);
    }
    let key = good.lookup_key();
    let found: Page<Price> =
        account.api.get("/prices", &[("lookup_keys[]", key.as_str()), ("active", "true")]).await?;
    let fits = |price: &&Price| good.check(price, &catalogue, account.api.livemode()).is_ok();
    let Some(price) = found.data.iter().find(fits) else {
        account.metrics.stripe_alarm();
        tracing::error!(good = %good, "Stripe has no price for it that fits the catalogue; run `meter stripe sync`");
        return Err(SyncError::Parked(format!("{good} is not on sale at present.")));
    };
    let amount = wanted.unwrap_or_default();
    account.store.keep_price(&StripePrice { id: price.id.clone(), good, amount }, true).await?;
    Ok(price.id.clone())
}

/// Whether an order is still to be looked after.
#[must_use]
pub fn is_unfinished(order: &Order) -> bool {
    match order.state {
        OrderState::New | OrderState::Open | OrderState::Processing => true,
        OrderState::Paid | OrderState::Failed | OrderState::Expired | OrderState::Held => false,
    }
}
