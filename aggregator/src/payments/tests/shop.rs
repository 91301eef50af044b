//! A little Stripe without HTTP, and a project of ours: what the tests of this folder are told in.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::ids::ProjectId;
use shared::plan::{Catalogue, Pack, Plan};
use shared::policy::Status as Served;
use shared::time::{Period, Timestamp};
use shared::units::Units;

use crate::ledger::entry::{Account, Usage};
use crate::ledger::money::{Currency, Money};
use crate::ledger::terms::Interval;
use crate::payments::goods::Good;
use crate::payments::order::{Form, Order, OrderSeen, Ours};
use crate::payments::paying::{Overdue, Source};
use crate::payments::seen::{DisputeSeen, Payment, Refund};
use crate::payments::subscription::{Context, SubscriptionSeen};
use crate::payments::table::OrderState;
use crate::projects::book::{Book, opening};
use crate::projects::project::Project;

pub(super) const CUSTOMER: &str = "cus_1";

pub(super) fn catalogue() -> Catalogue {
    Catalogue::from_json(Catalogue::DEFAULT_JSON).unwrap()
}

pub(super) fn start() -> Timestamp {
    Period::parse("2026-11").unwrap().start()
}

pub(super) fn eur(minor: i128) -> Money {
    Money::new(minor, Currency::parse("eur").unwrap())
}

/// A project's book on a plan, with so many units used this month.
pub(super) fn book(plan: Plan, used: u64) -> Book {
    let project = Project {
        id: ProjectId::parse("demo").unwrap(),
        plan,
        rpm_own: None,
        included_own: None,
        levels_own: None,
        status: Served::Active,
        catalogue: 1,
        auto_overage: false,
        rpm_max: 600,
        policy_version: 1,
        homes: None,
        created: start(),
    };
    let ledger = opening(&project, &catalogue()).unwrap();
    let usage = Usage { units: Units::new(used), anchors: Units::ZERO };
    let totals = BTreeMap::from([(start().period(), usage)]);
    Book { project, ledger, totals, fired: Default::default() }
}

/// An order that Stripe may know of.
pub(super) fn order(id: &str, good: Good) -> Order {
    let units = match good {
        Good::Plan(..) => Units::ZERO,
        Good::Pack(pack) => catalogue().pack(pack).unwrap().units,
    };
    Order {
        id: id.to_owned(),
        project: ProjectId::parse("demo").unwrap(),
        good,
        units,
        price: good.price(&catalogue()).unwrap(),
        price_id: format!("price_{}", good.lookup_key()),
        customer: Some(CUSTOMER.to_owned()),
        attempt: 1,
        form: Form::new(),
        state: OrderState::Open,
        session: None,
        url: None,
        automatic: false,
        payment: None,
        created: start(),
        expires: start().plus_ms(1),
        note: None,
    }
}

pub(super) fn pack(id: &str, pack: Pack) -> Order {
    order(id, Good::Pack(pack))
}

pub(super) fn plan(id: &str, plan: Plan, interval: Interval) -> Order {
    order(id, Good::Plan(plan, interval))
}

/// What Stripe shows of an order: `status` and `payment` of its session.
pub(super) fn seen(order: &Order, status: &str, payment: &str) -> OrderSeen {
    let minor = i64::try_from(order.price.minor()).unwrap();
    let is_pack = matches!(order.good, Good::Pack(_));
    let intent = format!("pi_{}", order.id);
    let session: Value = json!({
        "id": format!("cs_{}", order.id), "status": status, "payment_status": payment, "url": "https://pay",
        "livemode": false, "client_reference_id": order.id, "customer": CUSTOMER, "amount_subtotal": minor,
        "amount_total": minor, "currency": "eur",
        "payment_intent": (is_pack && status == "complete").then_some(&intent),
        "subscription": (!is_pack && status == "complete").then_some("sub_1"),
    });
    let paid = payment == "paid";
    let payment_seen: Value = json!({
        "id": intent, "status": if paid { "succeeded" } else { "processing" },
        "amount_received": if paid { minor } else { 0 }, "currency": "eur", "customer": CUSTOMER,
        "payment_method": "pm_1", "livemode": false,
    });
    let lines = json!([{ "price": { "id": order.price_id }, "quantity": 1 }]);
    OrderSeen {
        session: serde_json::from_value(session).unwrap(),
        lines: if paid { serde_json::from_value(lines).unwrap() } else { vec![] },
        payment: (is_pack && status == "complete")
            .then(|| serde_json::from_value::<Payment>(payment_seen).unwrap()),
        refunds: vec![],
        disputes: vec![],
        subscription: None,
        paid_at: None,
    }
}

pub(super) fn refund(id: &str, amount: i64, status: &str) -> Refund {
    serde_json::from_value(json!({ "id": id, "amount": amount, "status": status })).unwrap()
}

pub(super) fn dispute(id: &str, amount: i64, status: &str) -> DisputeSeen {
    serde_json::from_value(json!({ "id": id, "amount": amount, "status": status })).unwrap()
}

pub(super) fn ours(now: Timestamp) -> Ours<'static> {
    Ours { livemode: false, customer: CUSTOMER, now }
}

/// An invoice of a subscription that is not paid.
pub(super) fn overdue(invoice: &str, since: Timestamp) -> Overdue {
    let (invoice, pay_at) = (invoice.to_owned(), Some(format!("https://pay/{invoice}")));
    Overdue { source: Source::Subscription, invoice, amount: eur(4_900), since, pay_at }
}

/// A subscription as Stripe shows it.
pub(super) fn subscription(id: &str, status: &str, good: Option<Good>, paid: bool) -> SubscriptionSeen {
    let end = start().period().end().as_seconds();
    let subscription = json!({
        "id": id, "status": status, "customer": CUSTOMER, "created": 1, "livemode": false,
        "items": { "data": [{ "id": format!("si_{id}"), "price": { "id": "price_1" }, "quantity": 1, "current_period_end": end }] },
    });
    let due = status == "past_due" || status == "unpaid";
    SubscriptionSeen {
        subscription: serde_json::from_value(subscription).unwrap(),
        paid,
        paid_at: None,
        last_paid_at: None,
        due: if due { vec![overdue("in_due", start().plus_ms(1_000))] } else { vec![] },
        good,
        coming: vec![],
        schedule_ends: None,
    }
}

pub(super) fn context(catalogue: &Catalogue, now: Timestamp) -> Context<'_> {
    Context { catalogue, bills_overdue_since: None, livemode: false, now }
}

/// What is in the accounts of an order's lot: (left, frozen, returned, shortfall).
pub(super) fn accounts(book: &Book, order: &Order) -> Option<(u64, u64, u64, u64)> {
    let lot = order.lot(book)?;
    let of = |account: Account| book.ledger.units(account).get();
    Some((
        of(Account::Lot(lot)),
        of(Account::Frozen(lot)),
        of(Account::Returned(lot)),
        of(Account::Shortfall(lot)),
    ))
}
