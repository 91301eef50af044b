//! What Stripe shows, settled against the books: the one way in which payments reach a ledger.

use aggregator::ledger::entry::{Account, LotId};
use aggregator::ledger::money::{Currency, Money};
use aggregator::ledger::terms::Interval;
use aggregator::payments::goods::Good;
use aggregator::payments::order::{Form, Order, OrderSeen};
use aggregator::payments::paying::{Overdue, Source};
use aggregator::payments::subscription::SubscriptionSeen;
use aggregator::payments::table::OrderState;
use aggregator::projects::book::Book;
use aggregator::store::{Began, Begin, Settled, Settlement};
use serde_json::json;
use shared::plan::{Pack, Plan};
use shared::time::Timestamp;
use shared::units::Units;

use crate::support::{Meter, noon, project_id};

const CUSTOMER: &str = "cus_1";
const SESSION: &str = "cs_1";
const PAYMENT: &str = "pi_1";

fn eur(minor: i128) -> Money {
    Money::new(minor, Currency::parse("eur").unwrap())
}

pub(crate) fn monthly(plan: Plan) -> Good {
    Good::Plan(plan, Interval::Month)
}

/// Gives the project a customer at Stripe.
pub(crate) async fn make_customer(meter: &Meter) {
    let demo = project_id("demo");
    meter.app.store.stripe_customer(&demo, noon()).await.unwrap();
    meter.app.store.stripe_customer_made(&demo, CUSTOMER).await.unwrap();
}

/// The project's only subscription as Stripe shows it, paid until `end`.
pub(crate) fn subscription(status: &str, good: Good, end: Timestamp) -> SubscriptionSeen {
    let subscription = json!({
        "id": "sub_1", "status": status, "customer": CUSTOMER, "created": 1, "livemode": false,
        "items": { "data": [{
            "id": "si_1", "price": { "id": "price_1" }, "quantity": 1, "current_period_end": end.as_seconds(),
        }] },
    });
    SubscriptionSeen {
        subscription: serde_json::from_value(subscription).unwrap(),
        paid: true,
        paid_at: None,
        last_paid_at: None,
        due: vec![],
        good: Some(good),
        coming: vec![],
        schedule_ends: None,
    }
}

/// A subscription whose invoice could not be charged at `since`.
pub(crate) fn past_due(good: Good, end: Timestamp, since: Timestamp) -> SubscriptionSeen {
    let (source, invoice) = (Source::Subscription, "in_1".to_owned());
    let overdue = Overdue { source, invoice, amount: eur(4_900), since, pay_at: None };
    SubscriptionSeen { due: vec![overdue], ..subscription("past_due", good, end) }
}

async fn settled_so_far(meter: &Meter, now: Timestamp) -> u64 {
    meter.app.store.stripe_customer(&project_id("demo"), now).await.unwrap().settled
}

/// Settles what Stripe shows of the project's subscription.
pub(crate) async fn settle_subscription(meter: &Meter, seen: SubscriptionSeen, now: Timestamp) {
    let project = project_id("demo");
    let settled = settled_so_far(meter, now).await;
    let settlement = Settlement { project: &project, settled, event: None, livemode: false, now };
    let done = meter.app.store.settle_subscriptions(settlement, &[seen]).await.unwrap();
    assert_eq!(done, Settled::Done(None));
}

async fn settle_order(meter: &Meter, order: &str, seen: &OrderSeen) -> Option<String> {
    let project = project_id("demo");
    let settled = settled_so_far(meter, noon()).await;
    let settlement = Settlement { project: &project, settled, event: None, livemode: false, now: noon() };
    match meter.app.store.settle_order(settlement, order, seen).await.unwrap() {
        Settled::Done(alarm) => alarm,
        other @ (Settled::Overtaken | Settled::Gone) => panic!("{other:?}"),
    }
}

async fn book(meter: &Meter) -> Book {
    meter.app.store.book(&project_id("demo")).await.unwrap().unwrap()
}

/// A pack that is waited for.
async fn order(meter: &Meter) -> Order {
    let (good, catalogue) = (Good::Pack(Pack::Small), meter.app.store.newest_catalogue().await.unwrap());
    let order = Order {
        id: "ord_1".to_owned(),
        project: project_id("demo"),
        good,
        units: catalogue.pack(Pack::Small).unwrap().units,
        price: good.price(&catalogue).unwrap(),
        price_id: "price_small".to_owned(),
        customer: Some(CUSTOMER.to_owned()),
        attempt: 1,
        form: Form::new(),
        state: OrderState::Open,
        session: None,
        url: None,
        automatic: false,
        payment: None,
        created: noon(),
        expires: noon().plus_ms(3_600_000),
        note: None,
    };
    match meter.app.store.begin_order(Begin { order, call: None }, noon()).await.unwrap() {
        Began::New(order) => *order,
        other @ (Began::Again(_) | Began::KeyReused | Began::Other(_)) => panic!("{other:?}"),
    }
}

/// The order, paid, as Stripe shows it.
fn paid(order: &Order) -> OrderSeen {
    let minor = i64::try_from(order.price.minor()).unwrap();
    let session = json!({
        "id": SESSION, "status": "complete", "payment_status": "paid", "livemode": false,
        "client_reference_id": order.id, "customer": CUSTOMER, "amount_subtotal": minor, "amount_total": minor,
        "currency": "eur", "payment_intent": PAYMENT,
    });
    let payment = json!({
        "id": PAYMENT, "status": "succeeded", "amount_received": minor, "currency": "eur", "customer": CUSTOMER,
        "payment_method": "pm_1", "livemode": false,
    });
    let lines = json!([{ "price": { "id": order.price_id }, "quantity": 1 }]);
    OrderSeen {
        session: serde_json::from_value(session).unwrap(),
        lines: serde_json::from_value(lines).unwrap(),
        payment: Some(serde_json::from_value(payment).unwrap()),
        refunds: vec![],
        disputes: vec![],
        subscription: None,
        paid_at: None,
    }
}

#[tokio::test]
async fn a_paid_pack_is_one_lot_however_often_it_is_settled_and_follows_refunds_and_disputes() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Pro).await;
    make_customer(&meter).await;
    let order = order(&meter).await;
    let mut shown = paid(&order);
    let version = meter.version("demo").await;
    for (raised, what) in [(1, "the edge may spend more"), (1, "an order is credited once")] {
        assert_eq!(settle_order(&meter, &order.id, &shown).await, None);
        assert_eq!(meter.version("demo").await, version + raised, "{what}");
    }
    let lots: Vec<LotId> = book(&meter).await.ledger.lots().keys().copied().collect();
    let [lot] = lots[..] else { panic!("{lots:?}") };
    let left = async || book(&meter).await.ledger.units(Account::Lot(lot));
    assert_eq!(left().await, order.units);
    assert_eq!((order.price, order.units), (eur(2_900), Units::new(5_000)));
    let refund = json!([{ "id": "re_1", "amount": 1_450, "status": "succeeded" }]);
    shown.refunds = serde_json::from_value(refund).unwrap();
    settle_order(&meter, &order.id, &shown).await;
    assert_eq!(left().await, Units::new(2_500));
    let dispute = json!([{ "id": "dp_1", "amount": 2_900, "status": "needs_response" }]);
    shown.disputes = serde_json::from_value(dispute).unwrap();
    settle_order(&meter, &order.id, &shown).await;
    assert_eq!(left().await, Units::ZERO, "what is disputed is not spent");
    is_clean(&meter).await;
}

#[tokio::test]
async fn a_subscription_gives_its_plan_and_what_is_overdue_begins_one_grace() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Community).await;
    make_customer(&meter).await;
    let end = noon().plus_ms(20 * 86_400_000);
    let pro = || subscription("active", monthly(Plan::Pro), end);
    settle_subscription(&meter, pro(), noon()).await;
    let row = meter.app.store.project(&project_id("demo")).await.unwrap().unwrap();
    assert_eq!((row.plan, row.rpm_max), (Plan::Pro, 600));
    let version = meter.version("demo").await;
    settle_subscription(&meter, pro(), noon()).await;
    assert_eq!(meter.version("demo").await, version, "nothing differs");
    let (since, week_ms) = (noon(), 7 * 86_400_000);
    for now in [noon(), noon().plus_ms(1_000)] {
        settle_subscription(&meter, past_due(monthly(Plan::Pro), end, since), now).await;
        let falls_at = book(&meter).await.ledger.timeline().falls_at(now);
        assert_eq!(falls_at, Some(since.plus_ms(week_ms)), "one grace");
    }
    assert_eq!(meter.version("demo").await, version + 1);
    settle_subscription(&meter, pro(), noon().plus_ms(2_000)).await;
    assert_eq!(book(&meter).await.ledger.timeline().falls_at(noon().plus_ms(2_000)), None, "it is paid");
    is_clean(&meter).await;
}

async fn is_clean(meter: &Meter) {
    let findings = meter.app.store.audit(&project_id("demo")).await.unwrap().unwrap();
    assert!(findings.is_empty(), "{findings:?}");
}
